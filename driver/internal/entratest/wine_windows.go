package entratest

import "syscall"

// wine reports whether this Windows is Wine, whose system library says so.
func wine() bool { return syscall.NewLazyDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil }
