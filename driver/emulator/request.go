package emulator

import (
	"bytes"
	"net/http"
	"net/url"
)

// A Request is a request on the way to a token as it arrived, secrets included.
type Request struct {
	Host   string      // as the client named it: an authority's name, or an address and port
	Path   string      // such as "/<tenant>/oauth2/v2.0/token", "/msi/token", "/program/az"
	Form   url.Values  // query and body; of a program its arguments, as "arg"
	Header http.Header // as sent
	Status int         // what was answered; 0 if the client left
}

// Requests returns the latest 1,000 answered requests, oldest first: those that
// Counts.Requests counts, and the browser's and the device code's that precede
// them.
func (a *Azure) Requests() []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Request(nil), a.asked...)
}

// counted serves a token request: it is counted when it arrives, suffers the
// faults that are set, and is recorded before the client has its answer.
func (a *Azure) counted(serve http.HandlerFunc) http.HandlerFunc {
	return a.recorded(func(w http.ResponseWriter, r *http.Request) {
		a.requests.Add(1)
		if !a.misbehave(w, r) {
			serve(w, r)
		}
	})
}

func (a *Azure) recorded(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		if err := r.ParseForm(); err != nil {
			a.refuse(w, http.StatusBadRequest, "invalid_request", 900144, "The request body is not a form.")
			return
		}
		answer := &answer{header: w.Header()}
		serve(answer, r)
		a.mu.Lock()
		a.asked = append(a.asked[max(0, len(a.asked)-maxStartups+1):], Request{r.Host, r.URL.Path, r.Form, r.Header, answer.status})
		a.mu.Unlock()
		if answer.status != 0 {
			w.WriteHeader(answer.status)
			w.Write(answer.body.Bytes()) // a client that left is no concern of ours
		}
	}
}

// answer holds an answer back.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *answer) Header() http.Header    { return w.header }
func (w *answer) WriteHeader(status int) { w.status = status }

func (w *answer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.body.Write(b)
}
