//go:build !linux

package emulator

import "time"

// timerSlack is 0: the runtime's timers are precise on these systems.
const timerSlack = 0

func preciseSleep(time.Duration) {}
