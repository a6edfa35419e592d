package emulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// signIn connects with a token as the password, as a person with psql would.
func connectAs(t *testing.T, az *emulator.Azure, user, token string) (*pgx.Conn, error) {
	t.Helper()
	config, err := pgx.ParseConfig(az.DSN("sslmode=verify-full"))
	if err != nil {
		t.Fatal(err)
	}
	config.User, config.Password = user, token
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return pgx.ConnectConfig(ctx, config)
}

func TestSignIn(t *testing.T) {
	az := emulator.Start(t)
	ctx := context.Background()
	grant := func(id emulator.Identity) emulator.Identity {
		id = az.Add(id)
		if err := az.Grant(ctx, id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	app := grant(emulator.Identity{Name: `O"Brien's app`})
	person := grant(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User})
	team := grant(emulator.Identity{Name: "Team Müller", Kind: emulator.Group})
	member := az.Add(emulator.Identity{Name: "you@contoso.com", Kind: emulator.User, Groups: []string{team.ObjectID}})
	set := func(claim string, v any) func(map[string]any) { return func(c map[string]any) { c[claim] = v } }

	for _, tt := range []struct {
		name, user, token, code, text string // no text: it signs in
	}{
		{name: "application", user: app.Name, token: az.Token(app, nil)},
		{name: "person", user: person.Name, token: az.Token(person, nil)},
		{name: "member of a group", user: team.Name, token: az.Token(member, nil)},
		{"not a token", app.Name, "secret", "28P01", "has invalid format"},
		{"a broken signature", app.Name, az.Token(app, nil) + "x", "28P01", "An error occurred while validating"},
		{"expired", app.Name, az.Token(app, set("exp", time.Now().Add(-time.Second).Unix())), "28P01", "has expired"},
		{"another resource", app.Name, az.Token(app, set("aud", "https://vault.azure.net")), "28P01", "valid audience claim"},
		{name: "the resource by its id", user: app.Name, token: az.Token(app, set("aud", "123cd850-d9df-40bd-94d5-c9f07b7fa203"))},
		{"another tenant", app.Name, az.Token(app, set("tid", "other")), "28P01", "An error occurred while validating"},
		{"somebody else", app.Name, az.Token(app, set("oid", "other")), "28P01", "oid mismatch"},
		{"an application as a person", person.Name, az.Token(app, nil), "28P01", "neither an AAD_AUTH_TOKENTYPE_APP_USER"},
		{"a person as an application", app.Name, az.Token(person, nil), "28000", "Service Principals cannot generate"},
		{"not a member", team.Name, az.Token(person, nil), "28P01", "does not contain group ID"},
		{"no role", "nobody", az.Token(app, nil), "28P01", "password authentication failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := connectAs(t, az, tt.user, tt.token)
			if tt.text == "" {
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close(ctx)
				var who string
				if err := conn.QueryRow(ctx, "select session_user").Scan(&who); err != nil || who != tt.user {
					t.Errorf("session_user = %q, %v", who, err)
				}
				return
			}
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || pg.Code != tt.code || !strings.Contains(pg.Message, tt.text) {
				t.Errorf("got %v, want %s with %q", err, tt.code, tt.text)
			}
		})
	}
}

func TestSingleServer(t *testing.T) {
	az := emulator.Start(t, emulator.WithSingleServer())
	app := az.Add(emulator.Identity{Name: "single"})
	if err := az.Grant(context.Background(), app); err != nil {
		t.Fatal(err)
	}
	for user, ok := range map[string]bool{"single@" + emulator.ServerName: true, "single": false, "single@other": false} {
		conn, err := connectAs(t, az, user, az.Token(app, nil))
		if ok && err != nil || !ok && (err == nil || !strings.Contains(err.Error(), "<username@hostname> format")) {
			t.Errorf("%s: %v", user, err)
		}
		if conn != nil {
			conn.Close(context.Background())
		}
	}
}

// A role of PostgreSQL's own signs in by SCRAM, and a running query can be cancelled.
func TestNativeRoleAndCancel(t *testing.T) {
	az := emulator.Start(t)
	ctx := context.Background()
	config, err := pgx.ParseConfig(az.DSN("user=postgres sslmode=verify-full require_auth=scram-sha-256"))
	if err != nil {
		t.Fatal(err)
	}
	super, err := pgx.ParseConfig(az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	config.Password = super.Password
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	time.AfterFunc(100*time.Millisecond, func() { conn.PgConn().CancelRequest(ctx) })
	var pg *pgconn.PgError
	if _, err = conn.Exec(ctx, "select pg_sleep(20)"); !errors.As(err, &pg) || pg.Code != "57014" {
		t.Errorf("got %v, want a cancelled query", err)
	}
}

func TestManagedIdentityEndpoint(t *testing.T) {
	az := emulator.Start(t)
	list, err := az.Environ(emulator.AppService, emulator.Identity{})
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, kv := range list {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	ask := func(header, query string) (int, string) {
		req, _ := http.NewRequest("GET", env["IDENTITY_ENDPOINT"]+"?resource="+emulator.Resource+query, nil)
		req.Header.Set("X-IDENTITY-HEADER", header)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var body struct {
			AccessToken string `json:"access_token"`
		}
		json.NewDecoder(resp.Body).Decode(&body)
		return resp.StatusCode, body.AccessToken
	}
	status, token := ask(env["IDENTITY_HEADER"], "")
	conn, err := connectAs(t, az, "app", token)
	if status != http.StatusOK || err != nil {
		t.Fatalf("status %d, %v", status, err)
	}
	conn.Close(context.Background())
	if status, _ := ask("wrong", ""); status != http.StatusUnauthorized {
		t.Errorf("a wrong header: %d", status)
	}
	if status, _ := ask(env["IDENTITY_HEADER"], "&client_id=other"); status != http.StatusBadRequest {
		t.Errorf("an unknown identity: %d", status)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestCloseLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	az, err := emulator.New(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	file := az.CertFile()
	if err := errors.Join(az.Close(), az.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the files are still there: %v", err)
	}
	if _, err := pgx.Connect(context.Background(), az.PostgresDSN()); err == nil {
		t.Error("PostgreSQL still answers")
	}
	goleak.VerifyNone(t, before)
}

func TestGrantsAtOnce(t *testing.T) {
	az := emulator.Start(t)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			if err := az.Grant(context.Background(), az.Add(emulator.Identity{Name: fmt.Sprint("one of many ", i)})); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
