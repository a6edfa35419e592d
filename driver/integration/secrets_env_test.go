package integration

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// A syncBuffer is a buffer that is safe for concurrent use.
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

// waitForLog makes PostgreSQL log text and waits for it: all that the server logged before
// is in the buffer then. It returns the offset of text.
func (b *syncBuffer) waitForLog(t *testing.T, conn *pgx.Conn, text string) (offset int) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), "select '"+text+"'"); err != nil {
		t.Fatal(err)
	}
	found := eventually(10*time.Second, func() bool {
		offset = strings.Index(b.String(), text)
		return offset >= 0
	})
	if !found {
		t.Fatalf("PostgreSQL's log lacks %q", text)
	}
	return offset
}

// A secretsEnv is an emulator whose PostgreSQL logs as much as it can, and the secrets of
// one application.
type secretsEnv struct {
	az                    *emulator.Azure
	admin                 *pgx.Conn // superuser
	server, own           syncBuffer
	token, assertion      string
	tokenFile, assertFile string
	appParams             string
	outputs               []string // all that was printed
}

const (
	appSecret   = "s3cr3t-of-the-application"
	appPassword = "s3cr3t-of-a-password"
)

func newSecretsEnv(t *testing.T) *secretsEnv {
	t.Helper()
	e := &secretsEnv{}
	e.az = emulator.Start(t, emulator.WithLog(&e.server))
	var err error
	e.admin, err = pgx.Connect(t.Context(), e.az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.admin.Close(context.Background()) })
	for _, setting := range []string{
		"log_connections = on", "log_disconnections = on", "log_statement = 'all'", "log_min_messages = debug5", "log_error_verbosity = verbose", "log_duration = on",
		"log_parameter_max_length = -1", "log_parameter_max_length_on_error = -1", "log_hostname = off", "log_replication_commands = on", "debug_print_parse = on",
	} {
		e.exec(t, "alter system set "+setting)
	}
	e.exec(t, "select pg_reload_conf()")
	e.exec(t, "create role scram login password '"+appPassword+"'")
	id := e.az.Add(emulator.Identity{Name: "billing", Secret: appSecret})
	if err := e.az.Grant(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := e.az.GrantAdmin(t.Context(), e.az.Add(emulator.Identity{Name: "head@contoso.com", Kind: emulator.User})); err != nil {
		t.Fatal(err)
	}
	e.token = e.az.Token(id, nil)
	e.assertion = e.az.FederatedToken(id, nil)
	e.tokenFile = testCertificates.write(t, []byte(e.token))
	e.assertFile = testCertificates.write(t, []byte(e.assertion))
	e.appParams = " aad_disable_instance_discovery=true aad_authority_host=" + e.az.Authority() + fill(" aad_tenant_id={tenant} aad_client_id={client}", id)
	return e
}

func (e *secretsEnv) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := e.admin.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func (e *secretsEnv) printf(format string, args ...any) {
	e.outputs = append(e.outputs, fmt.Sprintf(format, args...))
}
