package driver

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// secondsToken returns a new token for each call, which is valid for four seconds.
func secondsToken(call int64, _ string) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: entratest.JWT(map[string]any{"n": call}), ExpiresOn: time.Now().Add(4 * time.Second)}, nil
}

// A funcCredential is of a type that cannot be compared.
type funcCredential func(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error)

func (f funcCredential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return f(ctx, o)
}

// A wrapper that opens each connection by Driver.Open makes as many token requests as a pool
// of connectors: one for each token, however long a request takes, and also when nothing but
// the driver is left to hold the tokens.
func TestOpenCostsNoMoreRequests(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	rows := []struct {
		name  string
		delay time.Duration // of a token request
		wrap  func(azcore.TokenCredential) azcore.TokenCredential
	}{
		{"quick requests", 0, nil},
		{"slow requests", 500 * time.Millisecond, nil},
		{"a credential that cannot be compared", 0, func(cred azcore.TokenCredential) azcore.TokenCredential { return funcCredential(cred.GetToken) }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cred := &entratest.Credential{Get: secondsToken, Delay: row.delay}
				var own azcore.TokenCredential = cred
				if row.wrap != nil {
					own = row.wrap(cred)
				}
				d := newDriver([]Option{WithCredential(own), s.overPipe(0)})
				start := time.Now()
				for n := 0; time.Since(start) < 12*time.Second; n++ {
					conn, err := d.Open(s.trustedDSN(""))
					if err != nil {
						t.Fatalf("Open() = %v, want no error", err)
					}
					conn.Close()
					time.Sleep(100 * time.Millisecond)
					if n%40 == 0 {
						runtime.GC()
					}
				}
				if got := cred.Calls.Load(); got > 9 {
					t.Errorf("token requests in 12 s = %d, want at most 9", got)
				}
			})
		})
	}
}

