package pages

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// A showroom is the Azure that pages are tried on, in the place of the one that they
// name: whoever it is that they sign in, and the database app.
type pageEnv struct {
	az  *emulator.Azure
	env []string
	dir string // to run commands in
}

func newPageEnv(t *testing.T) *pageEnv {
	t.Helper()
	az, admin := newAzure(t)
	az.Add(emulator.Identity{Name: "Admins", Kind: emulator.Group})
	for _, sql := range []struct{ db, statement string }{
		{"postgres", "CREATE ROLE appuser LOGIN PASSWORD 'secret'"},
		{"postgres", "CREATE DATABASE app"},
		{"app", "GRANT ALL ON SCHEMA public TO public"},
		{"app", `ALTER DEFAULT PRIVILEGES FOR ROLE "admin@contoso.com" GRANT ALL ON TABLES TO public`}, // one page's are another's
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
	e := &pageEnv{az: az, env: append(append(os.Environ(), commandEnv(t, az, admin)...), "DATABASE_URL=aad"+strings.Replace(az.URL("aad_auth=managed-identity"), "/postgres?", "/app?", 1)), dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(e.dir, "migrations"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"migrations/1_fruit.up.sql":   "CREATE TABLE fruit (name text)",
		"migrations/1_fruit.down.sql": "DROP TABLE fruit",
		"go.mod":                      "module example.com/program\n\ngo 1.25\n",
		"program_test.go":             "package program",
		"run-my-tests":                "#!/bin/sh\nexec aadpostgres ping\n",
		"report.sh":                   "#!/bin/sh\nexec aadpostgres ping\n",
	} {
		if err := os.WriteFile(filepath.Join(e.dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// here writes the showroom's server where a page has that of its reader.
func (e *pageEnv) rewrite(text string) string {
	place := fmt.Sprintf("127.0.0.1 port=%d sslrootcert=%s", e.az.Port(), e.az.CertFile())
	return strings.NewReplacer(
		"PGHOST=app.postgres.database.azure.com", "DATABASE_URL= PGDATABASE=app PGHOST="+strings.Replace(strings.Replace(place, "port", "PGPORT", 1), "sslrootcert", "PGSSLROOTCERT", 1),
		"host=app.postgres.database.azure.com", "host="+place,
		"//app.postgres.database.azure.com/app?", fmt.Sprintf("//127.0.0.1:%d/app?sslrootcert=%s&", e.az.Port(), e.az.CertFile()),
		"//app.postgres.database.azure.com/app", fmt.Sprintf("//127.0.0.1:%d/app?sslrootcert=%s", e.az.Port(), e.az.CertFile()),
		"client_id=00000000-0000-0000-0000-00000000000a", "client_id="+e.az.Identity("app").ClientID,
	).Replace(text)
}

// elsewhere are commands that run somewhere else than in TestCommands.
var testedBy = map[string]string{
	`^go test work$|^\.ci/`:                     ".ci/run",
	`^go run ./driver/emulator/.*-demo$`:        ".ci/run",
	releasedCommand.String():                           "TestInstall",
	`^emulate -- go run \.$`:                    "TestInstall", // in a folder that has README's program
	`^emulate$`:                                 "TestExports",
	`^go run ./driver/integration/cmd/figures`:  "TestFigures",
	`^go run ./driver/integration/cmd/pictures`: "TestPictures",
	`^go run ./driver/integration/cmd/mutate`:   "TestMutants",
}

// Every command that is printed runs; the tests among them are there.
func TestCommands(t *testing.T) {
	e := newPageEnv(t)
	examplePattern := regexp.MustCompile("(?:^|\n) +((?:[A-Z]+=\\S+ )?(?:aadpostgres|emulate|aadpostgres-migrate|goose) [^\n]*)")
	all := blocks(t)
	bin, err := buildCommands()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"aadpostgres", "ping"}, {"aadpostgres", "doctor"}, {"aadpostgres", "role"}, {"aadpostgres", "token"}, {"aadpostgres", "exec"}, {"emulate"}, {"aadpostgres-migrate"}} {
		out, _ := exec.Command(filepath.Join(bin, args[0]), append(args[1:], "-h")...).CombinedOutput() // flag's own ends with 2
		_, examples, _ := strings.Cut(string(out), "\n")                                                // the first line is the synopsis
		found := examplePattern.FindAllStringSubmatch("\n"+examples, -1)
		if len(found) == 0 {
			t.Errorf("%v -h has no example", args)
		}
		for _, m := range found {
			line, _, _ := strings.Cut(m[1], "   ") // and what it does
			all = append(all, block{page: strings.Join(args, " ") + " -h", lang: "sh", text: line})
		}
	}
	seen := map[string]bool{}
	printed := "" // by the commands that make roles
	for _, b := range all {
		switch b.lang {
		case "sh":
			out := e.run(t, b, seen)
			if strings.Contains(b.text, "aadpostgres role ") {
				printed += out
			}
		case "sql":
			if !strings.Contains(b.text, "aad") {
				e.execSQL(t, b)
			} else if !strings.Contains(printed, b.text) {
				t.Errorf("%v: is not what aadpostgres role prints: %s", b, printed)
			}
		}
	}
	for pattern := range testedBy {
		if !seen[pattern] {
			t.Errorf("no page has a command like %s", pattern)
		}
	}
}

// run tries a block of commands, as one script, and returns what it prints.
func (e *pageEnv) run(t *testing.T, b block, seen map[string]bool) string {
	t.Helper()
	var script []string
next:
	for line := range strings.Lines(strings.ReplaceAll(b.text, "\\\n", "")) {
		line = strings.TrimSpace(line)
		for pattern, where := range testedBy {
			if regexp.MustCompile(pattern).MatchString(line) {
				seen[pattern] = true
				checkTestedBy(t, b, line, where)
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
	cmd := exec.Command("bash", "-euc", e.rewrite(strings.Join(script, "\n")))
	cmd.Dir, cmd.Env = e.dir, e.env
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.HasSuffix(b.text, " -h") { // flag's own ends with 2
		t.Errorf("%v: %v: %s", b, err, out)
	}
	return string(out)
}

// sql runs statements as superuser.
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

// named sees that a test is there, or that .ci/run has the command.
func checkTestedBy(t *testing.T, b block, line, where string) {
	t.Helper()
	if where == ".ci/run" {
		script, err := os.ReadFile(filepath.Join(root, ".ci/run"))
		if err != nil {
			t.Error(err)
		}
		if !strings.HasPrefix(line, ".ci/") && !strings.Contains(string(script), line) {
			t.Errorf("%v: .ci/run does not run %s", b, line)
		} else if _, err := os.Stat(filepath.Join(root, line)); strings.HasPrefix(line, ".ci/") && err != nil {
			t.Errorf("%v: %v", b, err)
		}
		return
	}
	cmd := exec.Command("grep", "-rqE", "--include=*_test.go", "^func "+where+`\(`, "driver")
	cmd.Dir = root
	if err := cmd.Run(); err != nil {
		t.Errorf("%v runs in %s, which is not there", b, where)
	}
}

// listed sees that a go test command means at least one test in each of its packages.
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
		files, _ := filepath.Glob(filepath.Join(dir, "*_test.go")) // the pattern is good
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
			t.Errorf("%v: no test in %s", b, dir)
		}
	}
	if len(dirs) == 0 {
		t.Errorf("%v: no packages", b)
	}
}
