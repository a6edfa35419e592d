package emulator

import (
	"net/http"
	"time"
)

// now returns the time by Azure's clock: see [Faults.Clock].
func (a *Azure) now() time.Time { return time.Now().Add(a.Faults.current().clockOffset) }

// withDate sets the Date header of responses by Azure's clock.
func (a *Azure) withDate(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", a.now().UTC().Format(http.TimeFormat))
		h.ServeHTTP(w, r)
	})
}
