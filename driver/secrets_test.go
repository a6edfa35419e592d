package driver

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// Whatever is exported prints without secrets, by every route, as value and by
// pointer, bare and within something else. A new exported type must be added here.
func TestNothingExportedPrintsASecret(t *testing.T) {
	clean(t)
	const secrets = "aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=" + marker
	cfg, err := dsn.Parse("host=h sslpassword=" + marker + " " + secrets)
	if err != nil {
		t.Fatal(err)
	}
	open := func(s string, opts ...Option) *Connector {
		c, err := NewConnector(s, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ours := open("host=h user=u " + secrets)
	fixed := open("host=h user=u aad_auth=access-token password=" + marker)
	password := open("host=h user=u aad_auth=password password=" + marker)
	credential := &fakeCredential{get: func(int64, string) (azcore.AccessToken, error) {
		return azcore.AccessToken{Token: marker, ExpiresOn: time.Now().Add(time.Hour)}, nil
	}}
	holding := open("host=h user=u", WithCredential(credential))
	if _, err := ask(holding.tokens, t.Context()); err != nil {
		t.Fatal(err)
	}
	_, refused := NewConnector("host=h user=u port=x password=" + marker + " aad_auth=password")
	_, failed := open("host=127.0.0.1 port=1 user=u sslmode=disable aad_auth=password password=" + marker).Connect(t.Context())
	var connect *pgconn.ConnectError
	if !errors.As(failed, &connect) {
		t.Fatalf("got %v", failed)
	}
	connect.Config.Password = marker // as deep as pgx itself would hold it
	login, err := holding.Login(t.Context())
	if err != nil || login.Password != marker {
		t.Fatal(err)
	}
	var checks []any
	for c := range Diagnose(t.Context(), "host=127.0.0.1 port=1 user=u "+secrets, WithCredential(credential)) {
		checks = append(checks, c)
	}
	for c := range Diagnose(t.Context(), "host=127.0.0.1 port=1 user=u aad_auth=password password="+marker) {
		checks = append(checks, c)
	}
	chained := situation{}.explainToken(fmt.Errorf("first line\n%s", marker))

	values := map[string][]any{
		"dsn.Config": {*cfg, cfg}, "dsn.Key": {dsn.Keys()[5]}, "dsn.ModeInfo": {dsn.Modes()[0]}, "dsn.Cloud": {dsn.Clouds()[0]}, "dsn.Mode": {dsn.Default}, "dsn.Env": {dsn.OS},
		"driver.Connector": {ours, fixed, password, holding}, "driver.Driver": {ours.Driver(), *ours.driver},
		"driver.Error": {failed, chained, *chained, refused, errors.Join(failed), fmt.Errorf("wrapped: %w", failed)},
		"driver.Login": {login, &login}, "driver.Role": {Role{Name: "r", Kind: "user"}}, "driver.RoleKind": {RoleKinds()[0]}, "driver.Check": checks,
		"driver.Stats": {holding.Stats()}, "driver.Option": {WithCredential(credential)},
	}
	for _, name := range exported(t, "dsn", "../dsn", "driver", ".") {
		if values[name] == nil {
			t.Errorf("%s is exported and not looked at", name)
		}
	}
	for name, list := range values {
		for _, v := range list {
			for _, v := range []any{v, []any{v}, map[string]any{"k": v}, struct{ V any }{v}, &v} {
				for route, text := range routes(v) {
					if strings.Contains(text, marker) || strings.Contains(strings.ToLower(text), hex.EncodeToString([]byte(marker))) {
						t.Errorf("%s (%T) by %s: %s", name, v, route, text)
					}
				}
			}
		}
	}
	var sdk *azidentity.AuthenticationFailedError
	if errors.As(chained, &sdk) || !strings.Contains(chained.Error(), "first line") {
		t.Errorf("got %v", chained)
	}
}

// However an Error is printed, it is its one line.
func TestErrorPrintsAsOneLine(t *testing.T) {
	e := &Error{Step: StepToken, Hint: "do that", Err: errors.New("a \"cause\"")}
	for route, text := range routes(e) {
		want := e.Error()
		switch route {
		case "%q", "JSON", "slog text", "slog JSON":
			want = strings.Trim(strconv.Quote(want), `"`)
		case "%x":
			want = hex.EncodeToString([]byte(want))
		}
		if !strings.Contains(text, want) || strings.Contains(text, "Err:") || strings.Contains(text, `"Err"`) {
			t.Errorf("%s: %s, want %s", route, text, want)
		}
	}
}

// routes prints v in every way that a program might.
func routes(v any) map[string]string {
	out := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		out[verb] = fmt.Sprintf(verb, v)
	}
	b, err := json.Marshal(v)
	out["JSON"] = fmt.Sprint(string(b), err)
	var text, js strings.Builder
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "k", v)
	slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "k", v)
	out["slog text"], out["slog JSON"] = text.String(), js.String()
	return out
}

// exported lists the exported types of packages, given as name, folder.
func exported(t *testing.T, packages ...string) (names []string) {
	t.Helper()
	for i := 0; i < len(packages); i += 2 {
		pkgs, err := fs.Glob(os.DirFS(packages[i+1]), "*.go")
		if err != nil || len(pkgs) == 0 {
			t.Fatal(packages[i+1], err)
		}
		for _, file := range pkgs {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(gotoken.NewFileSet(), packages[i+1]+"/"+file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				if d, ok := d.(*ast.GenDecl); ok && d.Tok == gotoken.TYPE {
					for _, s := range d.Specs {
						if name := s.(*ast.TypeSpec).Name; name.IsExported() {
							names = append(names, packages[i]+"."+name.Name)
						}
					}
				}
			}
		}
	}
	return names
}
