//go:build !linux

package emulator

func memory() string { return "" }
