package pages

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// A pageEnv is the emulated Azure that stands in for the one in the pages, with the database
// app and the identities that the pages name.
type pageEnv struct {
	az  *emulator.Azure
	env []string
	dir string // the working directory of commands
}

func newPageEnv(t *testing.T) *pageEnv {
	t.Helper()
	az, admin := newAzure(t)
	az.Add(emulator.Identity{Name: "Admins", Kind: emulator.Group})
	for _, sql := range []struct{ db, statement string }{
		{"postgres", "CREATE ROLE appuser LOGIN PASSWORD 'secret'"},
		{"postgres", "CREATE DATABASE app"},
		{"app", "GRANT ALL ON SCHEMA public TO public"},
		{"app", `ALTER DEFAULT PRIVILEGES FOR ROLE "admin@contoso.com" GRANT ALL ON TABLES TO public`}, // pages share tables
	} {
		db, err := pgx.Connect(t.Context(), az.PostgresDSN()+" dbname="+sql.db)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(t.Context(), sql.statement); err != nil {
			t.Fatal(err)
		}
		db.Close(t.Context())
	}
	e := &pageEnv{az: az, dir: t.TempDir()}
	e.env = append(os.Environ(), commandEnv(t, az, admin)...)
	e.env = append(e.env, "DATABASE_URL=aad"+strings.Replace(az.URL("aad_auth=managed-identity"), "/postgres?", "/app?", 1))
	if err := os.Mkdir(filepath.Join(e.dir, "migrations"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []struct{ name, text string }{
		{"migrations/1_fruit.up.sql", "CREATE TABLE fruit (name text)"},
		{"migrations/1_fruit.down.sql", "DROP TABLE fruit"},
		{"go.mod", "module example.com/program\n\ngo 1.25\n"},
		{"program_test.go", "package program"},
		{"run-my-tests", "#!/bin/sh\nexec aadpostgres ping\n"},
		{"report.sh", "#!/bin/sh\nexec aadpostgres ping\n"},
	} {
		if err := os.WriteFile(filepath.Join(e.dir, file.name), []byte(file.text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// rewrite replaces the server of the pages by the emulator.
func (e *pageEnv) rewrite(text string) string {
	const host = "app.postgres.database.azure.com"
	port, cert := e.az.Port(), e.az.CertFile()
	return strings.NewReplacer(
		"PGHOST="+host, fmt.Sprintf("DATABASE_URL= PGDATABASE=app PGHOST=127.0.0.1 PGPORT=%d PGSSLROOTCERT=%s", port, cert),
		"host="+host, fmt.Sprintf("host=127.0.0.1 port=%d sslrootcert=%s", port, cert),
		"//"+host+"/app?", fmt.Sprintf("//127.0.0.1:%d/app?sslrootcert=%s&", port, cert),
		"//"+host+"/app", fmt.Sprintf("//127.0.0.1:%d/app?sslrootcert=%s", port, cert),
		"client_id=00000000-0000-0000-0000-00000000000a", "client_id="+e.az.Identity("app").ClientID,
	).Replace(text)
}

// testedBy has the commands that TestCommands does not run, and the test or script that
// covers them.
var testedBy = []struct {
	command *regexp.Regexp
	test    string
}{
	{regexp.MustCompile(`^go test work$|^\.ci/`), ".ci/run"},
	{regexp.MustCompile(`^go run ./driver/emulator/.*-demo$`), ".ci/run"},
	{releasedCommand, "TestInstall"},
	{regexp.MustCompile(`^emulate -- go run \.$`), "TestInstall"}, // in a directory with the README's program
	{regexp.MustCompile(`^emulate$`), "TestExports"},
	{regexp.MustCompile(`^go run ./driver/integration/cmd/figures`), "TestFigures"},
	{regexp.MustCompile(`^go run ./driver/integration/cmd/pictures`), "TestPictures"},
	{regexp.MustCompile(`^go run ./driver/integration/cmd/mutate`), "TestMutants"},
}

// TestCommands runs each command in the pages and in the help of the commands. Of go test
// commands it checks that their tests exist.
func TestCommands(t *testing.T) {
	need.Program(t, "bash")
	e := newPageEnv(t)
	examplePattern := regexp.MustCompile("(?:^|\n) +((?:[A-Z]+=\\S+ )?(?:aadpostgres|emulate|aadpostgres-migrate|goose) [^\n]*)")
	all := blocks(t)
	bin, err := buildCommands()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"aadpostgres", "ping"}, {"aadpostgres", "doctor"}, {"aadpostgres", "role"}, {"aadpostgres", "token"}, {"aadpostgres", "exec"}, {"emulate"}, {"aadpostgres-migrate"}} {
		out, _ := exec.Command(filepath.Join(bin, args[0]), append(args[1:], "-h")...).CombinedOutput() // package flag exits with 2 after -h
		_, examples, _ := strings.Cut(string(out), "\n")                                                // the first line is the synopsis
		found := examplePattern.FindAllStringSubmatch("\n"+examples, -1)
		if len(found) == 0 {
			t.Errorf("%v -h: examples = 0, want some", args)
		}
		for _, m := range found {
			line, _, _ := strings.Cut(m[1], "   ") // the description follows
			all = append(all, block{page: strings.Join(args, " ") + " -h", lang: "sh", text: line})
		}
	}
	seen := map[string]bool{}
	printed := "" // by aadpostgres role
	for _, b := range all {
		switch b.lang {
		case "sh":
			t.Run(b.String(), func(t *testing.T) {
				out := e.run(t, b, seen)
				if strings.Contains(b.text, "aadpostgres role ") {
					printed += out
				}
			})
		case "sql":
			if !strings.Contains(b.text, "aad") {
				e.execSQL(t, b)
			} else if !strings.Contains(printed, b.text) {
				t.Errorf("%v differs from the output of aadpostgres role: %s", b, printed)
			}
		}
	}
	for _, tested := range testedBy {
		if !seen[tested.command.String()] {
			t.Errorf("no page has a command that matches %s; remove it from testedBy", tested.command)
		}
	}
}

// run runs a block of commands as one script, and returns its output. It adds the patterns
// of the commands in testedBy to seen.
func (e *pageEnv) run(t *testing.T, b block, seen map[string]bool) string {
	t.Helper()
	var script []string
next:
	for line := range strings.Lines(strings.ReplaceAll(b.text, "\\\n", "")) {
		line = strings.TrimSpace(line)
		for _, tested := range testedBy {
			if tested.command.MatchString(line) {
				seen[tested.command.String()] = true
				checkTestedBy(t, b, line, tested.test)
				continue next
			}
		}
		if regexp.MustCompile(`^(cd \S+ && )?go test `).MatchString(line) {
			checkTestsExist(t, b, line)
			continue
		}
		script = append(script, line)
	}
	if len(script) == 0 {
		return ""
	}
	text := strings.Join(script, "\n")
	for _, program := range []string{"sh", "sed", "curl", "psql", "pg_dump"} {
		if regexp.MustCompile(`(?m)(^|[ (|])` + program + ` `).MatchString(text) {
			need.Program(t, program)
		}
	}
	cmd := exec.Command("bash", "-euc", e.rewrite(text))
	cmd.Dir, cmd.Env = e.dir, e.env
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.HasSuffix(b.text, " -h") { // package flag exits with 2 after -h
		t.Errorf("%v: %v: %s", b, err, out)
	}
	return string(out)
}

// execSQL runs statements as superuser.
func (e *pageEnv) execSQL(t *testing.T, b block) {
	t.Helper()
	db, err := pgx.Connect(t.Context(), e.az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	if _, err := db.Exec(t.Context(), b.text); err != nil {
		t.Errorf("%v: %v", b, err)
	}
}

// checkTestedBy checks that the test exists, or that .ci/run contains the command.
func checkTestedBy(t *testing.T, b block, line, test string) {
	t.Helper()
	if test == ".ci/run" {
		checkScript(t, b, line)
		return
	}
	if !testExists(t, test) {
		t.Errorf("%v: %s does not exist", b, test)
	}
}

// testExists reports whether a test or a benchmark is in folder driver.
func testExists(t *testing.T, name string) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(filepath.Join(root, "driver"), func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if strings.Contains("\n"+string(text), "\nfunc "+name+"(") {
			found = true
			return filepath.SkipAll
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// checkScript checks that a script in .ci exists, or that .ci/run contains the command.
func checkScript(t *testing.T, b block, line string) {
	t.Helper()
	if strings.HasPrefix(line, ".ci/") {
		if _, err := os.Stat(filepath.Join(root, line)); err != nil {
			t.Errorf("%v: %v", b, err)
		}
		return
	}
	script, err := os.ReadFile(filepath.Join(root, ".ci/run"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(script), line) {
		t.Errorf("%v: .ci/run lacks %s", b, line)
	}
}

// checkTestsExist checks that a go test command has at least one test in each of its
// packages.
func checkTestsExist(t *testing.T, b block, line string) {
	t.Helper()
	pattern := "."
	if m := regexp.MustCompile(`-(?:run|fuzz) '?([^' ]+)'?`).FindStringSubmatch(line); m != nil {
		pattern = m[1]
	}
	if m := regexp.MustCompile(`-bench '?([^' ]+)'?`).FindStringSubmatch(line); m != nil {
		pattern = "Benchmark.*" + m[1]
	}
	args := []string{"list", "-f", "{{.Dir}}"}
	args = append(args, regexp.MustCompile(`-tags \w+| (\./\S*|\.|work)( |$)`).FindAllString(" "+line, -1)...)
	for i := range args {
		args[i] = strings.TrimSpace(strings.Replace(args[i], "-tags ", "-tags=", 1))
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	if m := regexp.MustCompile(`^cd (\S+) &&`).FindStringSubmatch(line); m != nil {
		cmd.Dir = filepath.Join(root, m[1])
	}
	dirs, err := cmd.Output()
	if err != nil {
		t.Errorf("%v: %v: %v", b, args, err)
	}
	for dir := range strings.FieldsSeq(string(dirs)) {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w*)\(`).FindAllStringSubmatch(string(text), -1) {
				if regexp.MustCompile(pattern).MatchString(m[1]) {
					n++
				}
			}
		}
		if n == 0 {
			t.Errorf("%v: tests in %s = 0, want some", b, dir)
		}
	}
	if len(dirs) == 0 {
		t.Errorf("%v: packages = 0, want some", b)
	}
}
