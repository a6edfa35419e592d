package emulator_test

import (
	"context"
	"go/doc"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

func TestWithIdentity(t *testing.T) {
	const adminName = "dba@contoso.com"
	az := emulator.Start(t,
		emulator.WithIdentity(emulator.Identity{Name: "billing"}),
		emulator.WithAdmin(emulator.Identity{Name: adminName, Kind: emulator.User}),
		emulator.WithIdentity(emulator.Identity{Name: "reports", Kind: emulator.ServicePrincipal}))
	for _, name := range []string{"app", "billing", "reports", adminName} {
		t.Run(name, func(t *testing.T) { checkSignIn(t, az, name, az.Identity(name)) })
	}
	az.Add(emulator.Identity{Name: "new"})
	ctx := context.Background()
	const create = "SELECT pgaadauth_create_principal('new', false, false)"
	_, err := mustConnectAs(t, az, "billing", az.Token(az.Identity("billing"), nil)).Exec(ctx, create)
	checkPgError(t, err, "42501", "permission denied")
	mustExec(t, mustConnectAs(t, az, adminName, az.Token(az.Identity(adminName), nil)), create)
	checkSignIn(t, az, "new", az.Identity("new"))
}

func TestMain(m *testing.M) { need.Main(m) }

func TestWithReservedName(t *testing.T) {
	_, err := emulator.New(t.Context(), emulator.WithIdentity(emulator.Identity{Name: "pg_mine"}))
	if want := `the role of pg_mine: ERROR: role name "pg_mine" is reserved`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("New() = %v, want %q in it", err, want)
	}
}

func TestUnknownIdentity(t *testing.T) {
	az := emulator.Start(t)
	defer func() {
		const want = "emulator: no identity named nobody"
		if got := recover(); got != want {
			t.Errorf("Identity() panics with %v, want %q", got, want)
		}
	}()
	az.Identity("nobody")
}

// Every example without output, which go test does not run, is run here.
func TestExamples(t *testing.T) {
	examples := map[string]func(){
		"":               Example,
		"_parallel":      Example_parallel,
		"WithIdentity":   ExampleWithIdentity,
		"WithAdmin":      ExampleWithAdmin,
		"WithLog":        ExampleWithLog,
		"WithPostgres":   ExampleWithPostgres,
		"Faults":         ExampleFaults,
		"Azure_Command":  ExampleAzure_Command,
		"Azure_Database": ExampleAzure_Database,
		"Azure_Token":    ExampleAzure_Token,

		"WithSingleServer": ExampleWithSingleServer,
	}
	f, err := parser.ParseFile(token.NewFileSet(), "example_test.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range doc.Examples(f) {
		if e.Output != "" {
			continue
		}
		t.Run("Example"+e.Name, func(t *testing.T) {
			example := examples[e.Name]
			if example == nil {
				t.Fatal("the example is not run; add it to the map")
			}
			if e.Name == "Azure_Command" {
				need.Program(t, "sh", "bash", "psql")
			}
			setT(t)
			example()
		})
	}
}
