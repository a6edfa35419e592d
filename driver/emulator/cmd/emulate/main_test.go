package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

func TestDemo(t *testing.T) {
	before := goleak.IgnoreCurrent()
	var out strings.Builder
	if err := demo(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`each as "app"`, "TLS 1.3", "COPY of 1000 rows", "1003 rows", "1 token request, 8 sign-ins, 0 refused"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the story lacks %q:\n%s", want, &out)
		}
	}
	goleak.VerifyNone(t, before)
}

// A command runs with the environment set, and its exit status comes back.
func TestCommand(t *testing.T) {
	if err := run(context.Background(), false, []string{"sh", "-c", `test -n "$IDENTITY_ENDPOINT" && case "$DATABASE_URL" in host=127.0.0.1*) ;; *) exit 3;; esac`}); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := run(context.Background(), false, []string{"sh", "-c", "exit 4"}); !errors.As(err, &exit) || exit.ExitCode() != 4 {
		t.Errorf("got %v", err)
	}
}

// PostgreSQL does not outlive a program that is killed.
func TestServerEndsWithItsProgram(t *testing.T) {
	if os.Getenv("EMULATE_CHILD") != "" {
		az, err := emulator.New(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString(filepath.Dir(az.CertFile()) + "|" + az.PostgresDSN() + "\n")
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestServerEndsWithItsProgram$")
	cmd.Env = append(os.Environ(), "EMULATE_CHILD=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	dir, dsn, ok := strings.Cut(strings.TrimSpace(line), "|")
	if err != nil || !ok {
		cmd.Process.Kill()
		t.Fatalf("%q, %v", line, err)
	}
	defer os.RemoveAll(dir) // files do outlive it
	cmd.Process.Kill()
	cmd.Wait()
	for range 100 {
		conn, err := pgx.Connect(context.Background(), dsn)
		if err != nil {
			return
		}
		conn.Close(context.Background())
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("PostgreSQL still answers 5 seconds after its program was killed")
}
