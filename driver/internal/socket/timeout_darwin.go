package socket

import (
	"syscall"
	"time"
)

type handle = int

func setUserTimeout(fd handle, d time.Duration) {
	const tcpRxtConnDropTime = 0x80 // TCP_RXT_CONNDROPTIME of netinet/tcp.h
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpRxtConnDropTime, seconds(d))
}

// seconds returns d in whole seconds, rounded up: 0 would mean the system's limit.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
