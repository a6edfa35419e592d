//go:build !linux

package emulator

import "time"

const coarse = 0 // the runtime's timers are exact

func nap(time.Duration) {}
