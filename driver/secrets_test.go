package driver

import (
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"expvar"
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

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// Whatever is exported prints without secrets, by every route, as value and by
// pointer, bare and within something else. A new exported type must be added here.
func TestNothingExportedPrintsASecret(t *testing.T) {
	entratest.CleanEnv(t)
	const secrets = "aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=" + entratest.Marker
	cfg, err := dsn.Parse("host=h sslpassword=" + entratest.Marker + " " + secrets)
	certificate, err2 := dsn.Parse("host=h aad_auth=client-certificate aad_client_certificate=f aad_client_certificate_password=" + entratest.Marker)
	err = errors.Join(err, err2)
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
	fixed := open("host=h user=u aad_auth=access-token password=" + entratest.Marker)
	password := open("host=h user=u aad_auth=password password=" + entratest.Marker)
	credential := &entratest.Credential{Get: func(int64, string) (azcore.AccessToken, error) {
		return azcore.AccessToken{Token: entratest.Marker, ExpiresOn: time.Now().Add(time.Hour)}, nil
	}}
	holding := open("host=h user=u", WithCredential(credential))
	if _, err := tokenOf(t.Context(), holding); err != nil {
		t.Fatal(err)
	}
	_, refused := NewConnector("host=h user=u port=x password=" + entratest.Marker + " aad_auth=password")
	_, failed := open("host=127.0.0.1 port=1 user=u sslmode=disable aad_auth=password password=" + entratest.Marker).Connect(t.Context())
	var connect *pgconn.ConnectError
	if !errors.As(failed, &connect) {
		t.Fatalf("got %v", failed)
	}
	connect.Config.Password = entratest.Marker // as deep as pgx itself would hold it
	login, err := holding.Credentials(t.Context())
	if err != nil || login.Password != entratest.Marker {
		t.Fatal(err)
	}
	var checks []any
	for c := range Diagnose(t.Context(), "host=127.0.0.1 port=1 user=u "+secrets, WithCredential(credential)) {
		checks = append(checks, c)
	}
	for c := range Diagnose(t.Context(), "host=127.0.0.1 port=1 user=u aad_auth=password password="+entratest.Marker) {
		checks = append(checks, c)
	}
	chained := errContext{}.explainToken(fmt.Errorf("first line\n%s", entratest.Marker))

	values := map[string][]any{
		"dsn.Config": {*cfg, cfg, certificate, cfg.Clone()}, "dsn.Key": {dsn.Keys()[5]}, "dsn.ModeInfo": {dsn.Modes()[0]}, "dsn.Cloud": {dsn.Clouds()[0]}, "dsn.Mode": {dsn.Default}, "dsn.Env": {dsn.OS},
		"driver.Connector": {ours, fixed, password, holding}, "driver.Driver": {ours.Driver(), *ours.driver},
		"driver.Error":       {failed, chained, *chained, refused, errors.Join(failed), fmt.Errorf("wrapped: %w", failed)},
		"driver.Credentials": {login, &login}, "driver.Role": {Role{Name: "r", Kind: "user"}}, "driver.Check": checks, "driver.Status": {StatusOK},
		"driver.Stats": {holding.Stats()}, "driver.Option": {WithCredential(credential)},
	}
	for name, texts := range map[string][]any{ // that functions return, or hand over
		"dsn.CloudOf()": {dsn.CloudOf(entratest.Marker)}, "dsn.CloudOfAuthority()": {dsn.CloudOfAuthority(entratest.Marker)}, "dsn.CloudOfResource()": {dsn.CloudOfResource(entratest.Marker)}, "dsn.Cloud.Scope()": {dsn.Clouds()[0].Scope()}, "dsn.Config.Host()": {cfg.Host()}, "dsn.Config.ConnString()": {cfg.ConnString()},
		"dsn.Config.String()": {cfg.String()}, "dsn.Config.Format()": {fmt.Sprintf("%d %t", cfg, *certificate)}, "dsn.Config.LogValue()": {cfg.LogValue()}, "dsn.Config.MarshalText()": called(cfg.MarshalText()),
		"dsn.Config.GobEncode()": called(cfg.GobEncode()), "driver.Credentials.GobEncode()": called(login.GobEncode()),
		"driver.Connector.Config()": {*ours.Config(), *fixed.Config(), *holding.Config()}, "driver.Connector.Driver()": {ours.Driver()},
		"driver.Connector.String()": {ours.String(), fixed.String(), password.String(), holding.String()}, "driver.Connector.Format()": {fmt.Sprintf("%d %t", ours, password)},
		"driver.Connector.Stats()": {holding.Stats()}, "driver.Diagnose()": checks,
		"driver.Error.Error()": {failed.Error(), chained.Error(), refused.Error()}, "driver.Error.GoString()": {chained.GoString()}, "driver.Error.MarshalText()": called(chained.MarshalText()),
		"driver.Error.Unwrap()":       {refused.(*Error).Unwrap().Error()}, // what else it leads to is checked by oneHarmlessLine
		"driver.Credentials.String()": {login.String()}, "driver.Credentials.Format()": {fmt.Sprint(login)}, "driver.Credentials.MarshalText()": called(login.MarshalText()),
		"driver.NewConnector()": {refused}, "driver.Connector.Connect()": {failed}, "driver.Driver.Open()": called((&Driver{}).Open("host=h " + secrets + " x")),
		"driver.Driver.OpenConnector()": called((&Driver{}).OpenConnector("host=h " + secrets + " x")),
	} {
		values[name] = texts
	}
	for name := range strings.FieldsSeq(`
		dsn.Parse() dsn.ParseEnv() dsn.Config.Clone() dsn.Clouds() dsn.Keys() dsn.Modes() dsn.OS()
		driver.WithCredential() driver.WithDeviceCodePrompt() driver.WithLogger() driver.WithOpenFunc() driver.WithConnConfig() driver.WithTLSConfig() driver.WithTransport()
			return what is looked at above
		driver.RoleKinds()
			is constant
		driver.Register() driver.Connector.Close() driver.Role.SQL() driver.Role.Apply()
			know no secret
		dsn.Config.DSN() driver.Connector.Credentials() driver.Connector.BeforeConnect()
			are for the secret`) {
		values[name] = []any{}
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
					if strings.Contains(text, entratest.Marker) || strings.Contains(strings.ToLower(text), hex.EncodeToString([]byte(entratest.Marker))) {
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

// called lists what a call returned.
func called(a any, err error) []any {
	if b, ok := a.([]byte); ok {
		a = string(b)
	}
	return []any{a, err}
}

// However an Error is printed, it is its one line.
func TestErrorPrintsAsOneLine(t *testing.T) {
	e := &Error{Step: StepToken, Hint: "do that", Err: errors.New("a \"cause\"")}
	for route, text := range routes(e) {
		want := e.Error()
		switch route {
		case "%q", "JSON", "slog text", "slog JSON":
			want = strings.Trim(strconv.Quote(want), `"`)
		case "%x", "%X":
			want = hex.EncodeToString([]byte(want))
			text = strings.ToLower(text)
		case "XML":
			want = strings.ReplaceAll(want, `"`, "&#34;")
		case "gob":
			continue // it is not written
		case "expvar":
			want = strings.Trim(strconv.Quote(want), `"`)
		}
		if !strings.Contains(text, want) || strings.Contains(text, "Err:") || strings.Contains(text, `"Err"`) {
			t.Errorf("%s: %s, want %s", route, text, want)
		}
	}
}

// routes prints v in every way that a program might.
func routes(v any) map[string]string {
	out := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X"} {
		out[verb] = fmt.Sprintf(verb, v)
	}
	b, err := json.Marshal(v)
	out["JSON"] = fmt.Sprint(string(b), err)
	b, err = xml.Marshal(v)
	out["XML"] = fmt.Sprint(string(b), err)
	var g strings.Builder
	err = gob.NewEncoder(&g).Encode(v)
	out["gob"] = fmt.Sprint(g.String(), err)
	out["expvar"] = expvar.Func(func() any { return v }).String()
	var text, js strings.Builder
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "k", v)
	slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "k", v)
	out["slog text"], out["slog JSON"] = text.String(), js.String()
	return out
}

// exported lists all exported names of packages, given as name, folder: types, and
// with parentheses, functions, methods, constants and variables.
func exported(t *testing.T, packages ...string) (names []string) {
	t.Helper()
	for i := 0; i < len(packages); i += 2 {
		files, err := fs.Glob(os.DirFS(packages[i+1]), "*.go")
		if err != nil || len(files) == 0 {
			t.Fatal(packages[i+1], err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(gotoken.NewFileSet(), packages[i+1]+"/"+file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				for _, name := range declared(d) {
					names = append(names, packages[i]+"."+name)
				}
			}
		}
	}
	return names
}

func declared(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if d.Recv != nil {
			of := d.Recv.List[0].Type
			if star, ok := of.(*ast.StarExpr); ok {
				of = star.X
			}
			if !ast.IsExported(of.(*ast.Ident).Name) {
				return nil
			}
			name = of.(*ast.Ident).Name + "." + name
		}
		if d.Name.IsExported() {
			names = append(names, name+"()")
		}
	case *ast.GenDecl:
		if d.Tok == gotoken.CONST {
			return nil // the same for everybody
		}
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					names = append(names, s.Name.Name)
				}
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.IsExported() {
						names = append(names, n.Name+"()")
					}
				}
			}
		}
	}
	return names
}
