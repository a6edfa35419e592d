package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// The command, built and run as a user does, with the identity of its environment.
func TestCommand(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "aadpostgres-migrate")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	az := emulator.Start(t)
	database := az.Database(t)
	u := "aadpostgres" + strings.TrimPrefix(database.URL("aad_auth=managed-identity", "application_name=a b+c"), "postgres") + "&x-migrations-table=ledger"
	folder := filepath.Join(dir, "some migrations")
	for name, text := range map[string]string{
		"1_a.up.sql": "CREATE TABLE a AS SELECT current_setting('application_name') AS name;", "1_a.down.sql": "DROP TABLE a;",
		"2_b.up.sql": "CREATE TABLE b (); SELECT pg_sleep(0.3);", "2_b.down.sql": "DROP TABLE b;",
		"3_c.up.sql": "CREATE TABLE c (n int DEFAULT no_such());", "3_c.down.sql": "DROP TABLE c;",
	} {
		if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	env, err := az.Environ(emulator.AppService, az.Identity("app"))
	if err != nil {
		t.Fatal(err)
	}
	address := ""
	run := func(args ...string) (out string, code int) {
		cmd := exec.Command(program, args...)
		cmd.Env = append(append(os.Environ(), "DATABASE_URL="+address), env...)
		b, err := cmd.CombinedOutput()
		if err != nil && !errors.As(err, new(*exec.ExitError)) {
			t.Error(err)
		}
		return string(b), cmd.ProcessState.ExitCode()
	}
	migrate := func(args ...string) (string, int) {
		return run(append([]string{"-database", u, "-path", folder}, args...)...)
	}

	// Two at once: one migrates, the other waits for it.
	outs, codes := make([]string, 2), make([]int, 2)
	var wg sync.WaitGroup
	for i := range outs {
		wg.Go(func() { outs[i], codes[i] = migrate("goto", "2") })
	}
	wg.Wait()
	if both := strings.Join(outs, ""); codes[0]+codes[1] != 0 || strings.Count(both, "2/u b") != 1 || strings.Count(both, "no change") != 1 {
		t.Errorf("at once: exit %v: %s", codes, outs)
	}

	for _, step := range []struct {
		args string
		want string
		code int
	}{
		{"version", "2\n", 0},
		{"down 1", "aadpostgres-migrate: 2/d b", 0},
		{"version", "1\n", 0},
		{"up 1", "aadpostgres-migrate: 2/u b", 0},
		{"up", `aadpostgres-migrate: migration failed: function no_such() does not exist`, 1},
		{"version", "3 (dirty)", 0},
		{"up", "aadpostgres-migrate: Dirty database version 3. Fix and force version.", 1},
		{"force 2", "", 0},
		{"goto 2", "aadpostgres-migrate: no change", 0},
		{"goto 7", "aadpostgres-migrate: no migration found for version 7", 1},
		{"down -all", "aadpostgres-migrate: 1/d a", 0},
		{"version", "aadpostgres-migrate: no migration", 1},
		{"-verbose up 1", "Finished 1/u a", 0},
		{"down", "usage: aadpostgres-migrate", 2},
		{"up -1", "usage: aadpostgres-migrate", 2},
		{"up 1 2", "usage: aadpostgres-migrate", 2},
		{"goto", "usage: aadpostgres-migrate", 2},
		{"sideways", "usage: aadpostgres-migrate", 2},
		{"", "usage: aadpostgres-migrate", 2},
	} {
		out, code := migrate(strings.Fields(step.args)...)
		if !strings.Contains(out, step.want) || code != step.code || strings.Contains(out, "panic") {
			t.Errorf("%s: exit %d: %s\nwant exit %d: %s", step.args, code, out, step.code, step.want)
		}
	}
	address = u
	if out, code := run("-path", folder, "version"); out != "1\n" || code != 0 {
		t.Errorf("by DATABASE_URL: exit %d: %s", code, out)
	}
	if out, code := run("-h"); code != 0 || strings.Contains(out, database.Name) {
		t.Errorf("-h: exit %d: %s", code, out)
	}
	address = ""
	for _, other := range []struct{ database, want string }{
		{"", "aadpostgres-migrate: -database, or else DATABASE_URL, must be a URL that begins with aadpostgres://\n"},
		{"password=hunter2 host=h options=-c:x", "aadpostgres-migrate: -database, or else DATABASE_URL, must be a URL that begins with aadpostgres://\n"},
		{"postgres://app:hunter2@h/d", "aadpostgres-migrate: -database, or else DATABASE_URL, must be a URL that begins with aadpostgres://\n"},
		{"aadpostgres://app:hunter2@h/d", "aadpostgres-migrate: failed to open database: aadpostgres: dsn: a password"},
		{u + "&x-migration-table=v", "aadpostgres-migrate: failed to open database: aadpostgres: dsn: x-migration-table is no option"},
		{strings.Replace(u, "managed-identity", "mangaed-identity", 1), "did you mean managed-identity?"},
	} {
		out, code := run("-database", other.database, "-path", folder, "up")
		if !strings.Contains(out, other.want) || code != 1 || strings.Contains(out, "hunter2") || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: exit %d: %s", other.database, code, out)
		}
	}
	if c := az.Counts(); c.Refused != 0 || c.SignIns == 0 {
		t.Errorf("%+v", c)
	}
}
