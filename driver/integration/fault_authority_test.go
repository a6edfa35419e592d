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
)

// An authorityFault is a fault of the authority, and what a caller must see of it.
type authorityFault struct {
	name        string
	start, stop func(*client)
	step        string // of the error; "": connects succeed nevertheless
	want        string // in the error, alternatives separated by "|"
	tlsOnly     bool   // for an authority with a certificate
	heavy       bool   // for this machine too
	badTokens   bool   // returns unusable tokens rather than none, so no good one is cached
	oldTokens   bool   // the tokens say that they are old, so the first rejection may cause a request at once
	hangs       bool   // until the client gives up
	recurs      bool   // is started once more after the recovery
}

// responseFault makes the authority answer with respond.
func responseFault(name, step, want string, respond responder) authorityFault {
	return authorityFault{
		name: name, step: step, want: want,
		start: func(c *client) { c.authority.setResponder(respond) },
		stop:  func(c *client) { c.authority.setResponder(nil) },
	}
}

// badTokenFault makes the authority return tokens with edited claims.
func badTokenFault(name, step, want string, edit func(claims map[string]any)) authorityFault {
	f := responseFault(name, step, want, nil)
	f.badTokens = true
	f.start = func(c *client) {
		c.authority.setResponder(func(p *authorityProxy, w http.ResponseWriter, r *http.Request) {
			status, header, body := p.forward(r)
			writeResponse(w, status, header, editTokenResponse(body, func(m map[string]any) {
				m["access_token"] = c.az.Token(c.id, edit)
			}))
		})
	}
	return f
}

// editTokenResponse edits a response that has a token, and sets its lifetime to an hour.
func editTokenResponse(body []byte, edit func(map[string]any)) []byte {
	var m map[string]any
	if json.Unmarshal(body, &m) != nil || m["access_token"] == nil {
		return body
	}
	m["expires_in"] = 3600
	if m["expires_on"] != nil { // a managed identity's endpoint writes numbers as strings
		m["expires_in"] = "3600"
		m["expires_on"] = fmt.Sprint(time.Now().Add(time.Hour).Unix())
	}
	edit(m)
	b, _ := json.Marshal(m) // it was JSON
	return b
}

// respondUnavailable answers with Entra's transient error. retryAfter is in seconds, or "".
func respondUnavailable(code int, retryAfter string) responder {
	return func(p *authorityProxy, w http.ResponseWriter, r *http.Request) {
		seconds, _ := strconv.Atoi(retryAfter)
		if r.Context().Err() == nil {
			p.retryAfter.Store(int64(seconds) * int64(time.Second))
		}
		writeResponse(w, code, http.Header{"Content-Type": {"application/json"}, "Retry-After": {retryAfter}},
			[]byte(`{"error":"temporarily_unavailable","error_description":"AADSTS90033: A transient error has occurred. Please try again.\r\nTrace ID: 1"}`))
	}
}

func respondWith(code int, body string) responder {
	return func(_ *authorityProxy, w http.ResponseWriter, _ *http.Request) {
		writeResponse(w, code, http.Header{"Content-Type": {"application/json"}}, []byte(body))
	}
}

// hijack hands the connection to serve.
func hijack(serve func(net.Conn, *authorityProxy, *http.Request)) responder {
	return func(p *authorityProxy, w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		serve(conn, p, r)
	}
}

// write returns a server that writes text and closes the connection.
func write(text string) func(net.Conn, *authorityProxy, *http.Request) {
	return func(c net.Conn, _ *authorityProxy, _ *http.Request) { io.WriteString(c, text) }
}

// hugeResponseFault answers with 100 MiB between before and after.
func hugeResponseFault(name, want string, code int, before, after string) authorityFault {
	f := responseFault(name, "token", want, func(_ *authorityProxy, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		io.WriteString(w, before)
		mebibyte := bytes.Repeat([]byte("a"), 1<<20)
		for range 100 {
			if _, err := w.Write(mebibyte); err != nil {
				return
			}
		}
		io.WriteString(w, after)
	})
	f.heavy = true
	return f
}

// notAnAuthority is what is said of a response that is neither an authority's nor a
// metadata service's.
const notAnAuthority = "the response is not an authority's|is not JSON of a metadata service"