// A refresh that an Open began is finished, although its connection was opened with the old
// token and the next Open comes later.
func TestOpenFinishesTheRefresh(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	synctest.Test(t, func(t *testing.T) {
		cred := &entratest.Credential{Get: secondsToken}
		d := newDriver([]Option{WithCredential(cred), s.overPipe(0)})
		open := func() {
			t.Helper()
			conn, err := d.Open(s.trustedDSN(""))
			if err != nil {
				t.Fatalf("Open() = %v, want no error", err)
			}
			conn.Close()
		}
		open()
		time.Sleep(3 * time.Second) // a refresh is due
		cred.Delay = 500 * time.Millisecond
		for range 50 {
			open()
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		open()
		if got := cred.Calls.Load(); got != 2 {
			t.Errorf("token requests = %d, want 2", got)
		}
	})
}

// Open sees what has changed since the last Open: the environment decides the role and the
// identity each time.
func TestOpenSeesTheEnvironment(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	synctest.Test(t, func(t *testing.T) {
		cred := &entratest.Credential{}
		d := newDriver([]Option{WithCredential(cred), s.overPipe(0)})
		steps := []struct {
			name, variable, value string
			role                  string
			requests              int64
		}{
			{"first", "PGUSER", "one", "one", 1},
			{"the same", "PGUSER", "one", "one", 1},
			{"another role", "PGUSER", "two", "two", 1},
			{"another identity", "AZURE_CLIENT_ID", "c", "two", 2},
			{"the same again", "AZURE_CLIENT_ID", "c", "two", 2},
		}
		for _, step := range steps { // each continues the one before
			t.Setenv(step.variable, step.value)
			runtime.GC() // only the driver holds the tokens
			conn, err := d.Open("host=h dbname=d aad_insecure=unverified")
			if err != nil {
				t.Fatalf("%s: Open() = %v, want no error", step.name, err)
			}
			if got := conn.(*stdlib.Conn).Conn().Config().User; got != step.role {
				t.Errorf("%s: the role = %q, want %q", step.name, got, step.role)
			}
			conn.Close()
			if got := cred.Calls.Load(); got != step.requests {
				t.Errorf("%s: token requests = %d, want %d", step.name, got, step.requests)
			}
		}
	})
}

// What Open knows of a role is kept from one Open to the next: a token that is revoked later
// is replaced, also if the server does not say that it is the token's fault.
func TestOpenRemembersTheRole(t *testing.T) {
	entratest.CleanEnv(t)
	accept := true
	s := newFakeServer(t, nil)
	first := ""
	s.verdict = rejectAfter(&accept, &first)
	synctest.Test(t, func(t *testing.T) {
		cred := &entratest.Credential{Get: agedToken}
		d := newDriver([]Option{WithCredential(cred), s.overPipe(0)})
		for _, name := range []string{"before", "after the token was revoked"} {
			conn, err := d.Open(s.trustedDSN(""))
			if err != nil {
				t.Fatalf("%s: Open() = %v, want no error", name, err)
			}
			conn.Close()
			accept = false
		}
		if got := cred.Calls.Load(); got != 2 {
			t.Errorf("token requests = %d, want 2", got)
		}
	})
}

// What is known of one role is not taken for what is known of another.
func TestOpenDoesNotMixRoles(t *testing.T) {
	entratest.CleanEnv(t)
	accept := true
	s := newFakeServer(t, func(s *fakeServer) {
		s.verdict = func(string) []pgproto3.BackendMessage {
			if accept {
				return authOK
			}
			return errorResponse("28P01", passwordFailed)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		cred := &entratest.Credential{Get: agedToken}
		d := newDriver([]Option{WithCredential(cred), s.overPipe(0)})
		dsn := "host=h dbname=d aad_insecure=unverified"
		t.Setenv("PGUSER", "one")
		conn, err := d.Open(dsn)
		if err != nil {
			t.Fatalf("Open() = %v, want no error", err)
		}
		conn.Close()
		accept = false
		t.Setenv("PGUSER", "two")
		if _, err := d.Open(dsn); err == nil {
			t.Error("Open() succeeded, want a rejection")
		}
		if got := cred.Calls.Load(); got != 1 {
			t.Errorf("token requests = %d, want 1: role two may not exist", got)
		}
	})
}

// An Open that nothing follows for an hour leaves nothing: the token cache is released.
func TestOpenLetsGo(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	synctest.Test(t, func(t *testing.T) {
		cred := &entratest.Credential{}
		d := newDriver([]Option{WithCredential(cred), s.overPipe(0)})
		kept := func() int {
			d.kept.mu.Lock()
			defer d.kept.mu.Unlock()
			return len(d.kept.m)
		}
		open := func() {
			t.Helper()
			conn, err := d.Open(s.trustedDSN(""))
			if err != nil {
				t.Fatalf("Open() = %v, want no error", err)
			}
			conn.Close()
		}
		open()
		time.Sleep(40 * time.Minute)
		open()
		time.Sleep(59 * time.Minute)
		if got := kept(); got != 1 {
			t.Errorf("59 minutes after the last Open %d caches are kept, want 1", got)
		}
		time.Sleep(2 * time.Minute)
		if got := kept(); got != 0 {
			t.Errorf("an hour after the last Open %d caches are kept, want 0", got)
		}
		open()
		if got := kept(); got != 1 {
			t.Errorf("after another Open %d caches are kept, want 1", got)
		}
	})
}

// Two sql.DB over one connector: closing one does not fail a connect of the other.
func TestTwoPoolsOverOneConnector(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	synctest.Test(t, func(t *testing.T) {
		cred := &entratest.Credential{Delay: 2 * time.Second}
		c, err := NewConnector(s.trustedDSN(""), WithCredential(cred), s.overPipe(0))
		if err != nil {
			t.Fatal(err)
		}
		one := sql.OpenDB(c)
		two := sql.OpenDB(c)
		connected := make(chan error, 1)
		go func() {
			conn, err := one.Conn(t.Context())
			if err == nil {
				conn.Close()
			}
			connected <- err
		}()
		time.Sleep(time.Second)
		two.Close()
		if err := <-connected; err != nil {
			t.Errorf("the connect of the other pool = %v, want no error", err)
		}
		time.Sleep(2 * time.Hour) // the token has expired
		one.SetMaxIdleConns(0)
		conn, err := one.Conn(t.Context())
		if err != nil {
			t.Errorf("a later connect of the other pool = %v, want no error", err)
		} else {
			conn.Close()
		}
		one.Close()
		if got := cred.Calls.Load(); got != 2 {
			t.Errorf("token requests = %d, want 2", got)
		}
	})
}

// Whatever the server says when it rejects tokens, 50 pools of one identity make about as many
// requests as one, also if more pools are opened all the time.
func TestRenewalsAreTheIdentitys(t *testing.T) {
	entratest.CleanEnv(t)
	requests := func(t *testing.T, pools int, message string, age time.Duration, reopen bool) int64 {
		start := time.Now()
		cred := &entratest.Credential{Get: func(call int64, _ string) (azcore.AccessToken, error) {
			return tokenIssued(start.Add(-age), call), nil
		}}
		connectors := make([]*Connector, pools)
		for i := range connectors {
			connectors[i] = newConnector(t, "host=h user=u", WithCredential(cred))
			connectors[i].signedIn.Store(true)
		}
		for time.Since(start) < 3*time.Minute {
			for i, c := range connectors {
				if signIn(t, c, message, rejectAll) {
					t.Fatal("the sign-in succeeded, want a rejection")
				}
				if reopen {
					connectors[i] = newConnector(t, "host=h user=u", WithCredential(cred))
					c.Close()
				}
			}
			time.Sleep(500 * time.Millisecond)
		}
		return cred.Calls.Load()
	}
	rows := []struct {
		name, message string
		age           time.Duration // of each token
		reopen        bool          // each pool is opened again after each rejection
	}{
		{"about the token", tokenExpired, 0, false},
		{"about the token, which is old", tokenExpired, time.Hour, false},
		{"about the token, pools are opened again", tokenExpired, time.Hour, true},
		{"about the role", passwordFailed, time.Hour, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				one := requests(t, 1, row.message, row.age, row.reopen)
				pools := 50
				if raceDetector {
					pools = 5
				}
				many := requests(t, pools, row.message, row.age, row.reopen)
				t.Logf("token requests in 3 minutes: %d of one pool, %d of %d", one, many, pools)
				if many > one+2 {
					t.Errorf("token requests of %d pools = %d, want at most %d, for one makes %d", pools, many, one+2, one)
				}
			})
		})
	}
}

