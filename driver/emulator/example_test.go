package emulator_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	_ "github.com/aadpostgres/aadpostgres"
	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// t is the parameter of the test that an example would be in.
var t *testing.T

func setT(test *testing.T) { t = test }

// A test signs in as the managed identity of an App Service.
func Example() {
	az := emulator.Start(t)
	az.Setenv(t)
	db, err := sql.Open("aadpostgres", az.DSN("aad_auth=managed-identity"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Ping(); err != nil {
		t.Error(err)
	}
}

// Parallel tests share an emulator and use one database each. They cannot set environment
// variables, so the driver uses the metadata service of a virtual machine by Client.
func Example_parallel() {
	az := emulator.Start(t)
	for _, name := range []string{"insert", "update", "delete"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := driver.NewConnector(az.Database(t).DSN("aad_auth=managed-identity"), driver.WithTransport(az.Client()))
			if err != nil {
				t.Fatal(err)
			}
			db := sql.OpenDB(c)
			t.Cleanup(func() { db.Close() })
			if err := db.Ping(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A TestMain starts one emulator for all tests of a package, and sets the environment of
// a program on App Service, which parallel tests cannot do.
func ExampleNew() {
	var az *emulator.Azure                                             // a variable of the package
	testMain := func(m interface{ Run() int }) (code int, err error) { // m is a *testing.M
		if az, err = emulator.New(context.Background()); err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, az.Close()) }()
		env, err := az.Environ(emulator.AppService, az.Identity("app"))
		if err != nil {
			return 1, err
		}
		for _, kv := range env {
			name, value, _ := strings.Cut(kv, "=")
			os.Setenv(name, value)
		}
		return m.Run(), nil
	}
	tests := runner(func() int {
		db, err := sql.Open("aadpostgres", az.DSN("aad_auth=managed-identity"))
		if err != nil {
			return 1
		}
		defer db.Close()
		var user string
		err = db.QueryRow("select session_user").Scan(&user)
		fmt.Println(user, err)
		return 0
	})
	fmt.Println(testMain(tests))
	os.Unsetenv("IDENTITY_ENDPOINT") // for the other examples
	os.Unsetenv("IDENTITY_HEADER")
	// Output:
	// app <nil>
	// 0 <nil>
}

// A runner stands for a *testing.M.
type runner func() int

func (r runner) Run() int { return r() }

// Options add a managed identity with a role, and an Entra administrator.
func ExampleWithIdentity() {
	az := emulator.Start(t,
		emulator.WithIdentity(emulator.Identity{Name: "billing"}),
		emulator.WithAdmin(emulator.Identity{Name: "dba@contoso.com", Kind: emulator.User}))
	az.SetenvOn(t, emulator.Kubernetes, az.Identity("billing"))
	c, err := driver.NewConnector(az.DSN("user=billing aad_auth=workload-identity"), driver.WithTransport(az.Client()))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() { db.Close() })
	if err := db.Ping(); err != nil {
		t.Error(err)
	}
}

// An application signs in with its secret.
func ExampleAzure_Grant() {
	ctx := context.Background()
	az, err := emulator.New(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer az.Close()
	id := az.Add(emulator.Identity{Name: "billing", Kind: emulator.ServicePrincipal, Secret: "of billing"})
	if err := az.Grant(ctx, id); err != nil {
		log.Fatal(err)
	}
	c, err := driver.NewConnector(az.DSN("user=billing aad_auth=client-secret aad_client_secret='of billing'",
		"aad_tenant_id="+emulator.TenantID, "aad_client_id="+id.ClientID), driver.WithTransport(az.Client()))
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()
	var user string
	err = db.QueryRow("select session_user").Scan(&user)
	fmt.Println(user, err)
	// Output: billing <nil>
}

// A test has its own database, with a table in it.
func ExampleAzure_Database() {
	az := emulator.Start(t)
	d := az.Database(t)
	d.Exec(t, "CREATE TABLE orders (id serial PRIMARY KEY, item text)")
	az.Setenv(t)
	db, err := sql.Open("aadpostgres", d.DSN("aad_auth=managed-identity"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec("INSERT INTO orders (item) VALUES ('tea')"); err != nil {
		t.Error(err)
	}
}

// A fault shows how a program handles a server that has too many connections.
func ExampleFaults() {
	az, err := emulator.New(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer az.Close()
	c, err := driver.NewConnector(az.DSN("user=app aad_auth=managed-identity"), driver.WithTransport(az.Client()))
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()

	az.Faults.Refuse(&pgconn.PgError{Code: "53300", Message: "sorry, too many clients already"})
	var pgErr *pgconn.PgError
	fmt.Println(errors.As(db.Ping(), &pgErr) && pgErr.Code == "53300")
	az.Faults.Refuse(nil)
	fmt.Println(db.Ping(), az.Counts().SignIns)
	// Output:
	// true
	// <nil> 1
}

// A Go test runs a shell script on a workstation on which me@contoso.com is logged in.
func ExampleAzure_Command() {
	az := emulator.Start(t, emulator.WithIdentity(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User}))
	cmd, err := az.Command(t.Context(), emulator.Workstation, az.Identity("me@contoso.com"), "sh", "-c",
		`PGPASSWORD=$(az account get-access-token --resource-type oss-rdbms --query accessToken -o tsv) psql -Atc "select session_user"`)
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(out), "me@contoso.com\n"; got != want {
		t.Errorf("the script printed %q, want %q", got, want)
	}
}

// A program without the driver requests its token over HTTP, as on App Service.
func ExampleAzure_Environ() {
	az, err := emulator.New(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer az.Close()
	list, err := az.Environ(emulator.AppService, az.Identity("app"))
	if err != nil {
		log.Fatal(err)
	}
	env := map[string]string{}
	for _, kv := range list {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	req, err := http.NewRequest("GET", env["IDENTITY_ENDPOINT"]+"?api-version=2019-08-01&resource="+emulator.Resource, nil)
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("X-IDENTITY-HEADER", env["IDENTITY_HEADER"])
	resp, err := az.Client().Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 200 OK
}

// On single server, user names end in the server's name.
func ExampleWithSingleServer() {
	az := emulator.Start(t, emulator.WithSingleServer())
	az.Setenv(t)
	db, err := sql.Open("aadpostgres", az.DSN("user=app@emulator aad_server_type=single aad_auth=managed-identity"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Ping(); err != nil {
		t.Fatal(err)
	}
	if got, want := az.Startups()[0]["user"], "app@"+emulator.ServerName; got != want {
		t.Errorf("user = %q, want %q", got, want)
	}
}

// An administrator creates a role for a group, and a member of the group signs in. Both
// DSNs contain a token, so that the test needs no environment variable.
func ExampleWithAdmin() {
	az := emulator.Start(t, emulator.WithAdmin(emulator.Identity{Name: "dba@contoso.com", Kind: emulator.User}))
	readers := az.Add(emulator.Identity{Name: "Readers", Kind: emulator.Group})
	open := func(user, token string) *sql.Conn {
		db, err := sql.Open("aadpostgres", az.DSN("aad_auth=access-token", "user='"+user+"'", "password="+token))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	dba := open("dba@contoso.com", az.Token(az.Identity("dba@contoso.com"), nil))
	if _, err := (driver.Role{Name: readers.Name, Kind: "group"}).Apply(t.Context(), dba); err != nil {
		t.Fatal(err)
	}
	member := az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User, Groups: []string{readers.ObjectID}})
	open("Readers", az.Token(member, nil))
}

// A test signs in with an expired token.
func ExampleAzure_Token() {
	az := emulator.Start(t)
	expired := az.Token(az.Identity("app"), func(claims map[string]any) { claims["exp"] = time.Now().Add(-time.Hour).Unix() })
	db, err := sql.Open("aadpostgres", az.DSN("user=app aad_auth=access-token", "password="+expired))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Ping(); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("Ping() = %v, want an error about the expired token", err)
	}
}

// The emulator uses a running server, for example one with extensions.
func ExampleWithPostgres() {
	superuserDSN := emulator.Start(t).PostgresDSN()
	az := emulator.Start(t, emulator.WithPostgres(superuserDSN))
	c, err := driver.NewConnector(az.DSN("aad_auth=managed-identity"), driver.WithTransport(az.Client()))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() { db.Close() })
	if err := db.Ping(); err != nil {
		t.Error(err)
	}
}

// The log of PostgreSQL explains why a test fails.
func ExampleWithLog() {
	var serverLog bytes.Buffer
	az, err := emulator.New(t.Context(), emulator.WithLog(&serverLog))
	if err != nil {
		t.Fatal(err)
	}
	if err := az.Close(); err != nil {
		t.Error(err)
	}
	if serverLog.Len() == 0 {
		t.Error("the log is empty")
	}
}
