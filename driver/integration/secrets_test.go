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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// ledger is what is written down somewhere.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// mark has PostgreSQL log these words, and waits for them: what the session did before
// is logged then too. It returns where they are.
func (b *syncBuffer) waitForLog(t *testing.T, conn *pgx.Conn, words string) (after int) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), "select '"+words+"'"); err != nil {
		t.Fatal(err)
	}
	if !eventually(10*time.Second, func() bool { after = strings.Index(b.String(), words); return after >= 0 }) {
		t.Fatalf("PostgreSQL's log lacks %q", words)
	}
	return after
}

// Sign-ins that work and that do not, by every mode with a secret: neither secret nor
// token is in the startup packets, in the log of a PostgreSQL that logs all it can,
// in the driver's own, in Stats, errors, checks, or in what the command prints.
func TestSecretsAreWrittenNowhere(t *testing.T) {
	var server, own syncBuffer
	a := emulator.Start(t, emulator.WithLog(&server))
	admin, err := pgx.Connect(t.Context(), a.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	for _, set := range []string{"log_connections = on", "log_disconnections = on", "log_statement = 'all'", "log_min_messages = debug5", "log_error_verbosity = verbose",
		"log_duration = on", "log_parameter_max_length = -1", "log_parameter_max_length_on_error = -1", "log_hostname = off", "log_replication_commands = on", "debug_print_parse = on"} {
		if _, err := admin.Exec(t.Context(), "alter system set "+set); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := admin.Exec(t.Context(), "select pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	const secret = "s3cr3t-of-the-application"
	id := a.Add(emulator.Identity{Name: "billing", Secret: secret})
	for _, err := range []error{a.Grant(t.Context(), id), a.GrantAdmin(t.Context(), a.Add(emulator.Identity{Name: "head@contoso.com", Kind: emulator.User}))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	token, assertion := a.Token(id, nil), a.FederatedToken(id, nil)
	file, federated := filepath.Join(t.TempDir(), "token"), filepath.Join(t.TempDir(), "assertion")
	for path, text := range map[string]string{file: token, federated: assertion} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := admin.Exec(t.Context(), "create role scram login password 's3cr3t-of-a-password'"); err != nil {
		t.Fatal(err)
	}
	begin := server.waitForLog(t, admin, "made, with a password") // which the statement has said

	app := " aad_disable_instance_discovery=true aad_authority_host=" + a.Authority() + " aad_tenant_id=" + emulator.TenantID + " aad_client_id=" + id.ClientID
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	for name, dsn := range map[string]string{
		"secret":      a.DSN("user=billing aad_auth=client-secret aad_client_secret=" + secret + app),
		"assertion":   a.DSN("user=billing aad_auth=workload-identity aad_federated_token_file=" + federated + app),
		"token":       a.DSN("user=billing aad_auth=access-token aad_token_file=" + file),
		"given token": a.DSN("user=billing aad_auth=access-token password=" + token),
		"password":    a.DSN("user=scram aad_auth=password password=s3cr3t-of-a-password sslmode=verify-full"),
	} {
		for what, params := range map[string]string{"works": "", "another's role": " user=app", "no role": " user=none", "no database": " dbname=none", "no TLS": " sslmode=disable", "no port": " port=1 connect_timeout=1"} {
			h := slog.NewJSONHandler(&own, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true})
			var opts []driver.Option
			if name == "secret" || name == "assertion" {
				opts = append(opts, driver.WithTransport(a.Client()))
			}
			c, err := driver.NewConnector(dsn+params, append(opts, driver.WithLogger(slog.New(h)))...)
			if err == nil {
				db := sql.OpenDB(c)
				var n int
				err = db.QueryRow("select count(*) from pg_settings where name <> $1", "x").Scan(&n)
				db.Exec("select broken")
				stats, _ := json.Marshal(c.Stats())
				say("%v %+v %#v %s", c, c, c, stats)
				db.Close()
			}
			if (what == "works") != (err == nil) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			say("%v %+v %#v", err, err, err)
			for check := range driver.Diagnose(t.Context(), dsn+params, opts...) {
				b, _ := json.Marshal(check)
				say("%+v %#v %s", check, check, b)
			}
		}
	}
	for _, s := range a.Startups() {
		say("%q", s)
	}
	program := filepath.Join(t.TempDir(), "aadpostgres")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	if out, err := exec.Command("go", "build", "-o", program, "github.com/aadpostgres/aadpostgres/driver/cmd/aadpostgres").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	url := strings.Replace(a.URL("user=billing", "aad_auth=access-token"), "postgres://", "postgres://billing:"+token+"@", 1)
	for _, args := range [][]string{{"ping"}, {"ping", "-json"}, {"doctor"}, {"doctor", "-json"}, {"role", "user", "new@contoso.com"}, {"role", "-apply", "DSN", "user", "new@contoso.com"},
		{"exec", "-h"}, {"token", "-h"}, {"exec", "--", "sh", "-c", "exit 3"}, {"exec", "--", "none"}, {"-h"}, {"nonsense"}} {
		for _, dsn := range []string{a.DSN("user=billing aad_auth=access-token aad_token_file=" + file), url, a.DSN("user=none aad_auth=client-secret aad_client_secret=" + secret + app),
			a.DSN("user=billing aad_auth=nonsense aad_client_secret=" + secret), a.DSN("user=billing aad_client_secret=" + secret), a.DSN("user=billing password=" + token), "postgres://billing:" + token + "@[/x", "host=h password=" + token + " x"} {
			args := append([]string(nil), args...)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "DSN", dsn)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			cmd := exec.CommandContext(ctx, program, args...)
			cmd.Env = append(os.Environ(), "DATABASE_URL="+dsn, "SSL_CERT_FILE="+a.CertFile(), "AZURE_CLIENT_SECRET="+secret, "AZURE_CLIENT_CERTIFICATE_PASSWORD="+secret, "SYSTEM_ACCESSTOKEN="+secret)
			out, err := cmd.CombinedOutput()
			cancel()
			say("aadpostgres %s: %s %v", args[0], out, err)
		}
	}
	server.waitForLog(t, admin, "all is done")
	log := server.String()[begin:]
	for _, part := range []string{"connection authorized: user=billing", "select count(*) from pg_settings", "billing"} {
		if !strings.Contains(log, part) {
			t.Errorf("PostgreSQL's log lacks %q: it is of %d bytes", part, len(log))
		}
	}
	said = append(said, own.String())
	for _, text := range append(said, log) {
		for _, secret := range []string{"s3cr3t", "eyJ", token[strings.LastIndex(token, ".")+1:], assertion[strings.LastIndex(assertion, ".")+1:]} {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("it says %q: %.300q", secret, text[max(0, i-200):])
			}
		}
	}
	if !strings.Contains(own.String(), "token fetched") || !strings.Contains(own.String(), "sign-in rejected") || len(a.Startups()) < 10 {
		t.Errorf("too little was written to be searched: %d startups, %s", len(a.Startups()), own.String())
	}
}

// What a program holds of the emulator prints neither its keys nor its passwords, nor
// the secrets that were given to its identities.
func TestEmulatorPrintsNoSecret(t *testing.T) {
	const secret = "s3cr3t-of-an-identity"
	id := az.Add(emulator.Identity{Name: "printed", Secret: secret})
	database := az.Database(t)
	for _, v := range []any{az, &az, id, &id, []any{id}, map[string]any{"k": id}, database, *database, az.Counts(), &az.Faults} {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "k", v)
		b, err := json.Marshal(v)
		for _, text := range []string{fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%s", v), fmt.Sprintf("%q", v), log.String(), string(b), fmt.Sprint(err)} {
			for _, private := range []string{secret, "password=", "PRIVATE KEY"} {
				if strings.Contains(text, private) {
					t.Errorf("%T: %.300s", v, text)
				}
			}
			if len(text) > 10000 {
				t.Errorf("%T prints %d bytes: %.300s", v, len(text), text)
			}
		}
	}
}
