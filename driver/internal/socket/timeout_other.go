//go:build !linux && !darwin && !windows

package socket

import "time"

type handle = uintptr

func setUserTimeout(handle, time.Duration) {}
