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
	"go.uber.org/goleak"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

func TestSignIn(t *testing.T) {
	az := emulator.Start(t)
	app := mustGrant(t, az, emulator.Identity{Name: `O"Brien's app`})
	user := mustGrant(t, az, emulator.Identity{Name: "me@contoso.com", Kind: emulator.User})
	group := mustGrant(t, az, emulator.Identity{Name: "Team Müller", Kind: emulator.Group})
	member := az.Add(emulator.Identity{Name: "you@contoso.com", Kind: emulator.User, Groups: []string{group.ObjectID}})
	set := func(claim string, v any) func(map[string]any) { return func(c map[string]any) { c[claim] = v } }

	for _, tt := range []struct{ name, user, token string }{
		{"application", app.Name, az.Token(app, nil)},
		{"user", user.Name, az.Token(user, nil)},
		{"member of a group", group.Name, az.Token(member, nil)},
		{"audience is the resource's application id", app.Name, az.Token(app, set("aud", "123cd850-d9df-40bd-94d5-c9f07b7fa203"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := mustConnectAs(t, az, tt.user, tt.token)
			if got := queryString(t, conn, "select session_user"); got != tt.user {
				t.Errorf("session_user = %q, want %q", got, tt.user)
			}
		})
	}
	for _, tt := range []struct{ name, user, token, code, text string }{
		{"not a token", app.Name, "secret", "28P01", "has invalid format"},
		{"invalid signature", app.Name, az.Token(app, nil) + "x", "28P01", "An error occurred while validating"},
		{"expired", app.Name, az.Token(app, set("exp", time.Now().Add(-time.Second).Unix())), "28P01", "has expired"},
		{"another resource", app.Name, az.Token(app, set("aud", "https://vault.azure.net")), "28P01", "valid audience claim"},
		{"another tenant", app.Name, az.Token(app, set("tid", "other")), "28P01", "An error occurred while validating"},
		{"another identity", app.Name, az.Token(app, set("oid", "other")), "28P01", "oid mismatch"},
		{"application token for a user's role", user.Name, az.Token(app, nil), "28P01", "neither an AAD_AUTH_TOKENTYPE_APP_USER"},
		{"user token for an application's role", app.Name, az.Token(user, nil), "28000", "Service Principals cannot generate"},
		{"not a member", group.Name, az.Token(user, nil), "28P01", "does not contain group ID"},
		{"no role", "nobody", az.Token(app, nil), "28P01", "password authentication failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := connectAs(t, az, tt.user, tt.token)
			checkPgError(t, err, tt.code, tt.text)
		})
	}
}

// A native role authenticates by SCRAM, and a running query can be canceled.
func TestNativeRoleAndCancel(t *testing.T) {
	az := emulator.Start(t)
	ctx := context.Background()
	config, err := pgx.ParseConfig(az.DSN("user=postgres sslmode=verify-full require_auth=scram-sha-256"))
	if err != nil {
		t.Fatal(err)
	}
	superuser, err := pgx.ParseConfig(az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	config.Password = superuser.Password
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	time.AfterFunc(100*time.Millisecond, func() { conn.PgConn().CancelRequest(ctx) })
	_, err = conn.Exec(ctx, "select pg_sleep(20)")
	checkPgError(t, err, "57014", "canceling statement due to user request")
}

// A client that requires a newer protocol is refused. One that only offers it gets 3.0.
func TestProtocolVersion(t *testing.T) {
	az := emulator.Start(t)
	app := az.Add(emulator.Identity{Name: "app"})
	for _, tt := range []struct {
		minimum string
		wantOK  bool
	}{
		{"3.0", true},
		{"3.2", false},
	} {
		t.Run("at least "+tt.minimum, func(t *testing.T) {
			config, err := pgx.ParseConfig(az.DSN("user=app sslmode=verify-full max_protocol_version=3.2 min_protocol_version=" + tt.minimum))
			if err != nil {
				t.Fatal(err)
			}
			config.Password = az.Token(app, nil)
			conn, err := pgx.ConnectConfig(context.Background(), config)
			if conn != nil {
				conn.Close(context.Background())
			}
			if ok := err == nil; ok != tt.wantOK {
				t.Errorf("connect returned %v, want success %v", err, tt.wantOK)
			}
		})
	}
}

// env returns the variables of a host as a map.
func env(t *testing.T, az *emulator.Azure, h emulator.Host, id emulator.Identity) map[string]string {
	t.Helper()
	list, err := az.Environ(h, id)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, kv := range list {
		name, value, _ := strings.Cut(kv, "=")
		m[name] = value
	}
	return m
}

func TestManagedIdentityEndpoint(t *testing.T) {
	az := emulator.Start(t)
	vars := env(t, az, emulator.AppService, emulator.Identity{})
	requestToken := func(header, query string) (status int, token string) {
		req, err := http.NewRequest("GET", vars["IDENTITY_ENDPOINT"]+"?resource="+emulator.Resource+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-IDENTITY-HEADER", header)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var body struct {
			AccessToken string `json:"access_token"`
		}
		json.NewDecoder(resp.Body).Decode(&body) // an error response need not be JSON
		return resp.StatusCode, body.AccessToken
	}
	status, token := requestToken(vars["IDENTITY_HEADER"], "")
	if status != http.StatusOK {
		t.Fatalf("status = %d, want %d", status, http.StatusOK)
	}
	mustConnectAs(t, az, "app", token)
	if status, _ := requestToken("wrong", ""); status != http.StatusUnauthorized {
		t.Errorf("with a wrong header: status = %d, want %d", status, http.StatusUnauthorized)
	}
	if status, _ := requestToken(vars["IDENTITY_HEADER"], "&client_id=other"); status != http.StatusBadRequest {
		t.Errorf("for an unknown identity: status = %d, want %d", status, http.StatusBadRequest)
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
		t.Errorf("Stat(%q) = %v, want that it does not exist", file, err)
	}
	if _, err := pgx.Connect(context.Background(), az.PostgresDSN()); err == nil {
		t.Error("PostgreSQL accepts a connection, want that it has ended")
	}
	goleak.VerifyNone(t, before)
}

func TestConcurrentGrants(t *testing.T) {
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