// A pool whose server accepts its tokens does not make another pool of its identity, whose
// server rejects them, request more of them.
func TestAnotherPoolsSuccessIsNoReason(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		cred := &entratest.Credential{Get: func(int64, string) (azcore.AccessToken, error) {
			return tokenIssued(start.Add(-time.Hour), 0), nil // always the same
		}}
		rejected := newConnector(t, "host=a user=u", WithCredential(cred))
		accepted := newConnector(t, "host=b user=u", WithCredential(cred))
		for time.Since(start) < 3*time.Minute {
			signIn(t, rejected, tokenExpired, rejectAll)
			if !signIn(t, accepted, tokenExpired, func(*token.Token) bool { return false }) {
				t.Fatal("the sign-in was rejected, want it accepted")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got := cred.Calls.Load(); got > 24 { // each renewal is followed by a request past the credential's cache
			t.Errorf("token requests in 3 minutes = %d, want at most 24", got)
		}
	})
}

// A dropped role of one pool does not use up the renewal of another pool's role.
func TestRenewalOfAnotherRole(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		cred := &entratest.Credential{Get: func(call int64, _ string) (azcore.AccessToken, error) {
			return tokenIssued(start.Add(-time.Hour), call), nil
		}}
		dropped := newConnector(t, "host=h user=dropped", WithCredential(cred))
		other := newConnector(t, "host=h user=other", WithCredential(cred))
		acceptAll := func(*token.Token) bool { return false }
		signIn(t, dropped, passwordFailed, acceptAll)
		for range 10 {
			signIn(t, dropped, passwordFailed, rejectAll)
			time.Sleep(time.Second)
		}
		signIn(t, other, passwordFailed, acceptAll)
		revoked, err := tokenOf(t.Context(), other)
		if err != nil {
			t.Fatal(err)
		}
		if !signIn(t, other, passwordFailed, func(presented *token.Token) bool { return presented.Value == revoked.Value }) {
			t.Error("the sign-in was rejected, want it accepted with a newer token")
		}
	})
}

// An app is a credential that reaches its own pool, as a program's main type may.
type app struct {
	db        *sql.DB
	connector *Connector
	ballast   []byte // so that it counts
}

func newApp() *app { return &app{ballast: make([]byte, 64<<10)} }

func (*app) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return hourToken("x"), nil
}

type appByValue struct{ *app }

