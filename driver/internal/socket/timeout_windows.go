package socket

import (
	"syscall"
	"time"
)

type handle = syscall.Handle

func setUserTimeout(fd handle, d time.Duration) {
	const tcpMaxRT = 5 // TCP_MAXRT of ws2ipdef.h
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpMaxRT, seconds(d))
}

// seconds returns d in whole seconds, rounded up: 0 would mean the system's limit.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
