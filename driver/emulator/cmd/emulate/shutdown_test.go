package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// Neither PostgreSQL nor its files remain if emulate is killed or interrupted at any moment
// of its start.
func TestEndDuringStart(t *testing.T) {
	start := time.Now()
	if out, err := emulate(tempDir(t), "--", "true").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	duration := time.Since(start)
	dir := tempDir(t)
	const times = 20
	for i := range times {
		after := duration * time.Duration(i) / times
		for _, signal := range []os.Signal{os.Kill, os.Interrupt} {
			t.Run(fmt.Sprintf("%v at %d of %d", signal, i, times), func(t *testing.T) {
				cmd := emulate(dir, "--", "true")
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(after)
				cmd.Process.Signal(signal)
				timeout := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
				cmd.Wait()
				if !timeout.Stop() {
					t.Errorf("%v after %v: emulate did not end within 10 s", signal, after)
				}
				checkNothingLeft(t, dir)
			})
		}
	}
}

// Neither PostgreSQL nor its files remain if the start fails.
func TestFailedStart(t *testing.T) {
	dir := tempDir(t)
	cmd := emulate(dir, "-on", "nowhere", "--", "true") // which is noticed when the server runs
	timeout := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
	out, err := cmd.CombinedOutput()
	if !timeout.Stop() {
		t.Error("emulate did not end within 10 s")
	}
	if err == nil {
		t.Error("emulate succeeded, want an error")
	}
	if want := `unknown host "nowhere"`; !strings.Contains(string(out), want) {
		t.Errorf("output = %q, want %q in it", out, want)
	}
	checkNothingLeft(t, dir)
}

// Neither PostgreSQL nor its files remain if a program that uses the package is killed.
func TestServerEndsWithItsProgram(t *testing.T) {
	ctx := context.Background()
	if os.Getenv("EMULATE_CHILD") != "" {
		az, err := emulator.New(ctx)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(filepath.Dir(az.CertFile()) + "|" + az.PostgresDSN())
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
	kill := sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	defer kill()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	dir, dsn, ok := strings.Cut(strings.TrimSpace(line), "|")
	if !ok {
		t.Fatalf("the child printed %q, want a directory and a DSN", line)
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var dataDir string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&dataDir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dataDir); err != nil {
		t.Fatal(err)
	}
	kill()
	for range 200 {
		if !isReachable(ctx, dsn) && isGone(dataDir) && isGone(dir) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("10 seconds after its program was killed, PostgreSQL answers or its files exist")
}

func isReachable(ctx context.Context, dsn string) bool {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return false
	}
	conn.Close(ctx)
	return true
}

func isGone(path string) bool {
	_, err := os.Stat(path)
	return os.IsNotExist(err)
}
