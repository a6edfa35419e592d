//go:build !windows

package entratest

func wine() bool { return false }
