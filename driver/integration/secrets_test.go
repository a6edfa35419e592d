package integration

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// TestSecretsAreWrittenNowhere signs in with each kind of secret, with and without
// success. Neither a secret nor a token is in startup packets, in PostgreSQL's log, in the
// driver's log, in Stats, errors or checks, or in the output of the command.
func TestSecretsAreWrittenNowhere(t *testing.T) {
	e := newSecretsEnv(t)
	begin := e.server.waitForLog(t, e.admin, "the role with a password exists") // its password is in the log before
	for _, secret := range []struct {
		name, dsn string
		transport bool // the emulator's
	}{
		{"secret", e.az.DSN("user=billing aad_auth=client-secret aad_client_secret=" + appSecret + e.appParams), true},
		{"assertion", e.az.DSN("user=billing aad_auth=workload-identity aad_federated_token_file=" + e.assertFile + e.appParams), true},
		{"token file", e.az.DSN("user=billing aad_auth=access-token aad_token_file=" + e.tokenFile), false},
		{"token", e.az.DSN("user=billing aad_auth=access-token password=" + e.token), false},
		{"password", e.az.DSN("user=scram aad_auth=password sslmode=verify-full password=" + appPassword), false},
	} {
		for _, tt := range []struct {
			name, params string
			ok           bool
		}{
			{"success", "", true},
			{"another identity's role", " user=app", false},
			{"role missing", " user=none", false},
			{"database missing", " dbname=none", false},
			{"TLS disabled", " sslmode=disable", false},
			{"connection refused", " port=1 connect_timeout=1", false},
		} {
			t.Run(secret.name+", "+tt.name, func(t *testing.T) {
				var opts []driver.Option
				if secret.transport {
					opts = append(opts, driver.WithTransport(e.az.Client()))
				}
				err := e.connect(t, secret.dsn+tt.params, opts...)
				if (err == nil) != tt.ok {
					t.Errorf("error = %v, want success: %t", err, tt.ok)
				}
			})
		}
	}
	for _, s := range e.az.Startups() {
		e.printf("%q", s)
	}
	e.runCommands(t)
	e.server.waitForLog(t, e.admin, "all is done")
	log := e.server.String()[begin:]
	for _, want := range []string{"connection authorized: user=billing", "select count(*) from pg_settings", "billing"} {
		if !strings.Contains(log, want) {
			t.Errorf("PostgreSQL's log of %d bytes lacks %q", len(log), want)
		}
	}
	for _, want := range []string{"token fetched", "sign-in rejected"} {
		if !strings.Contains(e.own.String(), want) {
			t.Errorf("the driver's log lacks %q: %s", want, e.own.String())
		}
	}
	if got := len(e.az.Startups()); got < 10 {
		t.Errorf("startup packets = %d, want at least 10", got)
	}
	signature := func(jwt string) string { return jwt[strings.LastIndex(jwt, ".")+1:] }
	for _, text := range append(e.outputs, e.own.String(), log) {
		for _, secret := range []string{"s3cr3t", "eyJ", signature(e.token), signature(e.assertion)} {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%q is in %.300q", secret, text[max(0, i-200):])
			}
		}
	}
}

// connect prints all that the driver returns: the connector, Stats, the error and the
// doctor's checks.
func (e *secretsEnv) connect(t *testing.T, dsn string, opts ...driver.Option) error {
	h := slog.NewJSONHandler(&e.own, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true})
	c, err := driver.NewConnector(dsn, append(opts, driver.WithLogger(slog.New(h)))...)
	if err == nil {
		db := sql.OpenDB(c)
		var n int
		err = db.QueryRow("select count(*) from pg_settings where name <> $1", "x").Scan(&n)
		db.Exec("select broken")
		stats, _ := json.Marshal(c.Stats()) // numbers and times
		e.printf("%v %+v %#v %s", c, c, c, stats)
		db.Close()
	}
	e.printf("%v %+v %#v", err, err, err)
	for check := range driver.Diagnose(t.Context(), dsn, opts...) {
		b, _ := json.Marshal(check) // what it prints is searched, whether or not it succeeds
		e.printf("%+v %#v %s", check, check, b)
	}
	return err
}

