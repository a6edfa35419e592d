//go:build !linux

package emulator

// memoryDir returns "": only Linux has a file system in memory at a fixed path.
func memoryDir() string { return "" }
