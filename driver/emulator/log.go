package emulator

import (
	"io"
	"sync"
)

// WithLog also writes to w what the emulator's own PostgreSQL logs, one write at a
// time. How much that is follows from its settings (log_statement, log_min_messages).
func WithLog(w io.Writer) Option { return func(a *Azure) { a.postgres.log = &oneByOne{w: w} } }

func (p *postgres) logged(tail io.Writer) io.Writer {
	if p.log == nil {
		return tail
	}
	return io.MultiWriter(tail, p.log)
}

type oneByOne struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *oneByOne) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(b)
}