// runCommands prints the output of the command, with good and bad arguments and DSNs.
func (e *secretsEnv) runCommands(t *testing.T) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "aadpostgres")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	if out, err := exec.Command("go", "build", "-o", program, "github.com/aadpostgres/aadpostgres/driver/cmd/aadpostgres").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dsns := []string{
		e.az.DSN("user=billing aad_auth=access-token aad_token_file=" + e.tokenFile),
		strings.Replace(e.az.URL("user=billing", "aad_auth=access-token"), "postgres://", "postgres://billing:"+e.token+"@", 1),
		e.az.DSN("user=none aad_auth=client-secret aad_client_secret=" + appSecret + e.appParams),
		e.az.DSN("user=billing aad_auth=nonsense aad_client_secret=" + appSecret),
		e.az.DSN("user=billing aad_client_secret=" + appSecret),
		e.az.DSN("user=billing password=" + e.token),
		"postgres://billing:" + e.token + "@[/x",
		"host=h password=" + e.token + " x",
		"host=h pwd=" + appSecret,
		"Host=h;Username=u;Password=" + appSecret,
		"user=u;password=" + appSecret + ";host=h",
		"postgres://u@h/db;password=" + appSecret,
		"postgres://u@h/db?x=y&amp;password=" + appSecret,
		"DATABASE_URL=postgres://u:" + appSecret + "@h/db",
		"postgres://h?aad_auth=client-secret&aad_client_secret=" + appSecret + "&user=me@contoso.com",
		"aad_auth=" + appSecret,
	}
	for _, args := range [][]string{
		{"ping"}, {"ping", "-json"}, {"doctor"}, {"doctor", "-json"}, {"role", "user", "new@contoso.com"}, {"role", "-apply", "DSN", "user", "new@contoso.com"},
		{"exec", "-h"}, {"token", "-h"}, {"exec", "--", need.Shell(t), "-c", "exit 3"}, {"exec", "--", "none"}, {"-h"}, {"nonsense"},
	} {
		for _, dsn := range dsns {
			args := slices.Clone(args)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "DSN", dsn)
			}
			e.runCommand(t, dsn, program, args)
		}
	}
}

func (e *secretsEnv) runCommand(t *testing.T, dsn, program string, args []string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+dsn, "SSL_CERT_FILE="+e.az.CertFile(),
		"AZURE_CLIENT_SECRET="+appSecret, "AZURE_CLIENT_CERTIFICATE_PASSWORD="+appSecret, "SYSTEM_ACCESSTOKEN="+appSecret)
	out, err := cmd.CombinedOutput()
	e.printf("aadpostgres %s: %s %v", args[0], out, err)
}

// TestEmulatorPrintsNoSecret checks that values of the emulator print neither keys nor
// passwords, nor the secrets of identities.
func TestEmulatorPrintsNoSecret(t *testing.T) {
	const secret = "s3cr3t-of-an-identity"
	id := az.Add(emulator.Identity{Name: "printed", Secret: secret})
	database := az.Database(t)
	for _, v := range []any{az, &az, id, &id, []any{id}, map[string]any{"k": id}, database, *database, az.Counts(), &az.Faults} {
		t.Run(fmt.Sprintf("%T", v), func(t *testing.T) {
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Info("m", "k", v)
			b, err := json.Marshal(v)
			for _, text := range []string{fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%s", v), fmt.Sprintf("%q", v), log.String(), string(b), fmt.Sprint(err)} {
				for _, private := range []string{secret, "password=", "PRIVATE KEY"} {
					if strings.Contains(text, private) {
						t.Errorf("%q is in %.300s", private, text)
					}
				}
				if len(text) > 10000 {
					t.Errorf("a text of %d bytes, want at most 10,000: %.300s", len(text), text)
				}
			}
		})
	}
}