// A pool that is closed, or dropped, leaves nothing on the heap, whatever its credential
// reaches.
func TestPoolsAreCollected(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	open := func(t *testing.T, a *app, opts ...Option) *Connector {
		c, err := NewConnector(s.trustedDSN(""), opts...)
		if err != nil {
			t.Fatal(err)
		}
		a.connector = c
		if _, err := c.Credentials(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	rows := []struct {
		name string
		use  func(*testing.T, *app)
	}{
		{"closed", func(t *testing.T, a *app) {
			a.db = sql.OpenDB(open(t, a, WithCredential(a)))
			a.db.Close()
		}},
		{"dropped", func(t *testing.T, a *app) { open(t, a, WithCredential(a)) }},
		{"a credential by value", func(t *testing.T, a *app) { open(t, a, WithCredential(appByValue{a})).Close() }},
		{"a credential that cannot be compared", func(t *testing.T, a *app) { open(t, a, WithCredential(funcCredential(a.GetToken))).Close() }},
		{"a transport", func(t *testing.T, a *app) {
			web := &transport{func(*http.Request) (*http.Response, error) { _ = a; return nil, errors.New("none") }}
			c, err := NewConnector(s.trustedDSN("aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=s"), WithTransport(web))
			if err != nil {
				t.Fatal(err)
			}
			a.connector = c
			c.Close()
		}},
		{"opened by the driver", func(t *testing.T, a *app) {
			conn, err := open(t, a, WithCredential(a)).Driver().Open(s.trustedDSN(""))
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			a.connector.Close()
		}},
		{"rejected", func(t *testing.T, a *app) {
			c := open(t, a, WithCredential(a))
			attempt := c.newAttempt()
			if _, err := attempt.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			attempt.handleRejection(&pgconn.PgError{Code: "28000", Message: tokenExpired})
			c.Close()
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			const pools = 100
			row.use(t, newApp()) // what is made once
			before := memoryInUse()
			for range pools {
				row.use(t, newApp())
			}
			var left int64
			for range 20 { // cleanups run in their own time
				left = memoryInUse() - before
				if left < pools*(8<<10) {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Errorf("%d pools have left %d KiB, want less than 8 KiB each", pools, left>>10)
		})
	}
}

const endpointVariable = "AADPOSTGRES_TEST_TOKEN_ENDPOINT"

// TestTokenEndpoint is the token endpoint of TestCloseLeavesNothing, in a process of its own.
func TestTokenEndpoint(t *testing.T) {
	if os.Getenv(endpointVariable) == "" {
		t.Skip("it is run by TestCloseLeavesNothing")
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/silent" {
			<-r.Context().Done()
			return
		}
		io.WriteString(w, tokenBody(entratest.JWT(map[string]any{"oid": "o"})))
	}))
	defer web.Close()
	fmt.Println(web.URL)
	io.Copy(io.Discard, os.Stdin) // until the other process ends
}

// After the last Close of an identity nothing of this module runs, and no connection to the
// token endpoint is open, although the endpoint lives on. While a pool is open, an idle
// connection is not kept for long.
func TestCloseLeavesNothing(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestTokenEndpoint$")
	cmd.Env = append(os.Environ(), endpointVariable+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	url, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url = strings.TrimSpace(url)
	rows := []struct {
		name, path string
		use        func(*testing.T, *Connector)
	}{
		{"closed after a token", "/token", func(t *testing.T, c *Connector) {
			if _, err := c.Credentials(t.Context()); err != nil {
				t.Errorf("Credentials() = %v, want no error", err)
			}
			c.Close()
		}},
		{"closed during a request", "/silent", func(_ *testing.T, c *Connector) {
			c.source.Token(observer{c})
			c.Close()
		}},
		{"a waiter gives up after Close", "/silent", func(t *testing.T, c *Connector) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			c.Close()
			if _, err := c.Credentials(ctx); err == nil {
				t.Error("Credentials() succeeded, want an error")
			}
		}},
		{"not closed", "/token", func(t *testing.T, c *Connector) {
			if _, err := c.Credentials(t.Context()); err != nil {
				t.Errorf("Credentials() = %v, want no error", err)
			}
			t.Cleanup(func() { c.Close() })
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			t.Setenv("IDENTITY_ENDPOINT", url+row.path)
			t.Setenv("IDENTITY_HEADER", "h")
			c, err := NewConnector("host=h user=u aad_auth=managed-identity aad_client_id=" + rand.Text()) // azidentity keeps its tokens for the process
			if err != nil {
				t.Fatal(err)
			}
			row.use(t, c)
			var left []string
			for range 40 { // two seconds, in which a connection has ended that was in use
				left = ownGoroutines()
				if len(left) == 0 {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
			t.Errorf("%d goroutines are left, want none:\n%s", len(left), strings.Join(left, "\n\n"))
		})
	}
}

// ownGoroutines returns the stacks of those that request tokens or hold a connection of an
// HTTP client.
func ownGoroutines() []string {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var own []string
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		for _, part := range []string{"net/http.(*persistConn)", "net/http.(*http2ClientConn)", "net/http.(*http2clientConn", "driver/internal/token.", "driver/internal/credential."} {
			if strings.Contains(stack, part) {
				own = append(own, stack)
				break
			}
		}
	}
	return own
}
