package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// A fault is one thing that may be wrong, and what it must look like to a caller.
type fault struct {
	name    string
	on, off func(*stage)
	step    string // of the error
	says    string // in the error, "|" between alternatives
	secret  bool   // needs an authority with a certificate
	heavy   bool   // for this machine too
	spoils  bool   // gives tokens that are no good, rather than none: none is at hand to go on with
	old     bool   // and say they are old, so that the first refusal may be answered at once
	hangs   bool   // until nobody waits any more, as few do for long
	twice   bool   // comes back when all is well again, as if it had never been
}

// playing is a fault of the authority while it plays p.
func playing(name, step, says string, p play) fault {
	return fault{name: name, step: step, says: says, on: func(s *stage) { s.front.set(p) }, off: func(s *stage) { s.front.set(nil) }}
}

func spoiling(name, step, says string, edit func(c map[string]any)) fault {
	f := playing(name, step, says, nil)
	f.spoils = true
	f.on = func(s *stage) {
		s.front.set(func(f *front, w http.ResponseWriter, r *http.Request) {
			status, header, body := f.ask(r)
			answer(w, status, header, respond(body, func(m map[string]any) {
				m["access_token"] = s.az.Token(s.id, edit)
			}))
		})
	}
	return f
}

// respond edits the answer that brings a token, which claims an hour's life.
func respond(body []byte, edit func(map[string]any)) []byte {
	var m map[string]any
	if json.Unmarshal(body, &m) != nil || m["access_token"] == nil {
		return body
	}
	m["expires_in"] = 3600
	if m["expires_on"] != nil {
		m["expires_in"], m["expires_on"] = "3600", fmt.Sprint(time.Now().Add(time.Hour).Unix())
	}
	edit(m)
	b, _ := json.Marshal(m)
	return b
}

func refusing(code int, retryAfter string) play {
	return func(f *front, w http.ResponseWriter, r *http.Request) {
		if s, _ := strconv.Atoi(retryAfter); r.Context().Err() == nil {
			f.after.Store(int64(s) * int64(time.Second))
		}
		answer(w, code, http.Header{"Content-Type": {"application/json"}, "Retry-After": {retryAfter}},
			[]byte(`{"error":"temporarily_unavailable","error_description":"AADSTS90033: A transient error has occurred. Please try again.\r\nTrace ID: 1"}`))
	}
}

func saying(code int, body string) play {
	return func(_ *front, w http.ResponseWriter, _ *http.Request) {
		answer(w, code, http.Header{"Content-Type": {"application/json"}}, []byte(body))
	}
}

// hijacked hands the connection itself to do.
func hijacked(do func(net.Conn, *front, *http.Request)) play {
	return func(f *front, w http.ResponseWriter, r *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			defer conn.Close()
			do(conn, f, r)
		}
	}
}

const hundredMB = 100 << 20

// huge answers with a hundred megabytes.
func huge(name, says string, code int, before, after string) fault {
	f := playing(name, "token", says, func(_ *front, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		w.Write([]byte(before))
		filling := bytes.Repeat([]byte("a"), 1<<20)
		for range hundredMB / len(filling) {
			if _, err := w.Write(filling); err != nil {
				return
			}
		}
		w.Write([]byte(after))
	})
	f.heavy = true
	return f
}

