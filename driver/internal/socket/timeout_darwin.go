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
