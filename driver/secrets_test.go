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
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// Everything that is exported prints without secrets, in every form, as a value and as a
// pointer, alone and within another value, also as a field that is not exported. A new
// exported name must be added here.
func TestNothingExportedPrintsASecret(t *testing.T) {
	entratest.CleanEnv(t)
	checked := map[string]bool{}
	for _, tt := range printedExports(t) {
		checked[tt.name] = true
		t.Run(tt.name, func(t *testing.T) {
			for _, v := range tt.values {
				for _, v := range append(unexportedFields(v), v, []any{v}, map[string]any{"k": v}, struct{ V any }{v}, &v) {
					for _, form := range printedForms(v) {
						name := fmt.Sprintf("%T as %s", v, form.name)
						checkNoSecret(t, name, form.text)
						if strings.Contains(strings.ToLower(form.text), hex.EncodeToString([]byte(entratest.Marker))) {
							t.Errorf("%s = %s, want no secret in it", name, form.text)
						}
					}
				}
			}
		})
	}
	for _, exempt := range unprintedExports {
		for name := range strings.FieldsSeq(exempt.names) {
			checked[name] = true
		}
	}
	for _, name := range exported(t, "dsn", "../dsn", "driver", ".") {
		if !checked[name] {
			t.Errorf("%s is exported and not checked, want it in printedExports or unprintedExports", name)
		}
	}
}

// unprintedExports are the exported names that TestNothingExportedPrintsASecret does not
// check, and why.
var unprintedExports = []struct{ reason, names string }{
	{"they return what is checked by its type", `dsn.Parse() dsn.ParseEnv() dsn.Config.Clone() dsn.Clouds() dsn.Keys() dsn.Modes() dsn.OS() dsn.NewSecret()
		driver.WithCredential() driver.WithDeviceCodePrompt() driver.WithLogger() driver.WithOpenFunc() driver.WithConnConfig() driver.WithTLSConfig() driver.WithTransport()`},
	{"they are constant", `driver.RoleKinds()`},
	{"they know no secret", `driver.Register() driver.Connector.Close() driver.Role.SQL() driver.Role.Apply()`},
	{"they exist for the secret", `dsn.Config.DSN() dsn.Secret.Value() driver.Connector.Credentials() driver.Connector.BeforeConnect()`},
}

// A printedExport is an exported type, with values of it that hold secrets, or an exported
// function, with what it returns.
type printedExport struct {
	name   string
	values []any
}

