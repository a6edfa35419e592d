package emulator

import (
	"syscall"
	"time"
)

// timerSlack is the last part of a wait, which preciseSleep takes. On Linux the runtime
// waits in epoll, which counts milliseconds, so its timers are up to 1 ms late: much for
// half of a 5 ms round trip. nanosleep is a tenth of a millisecond late.
const timerSlack = 1100 * time.Microsecond

// preciseSleep sleeps for about d. A signal may end it early.
func preciseSleep(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	syscall.Nanosleep(&ts, nil)
}