// authorityFaults are the faults of whatever issues tokens.
var authorityFaults = []authorityFault{
	hangs(responseFault("no response", "token", "no response from", func(_ *authorityProxy, _ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // the server notices a client's disconnect only after the body
		<-r.Context().Done()
	})),
	{name: "down", step: "token", want: "connection refused", start: func(c *client) { c.authority.stop() }, stop: func(c *client) { c.authority.start(c.t) }},
	responseFault("429", "token", "too many requests", respondUnavailable(429, "")),
	responseFault("429 with Retry-After", "token", "too many requests", respondUnavailable(429, "2")),
	responseFault("429 with Retry-After over the timeout", "token", "too many requests", respondUnavailable(429, "5")),
	recurs(responseFault("500", "token", "the authority reports an error", respondUnavailable(500, ""))),
	responseFault("500 with Retry-After", "token", "the authority reports an error", respondUnavailable(500, "2")),
	responseFault("503", "token", "the authority reports an error", respondUnavailable(503, "")),
	responseFault("503 with Retry-After", "token", "the authority reports an error", respondUnavailable(503, "2")),
	responseFault("closed in the body", "token", "EOF|closed network", hijack(func(c net.Conn, p *authorityProxy, r *http.Request) {
		_, _, body := p.forward(r)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:len(body)/2])
	})),
	responseFault("closed in the header", "token", "EOF|malformed MIME|closed network", hijack(write("HTTP/1.1 200 OK\r\nContent-Le"))),
	responseFault("closed before the response", "token", "EOF|connection reset|closed network", hijack(write(""))),
	responseFault("not HTTP", "token", "malformed HTTP|closed network", hijack(write("SSH-2.0-OpenSSH_9.2\r\n\x00\xff\x01"))),
	responseFault("HTML page", "token", notAnAuthority, respondWith(200, "<!DOCTYPE html><html><head><title>Sign in to the Wi-Fi</title></head>\n<body>\x1b[31m</body></html>")),
	responseFault("binary body", "token", notAnAuthority, respondWith(200, "\x00\x01\x02\xff\xfe\r\n\r\n\x7f")),
	responseFault("empty body", "token", notAnAuthority, respondWith(200, "")),
	responseFault("empty object", "token", notAnAuthority, respondWith(200, "{}")),
	responseFault("deeply nested arrays", "token", notAnAuthority, respondWith(200, strings.Repeat("[", 100_000))),
	hugeResponseFault("token of 100 MiB", "longer than 1 MiB|no response from", 200, `{"token_type":"Bearer","expires_in":3600,"access_token":"`, `"}`),
	hugeResponseFault("error of 100 MiB", "HTTP 500|no response from", 500, `{"error":"x","error_description":"`, `"}`),
	oldTokens(badTokenFault("tokens expired an hour ago", "sign-in", "the access token has expired", func(claims map[string]any) {
		claims["iat"] = time.Now().Add(-2 * time.Hour).Unix()
		claims["nbf"] = time.Now().Add(-2 * time.Hour).Unix()
		claims["exp"] = time.Now().Add(-time.Hour).Unix()
	})),
	badTokenFault("tokens expired a second ago", "sign-in", "the access token has expired", func(claims map[string]any) { claims["exp"] = time.Now().Add(-time.Second).Unix() }),
	badTokenFault("tokens valid in two hours", "sign-in", "the access token is not yet valid", issuedIn(2*time.Hour)),
	badTokenFault("tokens valid in two minutes", "", "", issuedIn(2*time.Minute)), // within the clock skew that servers allow
	badTokenFault("tokens for another audience", "token", "the token is for", func(claims map[string]any) { claims["aud"] = "https://vault.azure.net" }),
	recurs(badTokenFault("tokens of another tenant", "sign-in", "validating the access token", func(claims map[string]any) { claims["tid"] = "00000000-0000-0000-0000-000000000000" })),
	malformedTokenFault("tokens that are no JWT", func(string) string { return "opensesame" }),
	malformedTokenFault("truncated tokens", func(token string) string { return token[:len(token)/2] }),
	{name: "expired certificate", step: "token", want: "certificate has expired", tlsOnly: true,
		start: func(c *client) {
			c.authority.presentExpired.Store(true)
			c.authority.stop() // connections that are open have the valid certificate
			c.authority.start(c.t)
		},
		stop: func(c *client) { c.authority.presentExpired.Store(false) }},
}

// issuedIn edits claims as an authority whose clock is ahead issues them.
func issuedIn(d time.Duration) func(claims map[string]any) {
	return func(claims map[string]any) {
		at := time.Now().Add(d)
		claims["iat"] = at.Unix()
		claims["nbf"] = at.Unix()
		claims["exp"] = at.Add(time.Hour).Unix()
	}
}

func hangs(f authorityFault) authorityFault {
	f.hangs = true
	return f
}

func oldTokens(f authorityFault) authorityFault {
	f.oldTokens = true
	return f
}

func recurs(f authorityFault) authorityFault {
	f.recurs = true
	return f
}

// malformedTokenFault makes the authority replace each good token.
func malformedTokenFault(name string, replacement func(token string) string) authorityFault {
	f := responseFault(name, "sign-in", "token", func(p *authorityProxy, w http.ResponseWriter, r *http.Request) {
		status, header, body := p.forward(r)
		writeResponse(w, status, header, editTokenResponse(body, func(m map[string]any) {
			token, _ := m["access_token"].(string)
			m["access_token"] = replacement(token)
		}))
	})
	f.badTokens = true
	return f
}