func printedExports(t *testing.T) []printedExport {
	t.Helper()
	const secrets = "aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=" + entratest.Marker
	parse := func(s string) *dsn.Config {
		cfg, err := dsn.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	cfg := parse("host=h sslpassword=" + entratest.Marker + " " + secrets)
	certificate := parse("host=h aad_auth=client-certificate aad_client_certificate=f aad_client_certificate_password=" + entratest.Marker)

	withSecret := newConnector(t, "host=h user=u "+secrets)
	withToken := newConnector(t, "host=h user=u aad_auth=access-token password="+entratest.Marker)
	withPassword := newConnector(t, "host=h user=u aad_auth=password password="+entratest.Marker)
	credential := opaqueCredential(entratest.Marker)
	withCache := newConnector(t, "host=h user=u", WithCredential(credential))
	if _, err := tokenOf(t.Context(), withCache); err != nil {
		t.Fatal(err)
	}
	login, err := withCache.Credentials(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if login.Password.Value() != entratest.Marker {
		t.Fatalf("password = %q, want the token", login.Password.Value())
	}

	_, errParse := NewConnector("host=h user=u port=x password=" + entratest.Marker + " aad_auth=password")
	_, errDial := newConnector(t, "host=127.0.0.1 port=1 user=u sslmode=disable aad_auth=password password="+entratest.Marker).Connect(t.Context())
	var connect *pgconn.ConnectError
	if !errors.As(errDial, &connect) {
		t.Fatalf("Connect() = %v, want a *pgconn.ConnectError", errDial)
	}
	connect.Config.Password = entratest.Marker // where pgx itself would have it
	errToken := errContext{}.explainToken(fmt.Errorf("first line\n%s", entratest.Marker))

	var checks []any
	for c := range Diagnose(t.Context(), "host=127.0.0.1 port=1 user=u "+secrets, WithCredential(credential)) {
		checks = append(checks, c)
	}
	for c := range Diagnose(t.Context(), "host=127.0.0.1 port=1 user=u aad_auth=password password="+entratest.Marker) {
		checks = append(checks, c)
	}

	return []printedExport{
		{"dsn.Config", []any{*cfg, cfg, certificate, cfg.Clone()}},
		{"dsn.Config.Host()", []any{cfg.Host()}},
		{"dsn.Config.ConnString()", []any{cfg.ConnString()}},
		{"dsn.Config.String()", []any{cfg.String()}},
		{"dsn.Config.Format()", []any{fmt.Sprintf("%d %t", cfg, *certificate)}},
		{"dsn.Config.LogValue()", []any{cfg.LogValue()}},
		{"dsn.Config.MarshalText()", results(cfg.MarshalText())},
		{"dsn.Config.GobEncode()", results(cfg.GobEncode())},
		{"dsn.Secret", []any{cfg.ClientSecret, &cfg.SSLPassword}},
		{"dsn.Secret.String()", []any{cfg.ClientSecret.String()}},
		{"dsn.Secret.Format()", []any{fmt.Sprintf("%d %t", cfg.ClientSecret, cfg.SSLPassword)}},
		{"dsn.Secret.MarshalText()", results(cfg.ClientSecret.MarshalText())},
		{"dsn.Key", []any{dsn.Keys()[5]}},
		{"dsn.Mode", []any{dsn.Default}},
		{"dsn.ModeInfo", []any{dsn.Modes()[0]}},
		{"dsn.Env", []any{dsn.OS}},
		{"dsn.Cloud", []any{dsn.Clouds()[0]}},
		{"dsn.Cloud.Scope()", []any{dsn.Clouds()[0].Scope()}},
		{"dsn.CloudOf()", []any{dsn.CloudOf(entratest.Marker)}},
		{"dsn.CloudOfAuthority()", []any{dsn.CloudOfAuthority(entratest.Marker)}},
		{"dsn.CloudOfResource()", []any{dsn.CloudOfResource(entratest.Marker)}},

		{"driver.NewConnector()", []any{errParse}},
		{"driver.Connector", []any{withSecret, withToken, withPassword, withCache}},
		{"driver.Connector.Config()", []any{*withSecret.Config(), *withToken.Config(), *withCache.Config()}},
		{"driver.Connector.Connect()", []any{errDial}},
		{"driver.Connector.Driver()", []any{withSecret.Driver()}},
		{"driver.Connector.Format()", []any{fmt.Sprintf("%d %t", withSecret, withPassword)}},
		{"driver.Connector.Stats()", []any{withCache.Stats()}},
		{"driver.Connector.String()", []any{withSecret.String(), withToken.String(), withPassword.String(), withCache.String()}},
		{"driver.Driver", []any{withSecret.Driver(), *withSecret.driver}},
		{"driver.Driver.Open()", results((&Driver{}).Open("host=h " + secrets + " x"))},
		{"driver.Driver.OpenConnector()", results((&Driver{}).OpenConnector("host=h " + secrets + " x"))},
		{"driver.Option", []any{WithCredential(credential)}},
		{"driver.Stats", []any{withCache.Stats()}},
		{"driver.Role", []any{Role{Name: "r", Kind: "user"}}},
		{"driver.Status", []any{StatusOK}},
		{"driver.Check", checks},
		{"driver.Diagnose()", checks},

		{"driver.Credentials", []any{login, &login}},
		{"driver.Credentials.String()", []any{login.String()}},
		{"driver.Credentials.Format()", []any{fmt.Sprint(login)}},
		{"driver.Credentials.MarshalText()", results(login.MarshalText())},
		{"driver.Credentials.GobEncode()", results(login.GobEncode())},

		{"driver.Error", []any{errDial, errToken, *errToken, errParse, errors.Join(errDial), fmt.Errorf("wrapped: %w", errDial)}},
		{"driver.Error.Error()", []any{errDial.Error(), errToken.Error(), errParse.Error()}},
		{"driver.Error.GoString()", []any{errToken.GoString()}},
		{"driver.Error.MarshalText()", results(errToken.MarshalText())},
		{"driver.Error.Unwrap()", []any{errParse.(*Error).Unwrap().Error()}}, // checkSafeError checks what others wrap
	}
}

// unexportedFields returns values that hold v in fields whose methods fmt cannot call.
func unexportedFields(v any) []any {
	field := struct{ v any }{v}
	values := []any{field, &field}
	switch v := v.(type) {
	case dsn.Config:
		values = append(values, struct{ v dsn.Config }{v}, &struct{ v []dsn.Config }{[]dsn.Config{v}}, struct{ v map[string]dsn.Config }{map[string]dsn.Config{"k": v}})
	case *dsn.Config:
		values = append(values, struct{ v *dsn.Config }{v}, struct{ v dsn.Config }{*v})
	case dsn.Secret:
		values = append(values, struct{ v dsn.Secret }{v}, struct{ v *dsn.Secret }{&v})
	case Credentials:
		values = append(values, struct{ v Credentials }{v}, &struct{ v []Credentials }{[]Credentials{v}})
	case Error:
		return nil // %s prints the text of its cause, which is public. Errors are pointers.
	case Check:
		values = append(values, struct{ v Check }{v})
	}
	return values
}

// results lists what a call returned.
func results(v any, err error) []any {
	if b, ok := v.([]byte); ok {
		v = string(b)
	}
	return []any{v, err}
}

// A printedForm is a value as a program may print it.
type printedForm struct{ name, text string }

// printedForms prints v in every form.
func printedForms(v any) []printedForm {
	var forms []printedForm
	add := func(name, text string) { forms = append(forms, printedForm{name, text}) }
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X"} {
		add(verb, fmt.Sprintf(verb, v))
	}
	b, err := json.Marshal(v)
	add("JSON", fmt.Sprint(string(b), err))
	b, err = xml.Marshal(v)
	add("XML", fmt.Sprint(string(b), err))
	var encoded strings.Builder
	err = gob.NewEncoder(&encoded).Encode(v)
	add("gob", fmt.Sprint(encoded.String(), err))
	add("expvar", expvar.Func(func() any { return v }).String())
	var text, jsonText strings.Builder
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "k", v)
	slog.New(slog.NewJSONHandler(&jsonText, nil)).Info("m", "k", v)
	add("slog text", text.String())
	add("slog JSON", jsonText.String())
	return forms
}

// exported lists the exported names of packages, each of which is given as its name and
// its folder. Functions, methods and variables have parentheses. Constants are left out.
func exported(t *testing.T, packages ...string) (names []string) {
	t.Helper()
	for i := 0; i < len(packages); i += 2 {
		files, err := filepath.Glob(filepath.Join(packages[i+1], "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 {
			t.Fatalf("no Go files in %s", packages[i+1])
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				for _, name := range exportedBy(d) {
					names = append(names, packages[i]+"."+name)
				}
			}
		}
	}
	return names
}

// exportedBy lists the exported names of one declaration.
func exportedBy(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if d.Recv != nil {
			receiver := d.Recv.List[0].Type
			if star, ok := receiver.(*ast.StarExpr); ok {
				receiver = star.X
			}
			if !ast.IsExported(receiver.(*ast.Ident).Name) {
				return nil
			}
			name = receiver.(*ast.Ident).Name + "." + name
		}
		if d.Name.IsExported() {
			names = append(names, name+"()")
		}
	case *ast.GenDecl:
		if d.Tok == gotoken.CONST {
			return nil
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
