package emulator

import (
	"io"
	"sync"
)

// WithLog writes the log of the emulator's PostgreSQL to w. Calls of w.Write do not
// overlap. PostgreSQL's settings log_statement and log_min_messages determine how much it
// logs. WithLog has no effect with [WithPostgres].
func WithLog(w io.Writer) Option { return func(a *Azure) { a.postgres.log = &syncWriter{w: w} } }

// teeLog returns a writer to w and to the writer of WithLog, if any.
func (p *postgres) teeLog(w io.Writer) io.Writer {
	if p.log == nil {
		return w
	}
	return io.MultiWriter(w, p.log)
}

// A syncWriter serializes writes.
type syncWriter struct {
	mu sync.Mutex // held during a write
	w  io.Writer
}

func (s *syncWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}
