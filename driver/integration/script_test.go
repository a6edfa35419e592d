package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// program builds the command once, in a folder that lives as long as the tests.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "aadpostgres-program-")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "github.com/aadpostgres/aadpostgres/driver/cmd/aadpostgres").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return dir, err
})

// surroundings are what a command finds that runs on a workstation and, for its
// managed identity, on App Service too.
func surroundings(t *testing.T, a *emulator.Azure, admin emulator.Identity) []string {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	tools, err := a.EnvironOn(emulator.Workstation, admin)
	if err != nil {
		t.Fatal(err)
	}
	path := "PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH")
	if len(tools) > 0 {
		path = strings.Replace(tools[0], "PATH=", "PATH="+bin+string(os.PathListSeparator), 1)
	}
	return append(a.Environ(), path, "DATABASE_URL="+a.DSN("aad_auth=managed-identity"), "DSN="+a.DSN(), "PORT="+fmt.Sprint(a.Port()), "CERT="+a.CertFile(),
		"TENANT="+emulator.TenantID, "OID="+admin.ObjectID, "NO_COLOR=1")
}

// workplace is an Azure and its Entra administrator, who is signed in to az and its kind.
func workplace(t *testing.T) (*emulator.Azure, emulator.Identity) {
	t.Helper()
	a := emulator.Start(t)
	admin := a.Add(emulator.Identity{Name: "admin@contoso.com", Kind: emulator.User})
	if err := a.GrantAdmin(context.Background(), admin); err != nil {
		t.Fatal(err)
	}
	a.Login(admin)
	return a, admin
}

// The commands, as they are used and misused.
func TestScripts(t *testing.T) {
	a, admin := workplace(t)
	a.Add(emulator.Identity{Name: "Prod DB Readonly", Kind: emulator.Group})
	billing := a.Add(emulator.Identity{Name: "billing", Secret: "opensesame"})
	single := emulator.Start(t, emulator.WithSingleServer())
	head := single.Add(emulator.Identity{Name: "head@contoso.com", Kind: emulator.User})
	if err := single.GrantAdmin(context.Background(), head); err != nil {
		t.Fatal(err)
	}
	myapp := single.Add(emulator.Identity{Name: "myapp", Secret: "opensesame"})
	env := append(surroundings(t, a, admin), "BILLING_OID="+billing.ObjectID, "BILLING_ID="+billing.ClientID, "BILLING_SECRET="+billing.Secret,
		"SINGLE="+single.DSN("aad_server_type=single"), "SINGLE_AUTHORITY="+single.Authority(), "SINGLE_CERT="+single.CertFile(), "MYAPP_ID="+myapp.ClientID)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, env...)
			admins := filepath.Join(e.WorkDir, "admin.token")
			heads := filepath.Join(e.WorkDir, "head.token")
			e.Setenv("ADMIN", a.DSN("user=admin@contoso.com", "aad_auth=access-token", "aad_token_file="+admins))
			e.Setenv("HEAD", single.DSN("user=head@contoso.com@emulator", "aad_server_type=single", "aad_auth=access-token", "aad_token_file="+heads))
			return errors.Join(os.WriteFile(admins, []byte(a.Token(admin, nil)), 0o600), os.WriteFile(heads, []byte(single.Token(head, nil)), 0o600))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status},
	})
}

// status N command... runs a command that must end with that status.
func status(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%v ended with status %d, want %d", args[1:], got, want)
	}
}

var (
	exampleHost = regexp.MustCompile(`host=app\.postgres\.database\.azure\.com( dbname=\w+)?`)
	exampleURL  = regexp.MustCompile(`aadpostgres://app\.postgres\.database\.azure\.com/app`)
)

// Every example that -h and the documentation print runs, with the emulator in the
// place of the server that they name.
func TestExamples(t *testing.T) {
	a, admin := workplace(t)
	a.Add(emulator.Identity{Name: "Admins", Kind: emulator.Group})
	env := append(os.Environ(), surroundings(t, a, admin)...)
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	var pages []string
	for _, name := range []string{"ping", "doctor", "role", "token", "exec"} {
		out, err := exec.Command(filepath.Join(bin, "aadpostgres"), name, "-h").Output()
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, string(out))
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, string(readme))
	for _, page := range pages {
		n := 0
		for line := range strings.Lines(page) {
			line = strings.TrimSpace(line)
			if !regexp.MustCompile(`^(export \w+=.*|PGHOST=\S+ )?(aadpostgres |.*\$\(aadpostgres )`).MatchString(line) {
				continue
			}
			n++
			base, _, _ := strings.Cut(a.DSN(), " dbname=")
			line = exampleHost.ReplaceAllString(line, base+" dbname=postgres sslrootcert="+a.CertFile())
			line = exampleURL.ReplaceAllString(line, fmt.Sprintf("'aadpostgres://127.0.0.1:%d/postgres?sslrootcert=%s'", a.Port(), a.CertFile()))
			line = strings.ReplaceAll(line, "PGHOST=app.postgres.database.azure.com", fmt.Sprintf("DATABASE_URL= PGHOST=127.0.0.1 PGPORT=%d PGDATABASE=postgres PGSSLROOTCERT=%s", a.Port(), a.CertFile()))
			cmd := exec.Command("bash", "-euc", line)
			cmd.Env = env
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", line, err, out)
			}
		}
		if n == 0 {
			t.Errorf("no example in %.100q", page)
		}
	}
}