// authority lists what may be wrong with who gives tokens.
var authority = []fault{
	hanging(playing("slow", "token", "no answer from", func(_ *front, _ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // only then is the end of the client seen
		<-r.Context().Done()
	})),
	{name: "down", step: "token", says: "connection refused", on: func(s *stage) { s.front.down() }, off: func(s *stage) { s.front.up(s.t) }},
	playing("429", "token", "too many requests", refusing(429, "")),
	playing("429, Retry-After", "token", "too many requests", refusing(429, "2")),
	playing("429, Retry-After beyond patience", "token", "too many requests", refusing(429, "5")),
	twice(playing("500", "token", "trouble of its own", refusing(500, ""))),
	playing("500, Retry-After", "token", "trouble of its own", refusing(500, "2")),
	playing("503", "token", "trouble of its own", refusing(503, "")),
	playing("503, Retry-After", "token", "trouble of its own", refusing(503, "2")),
	playing("cut half way", "token", "EOF|closed network", hijacked(func(c net.Conn, f *front, r *http.Request) {
		_, _, body := f.ask(r)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:len(body)/2])
	})),
	playing("cut in the header", "token", "EOF|malformed MIME|closed network", hijacked(func(c net.Conn, _ *front, _ *http.Request) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Le") })),
	playing("cut before a word", "token", "EOF|connection reset|closed network", hijacked(func(net.Conn, *front, *http.Request) {})),
	playing("no HTTP", "token", "malformed HTTP|closed network", hijacked(func(c net.Conn, _ *front, _ *http.Request) { fmt.Fprint(c, "SSH-2.0-OpenSSH_9.2\r\n\x00\xff\x01") })),
	playing("a page", "token", "what answers there is none", saying(200, "<!DOCTYPE html><html><head><title>Sign in to the Wi-Fi</title></head>\n<body>\x1b[31m</body></html>")),
	playing("binary", "token", "what answers there is none", saying(200, "\x00\x01\x02\xff\xfe\r\n\r\n\x7f")),
	playing("nothing", "token", "what answers there is none", saying(200, "")),
	playing("empty object", "token", "what answers there is none", saying(200, "{}")),
	playing("a deep nest", "token", "what answers there is none", saying(200, strings.Repeat("[", 100_000))),
	huge("a hundred megabytes of token", "longer than 1 MiB|no answer from", 200, `{"token_type":"Bearer","expires_in":3600,"access_token":"`, `"}`),
	huge("a hundred megabytes of error", "HTTP 500|no answer from", 500, `{"error":"x","error_description":"`, `"}`),
	agedTokens(spoiling("expired tokens", "sign-in", "the access token has expired", func(c map[string]any) {
		c["iat"], c["nbf"], c["exp"] = time.Now().Add(-2*time.Hour).Unix(), time.Now().Add(-2*time.Hour).Unix(), time.Now().Add(-time.Hour).Unix()
	})),
	spoiling("tokens that have just expired", "sign-in", "the access token has expired", func(c map[string]any) { c["exp"] = time.Now().Add(-time.Second).Unix() }),
	spoiling("tokens from the future", "sign-in", "the access token is not yet valid", begins(2*time.Hour)),
	spoiling("tokens from a future that is near", "", "", begins(2*time.Minute)), // clocks may differ
	spoiling("another audience", "token", "the token is for", func(c map[string]any) { c["aud"] = "https://vault.azure.net" }),
	twice(spoiling("another tenant", "sign-in", "validating the access token", func(c map[string]any) { c["tid"] = "00000000-0000-0000-0000-000000000000" })),
	garbled("a word for a token", "opensesame"),
	garbled("a token cut short", ""),
	{name: "its certificate has expired", step: "token", says: "certificate has expired", secret: true,
		on: func(s *stage) { s.front.old.Store(true); s.front.down(); s.front.up(s.t) }, off: func(s *stage) { s.front.old.Store(false) }},
}

// begins has tokens begin in a while, as those of an authority whose clock is ahead.
func begins(in time.Duration) func(c map[string]any) {
	return func(c map[string]any) {
		at := time.Now().Add(in)
		c["iat"], c["nbf"], c["exp"] = at.Unix(), at.Unix(), at.Add(time.Hour).Unix()
	}
}

func hanging(f fault) fault {
	f.hangs = true
	return f
}

func agedTokens(f fault) fault {
	f.old = true
	return f
}

func twice(f fault) fault {
	f.twice = true
	return f
}

// garbled answers with that token, or with the first half of the right one.
func garbled(name, token string) fault {
	f := playing(name, "sign-in", "token", func(f *front, w http.ResponseWriter, r *http.Request) {
		status, header, body := f.ask(r)
		answer(w, status, header, respond(body, func(m map[string]any) {
			if right, _ := m["access_token"].(string); token == "" {
				m["access_token"] = right[:len(right)/2]
			} else {
				m["access_token"] = token
			}
		}))
	})
	f.spoils = true
	return f
}

// another is one more identity with a role, whom nobody's cache knows.
func another(s *stage, name string) emulator.Identity {
	return s.az.Add(emulator.Identity{Name: name, ClientID: guid(), ObjectID: guid(), Secret: "s3cr3t"})
}
