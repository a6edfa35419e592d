package driver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/stdlib"
)

// Whoever hooks in sees TLS that stands, and no password: not his host's, nor that of a
// host before, which took it and hung up.
func TestHandshakeComesFirst(t *testing.T) {
	clean(t)
	s := newFakeServer(t, func(s *fakeServer) {
		s.rogue = func(s *fakeServer, conn net.Conn) {
			if secure := s.greet(conn); secure != nil {
				secure.Write(cleartext)
				io.ReadAtLeast(io.TeeReader(secure, s), make([]byte, 64<<10), 5)
			}
		}
	})
	seen := 0
	dsn := strings.Replace(s.dsn("sslrootcert="+s.certFile), "host=127.0.0.1", "host=127.0.0.1,127.0.0.1,127.0.0.1", 1)
	err := ping(t, dsn, WithCredential(&fakeCredential{}), WithConnConfig(func(c *pgx.ConnConfig) {
		c.AfterNetConnect = func(_ context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
			if !conn.(*tls.Conn).ConnectionState().HandshakeComplete || cfg.Password != "" {
				t.Errorf("the hook sees %q, over %+v", cfg.Password, conn.(*tls.Conn).ConnectionState())
			}
			seen++
			return conn, nil
		}
	}))
	if heard, _ := s.got(); err == nil || seen != 3 || strings.Count(heard, marker) != 3 {
		t.Errorf("%v, seen %d times, heard %q", err, seen, heard)
	}
}

// The quota is for the sign-in alone.
func TestSignedInIsNotBounded(t *testing.T) {
	clean(t)
	long := strings.Repeat("x", 3*mostSaid)
	for name, limit := range map[string]func(*pgx.ConnConfig){
		"none":       func(*pgx.ConnConfig) {},
		"config's":   func(c *pgx.ConnConfig) { c.MaxProtocolMessageBodyLen = 4 * mostSaid },
		"frontend's": func(c *pgx.ConnConfig) { c.BuildFrontend = limited },
	} {
		s := newFakeServer(t, func(s *fakeServer) {
			s.reply = append(append([]pgproto3.BackendMessage(nil), welcome...), &pgproto3.NoticeResponse{Message: long}, &pgproto3.NoticeResponse{Message: long + long})
		})
		c, err := NewConnector(s.dsn("sslrootcert="+s.certFile), WithCredential(&fakeCredential{}), WithConnConfig(limit))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := c.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		pg := conn.(*stdlib.Conn).Conn().PgConn()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		m, err := pg.ReceiveMessage(ctx)
		if notice, ok := m.(*pgproto3.NoticeResponse); err != nil || !ok || notice.Message != long {
			t.Errorf("%T, %v", m, err)
		}
		for range 2 * mostAsked { // more than a sign-in may be answered
			pg.Frontend().SendSync(&pgproto3.Sync{})
			if err := pg.Frontend().Flush(); err != nil {
				t.Error(err)
			}
		}
		m, err = pg.ReceiveMessage(ctx)
		if notice, ok := m.(*pgproto3.NoticeResponse); name == "none" && (err != nil || !ok || notice.Message != long+long) {
			t.Errorf("%T, %v", m, err)
		}
		if name != "none" && (err == nil || !strings.Contains(err.Error(), "invalid body length: expected at most 4194304")) {
			t.Errorf("the %s limit: %v", name, err)
		}
	}
}

// limited is a program's own frontend.
func limited(r io.Reader, w io.Writer) *pgproto3.Frontend {
	f := pgproto3.NewFrontend(r, w)
	f.SetMaxBodyLen(4 * mostSaid)
	return f
}

// What a request shows is known, as it is and as a form has it.
func TestSecretsOfARequest(t *testing.T) {
	const form = "client_id=known&client_secret=a%2Bb%26-" + marker + "&client_assertion=assertion-" + marker + "&refresh_token=refresh-" + marker + "&code=code-" + marker + "&device_code=device-" + marker + "&grant_type=known"
	r := httptest.NewRequest(http.MethodPost, "https://login.example/token", strings.NewReader(form))
	r.Header.Set("Authorization", "Bearer bearer-"+marker)
	r.Header.Set("X-Identity-Header", "header-"+marker)
	r.Header.Set("Secret", "ml-"+marker)
	said := "known " + form
	for _, v := range r.Header {
		said += strings.Join(v, " ") + " "
	}
	secrets, err := sent(r)
	said = string(mask([]byte(said+" a+b&-"+marker), secrets))
	if err != nil || strings.Contains(said, marker) || strings.Count(said, "known") != 3 || strings.Count(said, masked) != 9 {
		t.Errorf("left: %s; %v", said, err)
	}
	for range 2 { // HTTP/2 may send it twice
		if b, err := io.ReadAll(r.Body); err != nil || string(b) != form {
			t.Errorf("cannot be sent: %q, %v", b, err)
		}
		r.Body, _ = r.GetBody()
	}
}

// A client may still read a request's body when the answer to it is there, while azcore
// sends it again.
func TestBodyOfItsOwn(t *testing.T) {
	clean(t)
	var early io.Reader
	var first, again string
	c, err := NewConnector("host=h user=u aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=s aad_disable_instance_discovery=true", WithTransport(public(func(r *http.Request) (*http.Response, error) {
		if early == nil {
			early = r.Body
			io.CopyN(io.Discard, r.Body, 1)
			return answer(http.StatusServiceUnavailable, "{}"), nil
		}
		b, _ := io.ReadAll(r.Body)
		again = string(b)
		b, _ = io.ReadAll(early)
		first = again[:1] + string(b)
		return answer(http.StatusBadRequest, "{}"), nil
	})))
	if err != nil {
		t.Fatal(err)
	}
	soon := policy.WithRetryOptions(t.Context(), policy.RetryOptions{RetryDelay: time.Millisecond})
	if _, err := c.tokens.(*source).ask(soon, ""); err == nil || !strings.Contains(again, "client_secret=s") || first != again {
		t.Errorf("sent %q, then %q: %v", first, again, err)
	}
}

// What asking again would not mend is asked once.
func TestUnfitIsFinal(t *testing.T) {
	var requests atomic.Int64
	for name, answer := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
		},
		"length": func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, mostAnswer+1)) },
	} {
		requests.Store(0)
		web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { requests.Add(1); answer(w, r) }))
		for _, a := range approaches(t)[:4] {
			requests.Store(0)
			c := a.connector(t, web.URL, web.Client())
			soon := policy.WithRetryOptions(t.Context(), policy.RetryOptions{RetryDelay: time.Millisecond})
			_, err := c.tokens.(*source).ask(soon, "")
			if err == nil || requests.Load() != 1 {
				t.Errorf("%s, %s: %d requests, %v", name, a.mode, requests.Load(), err)
			}
		}
		web.Close()
	}
	exact := carrier{doer(func(*http.Request) (*http.Response, error) { return answer(200, strings.Repeat("x", mostAnswer)), nil })}
	req := httptest.NewRequest(http.MethodGet, "http://h/", nil)
	resp, err := exact.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || len(b) != mostAnswer {
		t.Errorf("what is just short enough: %d bytes, %v", len(b), err)
	}
}
