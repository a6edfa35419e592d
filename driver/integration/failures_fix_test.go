package integration

import (
	"context"
	"encoding/pem"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

var hintSQL = regexp.MustCompile(`(?s)(?:in database postgres|database's owner|administrator): (.*;)`)

// applySQL runs the SQL of the hint, as administrator.
func applySQL(t *testing.T, fx *fixture, dsn string, e *driver.Error) string {
	t.Helper()
	m := hintSQL.FindStringSubmatch(e.Hint)
	if m == nil {
		t.Fatalf("hint = %q, want one with SQL", e.Hint)
	}
	conn := fx.connectAsAdmin(t)
	defer conn.Close()
	err := conn.Raw(func(raw any) error {
		_, err := raw.(*stdlib.Conn).Conn().Exec(context.Background(), m[1], pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		t.Errorf("%s: %v", m[1], err)
	}
	return dsn
}

var hintRole = regexp.MustCompile(`aadpostgres role (\S+) NAME (?:-server-type (\S+) )?-(object|client)-id ([0-9a-f-]{36})`)

// applyRoleCommand creates the role with the flags of the command that the hint names, as
// administrator.
func applyRoleCommand(t *testing.T, fx *fixture, dsn string, e *driver.Error) string {
	t.Helper()
	m := hintRole.FindStringSubmatch(e.Hint)
	if m == nil {
		t.Fatalf("hint = %q, want one with aadpostgres role", e.Hint)
	}
	role := driver.Role{Kind: m[1], ServerType: m[2]}
	role.Name = regexp.MustCompile(`\buser=(\S+)`).FindStringSubmatch(dsn)[1]
	if m[3] == "object" {
		role.ObjectID = m[4]
	} else {
		role.ClientID = m[4]
	}
	conn := fx.connectAsAdmin(t)
	defer conn.Close()
	if _, err := role.Apply(context.Background(), conn); err != nil {
		t.Errorf("%+v.Apply() = %v", role, err)
	}
	return dsn
}

// reassign creates a role that exists, as administrator, for the fixture's application. The
// hint of that error reassigns it.
func reassign(name string) fixFunc {
	return func(t *testing.T, fx *fixture, dsn string, e *driver.Error) string {
		t.Helper()
		if want := "aadpostgres role"; !strings.Contains(e.Hint, want) {
			t.Errorf("hint = %q, want %q in it", e.Hint, want)
		}
		conn := fx.connectAsAdmin(t)
		defer conn.Close()
		_, err := driver.Role{Name: name, Kind: "service-principal", ObjectID: fx.app.ObjectID}.Apply(context.Background(), conn)
		return applySQL(t, fx, dsn, asError(t, err))
	}
}

var hintSetting = regexp.MustCompile(`\b(?:aad_\w+|user)=(?:'(?:[^'\\]|\\.)*'|[^\s;,]+)`)

// applySetting sets the key that the hint names.
func applySetting(t *testing.T, _ *fixture, dsn string, e *driver.Error) string {
	t.Helper()
	m := strings.TrimRight(hintSetting.FindString(e.Hint), ":.")
	key, _, ok := strings.Cut(m, "=")
	if !ok {
		t.Fatalf("hint = %q, want one with key=value", e.Hint)
	}
	return regexp.MustCompile(`\b`+key+`=('(?:[^'\\]|\\.)*'|\S+)`).ReplaceAllLiteralString(dsn, "") + " " + m
}

// replace changes the DSN where the hint leaves the value to its reader.
func replace(old, with string) fixFunc {
	return func(t *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
		if !strings.Contains(dsn, fill(old, fx.app)) {
			t.Fatalf("DSN = %q, want one with %q", dsn, old)
		}
		return strings.ReplaceAll(dsn, fill(old, fx.app), fill(with, fx.app))
	}
}

// withToken sets another token in place of the password.
func withToken(token func(fx *fixture) string) fixFunc {
	return func(t *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
		t.Setenv("PGPASSWORD", token(fx))
		return dsn
	}
}

// failLookup fails every lookup as Go's resolver fails for an unknown host.
var failLookup = driver.WithConnConfig(func(c *pgx.ConnConfig) {
	c.LookupFunc = func(_ context.Context, host string) ([]string, error) {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
})

func userToken(fx *fixture) string { return fx.az.Token(fx.user, nil) }
func appToken(fx *fixture) string  { return fx.az.Token(fx.app, nil) }

// tokenWithClaim returns app's token with a claim changed, or removed if value returns nil.
func tokenWithClaim(claim string, value func(fx *fixture) any) func(*fixture) string {
	return func(fx *fixture) string {
		return fx.az.Token(fx.app, func(claims map[string]any) {
			claims[claim] = value(fx)
			if claims[claim] == nil {
				delete(claims, claim)
			}
		})
	}
}

// toggle returns a failure's setup and restore that set and unset one of the emulator's
// faults.
func toggle(set func(f *emulator.Faults, on bool)) (setup, restore func(*testing.T, *fixture)) {
	setup = func(t *testing.T, fx *fixture) {
		set(&fx.az.Faults, true)
		t.Cleanup(func() { set(&fx.az.Faults, false) })
	}
	restore = func(_ *testing.T, fx *fixture) { set(&fx.az.Faults, false) }
	return setup, restore
}

// faultFailure is a failure that one of the emulator's faults causes.
func faultFailure(name, dsn, cause string, set func(f *emulator.Faults, on bool)) failure {
	f := failure{name: name, dsn: dsn, cause: cause}
	f.setup, f.restore = toggle(set)
	return f
}

// serverFailure makes the server refuse all sign-ins with an error.
func serverFailure(name, code, text string) failure {
	return faultFailure(name, secretDSN+"user=billing", "server error: "+text, func(f *emulator.Faults, on bool) {
		if !on {
			f.Refuse(nil)
			return
		}
		f.Refuse(&pgconn.PgError{Severity: "FATAL", Code: code, Message: text})
	})
}

// entraFailure makes Entra refuse all token requests with an AADSTS code.
func entraFailure(name string, code int, text string) failure {
	return faultFailure(name, secretDSN+"user=billing", "Entra error: "+text, func(f *emulator.Faults, on bool) {
		if !on {
			f.DenyTokens(0, "")
			return
		}
		f.DenyTokens(code, text)
	})
}

// presentCertificate makes the gateway present c.
func presentCertificate(c emulator.Certificate) func(*emulator.Faults, bool) {
	return func(f *emulator.Faults, on bool) {
		if !on {
			var valid emulator.Certificate
			f.Certificate(valid)
			return
		}
		f.Certificate(c)
	}
}

// newWording makes the server use the newer wording of its messages.
func newWording(t *testing.T, fx *fixture) {
	fx.az.Faults.NewWording(true)
	t.Cleanup(func() { fx.az.Faults.NewWording(false) })
}

// A staleCredential returns tokens that were issued ten minutes ago, unless newer ones
// are requested.
type staleCredential struct{ fx *fixture }

func (c staleCredential) GetToken(_ context.Context, opts policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token := c.fx.az.Token(c.fx.app, func(claims map[string]any) {
		if opts.Claims == "" {
			claims["iat"] = time.Now().Add(-15 * time.Minute).Unix() // the emulator's tokens begin five minutes ago, as Entra's do
		}
	})
	return azcore.AccessToken{Token: token, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// file writes a file of the row's. A nil text leaves it out. Golden files have its name
// alone.
func (fx *fixture) file(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	fx.replacements = append(fx.replacements, path, "<"+name+">")
	if text == nil {
		return path
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// useRoot names the emulator's root certificate again.
func useRoot(_ *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
	return regexp.MustCompile(`sslrootcert=\S+`).ReplaceAllLiteralString(dsn, "sslrootcert="+fx.az.CertFile())
}

// writeToken writes app's token into the file that the DSN names, as Windows does.
func writeToken(t *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
	path := regexp.MustCompile(`aad_token_file=(\S+)`).FindStringSubmatch(dsn)[1]
	if err := os.WriteFile(path, []byte("\ufeff"+appToken(fx)+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dsn
}

// otherRoot returns the root certificate of somebody else.
func otherRoot(t *testing.T) []byte {
	web := httptest.NewTLSServer(nil) // for its certificate
	t.Cleanup(web.Close)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
}

// secretFailure has a client secret that the authority refuses, because of what is around
// it.
func secretFailure(name, cause, secret string) failure {
	return failure{name: name, dsn: "aad_auth=client-secret user=billing", cause: cause,
		setup: func(t *testing.T, fx *fixture) {
			t.Setenv("AZURE_TENANT_ID", emulator.TenantID)
			t.Setenv("AZURE_CLIENT_ID", fx.app.ClientID)
			t.Setenv("AZURE_CLIENT_SECRET", strings.ReplaceAll(secret, "{secret}", fx.app.Secret))
		},
		restore: func(t *testing.T, fx *fixture) { t.Setenv("AZURE_CLIENT_SECRET", fx.app.Secret) }}
}

// assertionFailure has a file of a federated token that no authority would accept. A nil
// text leaves it out.
func assertionFailure(name, cause string, text []byte) failure {
	return failure{name: name, dsn: "aad_auth=workload-identity user=billing", cause: cause,
		setup: func(t *testing.T, fx *fixture) {
			fx.az.SetenvOn(t, emulator.Kubernetes, fx.app)
			t.Setenv("AZURE_FEDERATED_TOKEN_FILE", fx.file(t, "federated-token", text))
		},
		restore: func(t *testing.T, fx *fixture) { fx.az.SetenvOn(t, emulator.Kubernetes, fx.app) }}
}

// toolFailure has developer tools that are shell scripts, until the user is logged in to
// the emulator's.
func toolFailure(name, mode, cause string, tools map[string]string) failure {
	return failure{name: name, dsn: "aad_token_timeout=2s aad_auth=" + mode, cause: cause,
		setup: func(t *testing.T, fx *fixture) {
			if runtime.GOOS == "windows" {
				t.Skip("the tools are shell scripts")
			}
			loggedOut(t, fx)
			fx.noIMDS = true
			fx.opts[0] = fx.newTransport()
			bin := t.TempDir()
			for name, script := range tools {
				if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", bin+":"+entratest.SystemPath(t))
		},
		restore: func(t *testing.T, fx *fixture) {
			loggedOut(t, fx)
			logIn(t, fx)
		}}
}

// prints is the script of a tool that fails with these lines.
func prints(lines ...string) string {
	return "cat >&2 <<'END'\n" + strings.Join(lines, "\n") + "\nEND\nexit 1"
}

// A panickingCredential panics with a secret.
type panickingCredential struct{}

func (panickingCredential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	panic("opensesame")
}

// loggedOut sets up a workstation without a login to any tool.
func loggedOut(t *testing.T, fx *fixture) {
	need.Program(t, "bash")
	fx.az.SetenvOn(t, emulator.Workstation, emulator.Identity{})
}

// logIn logs the user in to all tools.
func logIn(t *testing.T, fx *fixture) {
	fx.az.Login(fx.user)
	t.Cleanup(fx.az.Logout)
}

// longToken returns app's token with as many groups as make it longer than PgBouncer
// accepted before 1.26.
func longToken(fx *fixture) string {
	return fx.az.Token(fx.app, func(claims map[string]any) { claims["groups"] = slices.Repeat([]string{fx.group.ObjectID}, 50) })
}

// withLongToken is f with a token as that of an identity in many groups.
func withLongToken(f failure) failure {
	f.dsn = tokenDSN + "user=billing"
	f.token = longToken
	return f
}
