package emulator

import (
	"net/http"
	"time"
)

// Clock makes Azure's clock go that much ahead of ours, or behind it: the times in
// tokens, the judgement of them, and the dates of its answers.
func (f *Faults) Clock(ahead time.Duration) { f.set(func() { f.ahead = ahead }) }

// now is the time by Azure's clock.
func (a *Azure) now() time.Time {
	var ahead time.Duration
	a.Faults.set(func() { ahead = a.Faults.ahead })
	return time.Now().Add(ahead)
}

// dated dates answers by Azure's clock.
func (a *Azure) dated(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", a.now().UTC().Format(http.TimeFormat))
		h.ServeHTTP(w, r)
	})
}
