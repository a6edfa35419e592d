package socket

import (
	"syscall"
	"time"
)

type handle = int

func setUserTimeout(fd handle, d time.Duration) {
	const tcpUserTimeout = 0x12 // TCP_USER_TIMEOUT of linux/tcp.h, which package syscall lacks
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
}
