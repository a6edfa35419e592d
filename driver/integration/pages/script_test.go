package pages

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

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// buildDir is the directory of the built commands, or "". TestMain removes it.
var buildDir string

// buildCommands builds the commands once, in a directory that exists until the tests end.
var buildCommands = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "aadpostgres-program-")
	if err != nil {
		return "", err
	}
	buildDir = dir
	const project = "github.com/aadpostgres/aadpostgres/driver/"
	out, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator), project+"cmd/aadpostgres", project+"emulator/cmd/emulate",
		project+"migrate/cmd/aadpostgres-migrate", project+"integration/examples/goose").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return dir, err
})

// commandEnv returns the environment of a command on a workstation, which has also the
// managed identity of App Service.
func commandEnv(t *testing.T, a *emulator.Azure, admin emulator.Identity) []string {
	t.Helper()
	need.Program(t, "bash") // which the emulator's az, azd and pwsh are written for
	bin, err := buildCommands()
	if err != nil {
		t.Fatal(err)
	}
	tools, err := a.Environ(emulator.Workstation, admin)
	if err != nil {
		t.Fatal(err)
	}
	path := "PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH")
	if len(tools) > 0 {
		path = strings.Replace(tools[0], "PATH=", "PATH="+bin+string(os.PathListSeparator), 1)
	}
	service, err := a.Environ(emulator.AppService, a.Identity("app"))
	if err != nil {
		t.Fatal(err)
	}
	return append(service, path, "AZURE_AUTHORITY_HOST="+a.Authority(), "AZURE_TENANT_ID="+emulator.TenantID, "SSL_CERT_FILE="+a.CertFile(), "DATABASE_URL="+a.DSN("aad_auth=managed-identity"), "DSN="+a.DSN(), "PORT="+fmt.Sprint(a.Port()), "CERT="+a.CertFile(),
		"TENANT="+emulator.TenantID, "OID="+admin.ObjectID, "NO_COLOR=1")
}

// newAzure starts an emulator and returns its Entra administrator, who is logged in to az,
// azd and Azure PowerShell.
func newAzure(t *testing.T) (*emulator.Azure, emulator.Identity) {
	t.Helper()
	a := emulator.Start(t)
	admin := a.Add(emulator.Identity{Name: "admin@contoso.com", Kind: emulator.User})
	if err := a.GrantAdmin(context.Background(), admin); err != nil {
		t.Fatal(err)
	}
	a.Login(admin)
	return a, admin
}

// TestScripts runs the scripts in testdata/script.
func TestScripts(t *testing.T) {
	a, admin := newAzure(t)
	a.Add(emulator.Identity{Name: "Prod DB Readonly", Kind: emulator.Group})
	a.Add(emulator.Identity{Name: "Full Disk", Kind: emulator.Group})
	billing := a.Add(emulator.Identity{Name: "billing", Secret: "opensesame"})
	single := emulator.Start(t, emulator.WithSingleServer())
	head := single.Add(emulator.Identity{Name: "head@contoso.com", Kind: emulator.User})
	if err := single.GrantAdmin(context.Background(), head); err != nil {
		t.Fatal(err)
	}
	myapp := single.Add(emulator.Identity{Name: "myapp", Secret: "opensesame"})
	env := append(commandEnv(t, a, admin), "BILLING_OID="+billing.ObjectID, "BILLING_ID="+billing.ClientID, "BILLING_SECRET="+billing.Secret,
		"SINGLE="+single.DSN("aad_server_type=single"), "SINGLE_AUTHORITY="+single.Authority(), "SINGLE_CERT="+single.CertFile(), "MYAPP_ID="+myapp.ClientID)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, env...)
			admins := filepath.Join(e.WorkDir, "admin.token")
			heads := filepath.Join(e.WorkDir, "head.token")
			e.Setenv("ADMIN", a.DSN("user=admin@contoso.com", "aad_auth=access-token", "aad_token_file="+admins))
			e.Setenv("HEAD", single.DSN("user=head@contoso.com@emulator", "aad_server_type=single", "aad_auth=access-token", "aad_token_file="+heads))
			e.Values["t"] = e.T()
			return errors.Join(os.WriteFile(admins, []byte(a.Token(admin, nil)), 0o600), os.WriteFile(heads, []byte(single.Token(head, nil)), 0o600))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"need": needPrograms, "status": status},
		Condition: func(name string) (bool, error) {
			if name == "dumps" {
				return dumps(t.Context(), a)
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
	})
}

// dumps reports whether the pg_dump of this machine is as new as the server, which it
// requires.
func dumps(ctx context.Context, a *emulator.Azure) (bool, error) {
	out, err := exec.CommandContext(ctx, "pg_dump", "--version").Output()
	if err != nil {
		return false, err
	}
	conn, err := pgx.Connect(ctx, a.PostgresDSN())
	if err != nil {
		return false, err
	}
	defer conn.Close(ctx)
	client, err := majorVersion(string(out))
	if err != nil {
		return false, err
	}
	server, err := majorVersion(conn.PgConn().ParameterStatus("server_version"))
	return client >= server, err
}

// majorVersion returns the first number in a text.
func majorVersion(text string) (int, error) {
	return strconv.Atoi(regexp.MustCompile(`\d+`).FindString(text))
}

// needPrograms ends a script if one of the programs args is missing.
func needPrograms(ts *testscript.TestScript, _ bool, args []string) {
	need.Program(ts.Value("t").(testing.TB), args...)
}

// status runs a command that must end with the exit status args[0].
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
		ts.Fatalf("exit status of %v = %d, want %d", args[1:], got, want)
	}
}
