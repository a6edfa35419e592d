package emulator

import (
	"bytes"
	"net/http"
	"net/url"
)

// A Request is a recorded request for a token, or one that precedes it. It contains the
// secrets that the client sent.
type Request struct {
	Host   string      // as the client named it: an authority, or an address and port
	Path   string      // such as "/<tenant>/oauth2/v2.0/token", "/msi/token" or "/program/az"
	Form   url.Values  // query and body; for a program its arguments, as "arg"
	Header http.Header // as received
	Status int         // of the response; 0 if the client disconnected before it
}

// Requests returns the latest 1,000 requests that were answered, oldest first: those that
// Counts.Requests counts, and the authorization and device code requests that precede
// them.
func (a *Azure) Requests() []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Request(nil), a.recordedRequests...)
}

// withCounting serves token requests: it counts each, applies the faults and records the
// request.
func (a *Azure) withCounting(serve http.HandlerFunc) http.HandlerFunc {
	return a.withRecording(func(w http.ResponseWriter, r *http.Request) {
		a.tokenRequests.Add(1)
		if !a.misbehave(w, r) {
			serve(w, r)
		}
	})
}

// withRecording records each request before the client has the response, so that a test
// that has it also sees the request.
func (a *Azure) withRecording(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if err := r.ParseForm(); err != nil {
			a.writeError(w, http.StatusBadRequest, "invalid_request", 900144, "The request body is not a form.")
			return
		}
		response := &bufferedResponse{header: w.Header()}
		serve(response, r)
		a.mu.Lock()
		a.recordedRequests = append(a.recordedRequests[max(0, len(a.recordedRequests)-maxRecorded+1):],
			Request{Host: r.Host, Path: r.URL.Path, Form: r.Form, Header: r.Header, Status: response.status})
		a.mu.Unlock()
		if response.status != 0 {
			w.WriteHeader(response.status)
			w.Write(response.body.Bytes()) // fails only if the client has disconnected
		}
	}
}

// maxBody is the largest body that is read, in bytes.
const maxBody = 1 << 20

// A bufferedResponse holds a response back.
type bufferedResponse struct {
	header http.Header
	status int // 0: nothing was written
	body   bytes.Buffer
}

func (b *bufferedResponse) Header() http.Header    { return b.header }
func (b *bufferedResponse) WriteHeader(status int) { b.status = status }

func (b *bufferedResponse) Write(p []byte) (int, error) {
	if b.status == 0 {
		b.status = http.StatusOK
	}
	return b.body.Write(p)
}
