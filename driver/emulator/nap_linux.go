package emulator

import (
	"syscall"
	"time"
)

// On Linux the runtime waits in epoll, which counts milliseconds, so that its
// timers are up to 1 ms late: much for half of a 5 ms round trip. The last of a
// wait, coarse, is therefore a nap, which is a tenth of a millisecond late.
const coarse = 1100 * time.Microsecond

func nap(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	syscall.Nanosleep(&ts, nil) // a signal may cut it short
}
