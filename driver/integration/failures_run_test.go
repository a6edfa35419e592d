package integration

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

var update = flag.Bool("update", false, "write testdata/failures anew")

// A scene is the emulated Azure of one kind of server, with those who sign in there.
type fixture struct {
	az           *emulator.Azure
	single       bool
	admin        emulator.Identity // Entra administrator
	app          emulator.Identity // a managed identity with the role "billing", which has a secret too
	user         emulator.Identity // a person with a role
	group        emulator.Identity // with a role
	opts         []driver.Option   // of the row
	noIMDS       bool
	replacements []string // what to write in place of what differs from run to run
}

func newFixture(t *testing.T, opts ...emulator.Option) *fixture {
	fx := &fixture{az: emulator.Start(t, opts...), single: len(opts) > 0}
	add := func(id emulator.Identity, grant func(context.Context, emulator.Identity) error) emulator.Identity {
		id.ClientID, id.ObjectID = newGUID(), newGUID() // azidentity keeps tokens by client id, for all runs in one process
		id = fx.az.Add(id)
		if grant != nil {
			if err := grant(context.Background(), id); err != nil {
				t.Fatal(err)
			}
		}
		word := strings.Fields(id.Name)[0]
		fx.replacements = append(fx.replacements, id.ClientID, "<"+word+"'s client id>", id.ObjectID, "<"+word+"'s object id>")
		return id
	}
	fx.admin = add(emulator.Identity{Name: "admin@contoso.com", Kind: emulator.User}, fx.az.GrantAdmin)
	fx.app = add(emulator.Identity{Name: "billing", Secret: "s3cr3t " + rand.Text()}, fx.az.Grant)
	fx.user = add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User}, fx.az.Grant)
	fx.group = add(emulator.Identity{Name: "Readers", Kind: emulator.Group}, fx.az.Grant)
	fx.replacements = append(fx.replacements, emulator.TenantID, "<tenant>", fx.app.Secret, "<secret>", fx.az.CertFile(), "<ca.pem>", fmt.Sprint(fx.az.Port()), "<port>",
		fx.app.ResourceID, "<billing's resource id>")
	return fx
}

func newGUID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// A failure is one row: how it comes about, and how what the error says to do is
// done.
type failure struct {
	name   string
	dsn    string // params, ids in braces; host= leads to the emulator by another name
	cause  string // what is wrong, for people
	single bool
	token  func(s *fixture) string        // in the password's place
	setup  func(t *testing.T, s *fixture) // makes it so
	// Exactly one of these: mend follows the hint and returns the DSN that works then;
	// undo is for what no client can mend, and takes the world's fault away.
	fix     func(t *testing.T, s *fixture, dsn string, e *driver.Error) string
	restore func(t *testing.T, s *fixture)
}

func (fx *fixture) dsn(params string) string {
	params = fill(params, fx.app)
	if !strings.HasPrefix(params, "host=") {
		return fx.az.DSN(params)
	}
	base := fx.az.DSN()
	return base[strings.Index(base, " ")+1:] + " " + params // the first is host
}

// Every failure: what the error and the doctor say, kept in testdata/failures, and
// that what they say to do makes the connection work.
func TestFailures(t *testing.T) {
	scenes := map[bool]*fixture{false: newFixture(t), true: newFixture(t, emulator.WithSingleServer())}
	seen, broken := map[string]bool{}, map[string]bool{}
	for _, f := range failures {
		if seen[f.goldenFile()] || (f.fix == nil) == (f.restore == nil) {
			t.Fatalf("row %q is there twice, or has not one way out", f.name)
		}
		seen[f.goldenFile()] = true
		t.Run(f.name, func(t *testing.T) { broken[f.run(t, scenes[f.single])] = true })
	}
	for _, check := range []string{"options", "cloud", "credential", "token", "claims", "user", "dns", "tcp", "tls", "sign-in"} {
		if !broken[check] {
			t.Errorf("no row breaks the check %s", check)
		}
	}
	files, _ := filepath.Glob("testdata/failures/*.txt")
	for _, file := range files {
		if !seen[file] {
			t.Errorf("%s is of no row", file)
		}
	}
}

var nonAlphanumeric = regexp.MustCompile(`[^a-z0-9]+`)

// file is where the row's golden text is, by a name that every system takes.
func (f failure) goldenFile() string {
	return filepath.Join("testdata", "failures", nonAlphanumeric.ReplaceAllString(strings.ReplaceAll(strings.ToLower(f.name), "'", ""), "-")+".txt")
}

// test returns the check at which the doctor ended.
func (f failure) run(t *testing.T, fx *fixture) string {
	fx.az.SetenvOn(t, emulator.VirtualMachine, fx.app)
	fx.noIMDS = false
	fx.opts = []driver.Option{fx.newTransport(), resolveToEmulator}
	if f.token != nil {
		t.Setenv("PGPASSWORD", f.token(fx))
	}
	if f.setup != nil {
		f.setup(t, fx)
	}
	dsn := fx.dsn(f.dsn)
	_, err := connect(t, dsn, fx.opts...)
	var e *driver.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	var doctor strings.Builder
	last := driver.Check{}
	for c := range driver.Diagnose(t.Context(), dsn, fx.opts...) {
		fmt.Fprintf(&doctor, "%-4s  %-10s %s\n", c.Status, c.Name, c.Found)
		if c.Hint != "" {
			fmt.Fprintf(&doctor, "      %-10s -> %s\n", "", c.Hint)
		}
		last = c
	}
	if last.Status != driver.StatusFail {
		t.Errorf("the doctor found nothing:\n%s", &doctor)
	}
	shown := fx.normalize(fmt.Sprintf("%s\n\n%s\n\n%s\n\n%s", f.cause, dsn, err, &doctor))
	for _, secret := range []string{"eyJ", fx.app.Secret} {
		if strings.Contains(err.Error()+doctor.String(), secret) {
			t.Errorf("a secret is shown: %s", shown)
		}
	}
	golden(t, f.goldenFile(), shown)
	fx.opts[0] = fx.newTransport() // what failed is remembered for a second
	if f.fix != nil {
		dsn = f.fix(t, fx, dsn, e)
	} else {
		f.restore(t, fx)
	}
	if _, err := connect(t, dsn, fx.opts...); err != nil {
		t.Errorf("after what the hint says (%s): %v", e.Hint, err)
	}
	return last.Name
}

// fresh is a transport that shares no token with what was before. Nothing answers
// on the way to a metadata service, unless the row is about one.
func (fx *fixture) newTransport() driver.Option {
	return driver.WithTransport(&testTransport{client: *fx.az.Client(), noIMDS: fx.noIMDS})
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	want, err := os.ReadFile(file)
	switch {
	case err == nil && string(want) == got:
	case *update:
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s: %v; write it with -update if this is right:\n%s", file, err, got)
	}
}

var volatile = []struct {
	is *regexp.Regexp
	as string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)?`), "<time>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d`), "<date>"},
	{regexp.MustCompile(`\b(\d+h)?\d+m\d+s\b`), "<a while>"},
	{regexp.MustCompile(`issued \S+ ago`), "issued <a while> ago"},
	{regexp.MustCompile(`read tcp \S+: read: connection reset by peer|unexpected EOF|\bEOF\b`), "<cut off>"},
	{regexp.MustCompile(`issued by "[^"]*", until`), `issued by <ca>, until`},
	{regexp.MustCompile(`127\.0\.0\.1:\d{4,5}`), "127.0.0.1:<port>"},
}

func (fx *fixture) normalize(text string) string {
	text = strings.NewReplacer(fx.replacements...).Replace(text)
	for _, v := range volatile {
		text = v.is.ReplaceAllString(text, v.as)
	}
	return text
}

// superuser runs SQL past the gateway, as superuser.
func (fx *fixture) execAsSuperuser(t *testing.T, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), fx.az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range statements {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// asAdmin signs in as the Entra administrator, in database postgres.
func (fx *fixture) connectAsAdmin(t *testing.T) *sql.Conn {
	t.Helper()
	user := fx.admin.Name
	if fx.single {
		user += "@" + emulator.ServerName
	}
	c, err := driver.NewConnector(fx.az.DSN("user="+user, "aad_auth=access-token", "password="+fx.az.Token(fx.admin, nil)))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() { db.Close() })
	conn, err := db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

var hintSQL = regexp.MustCompile(`(?s)(?:in database postgres|database's owner|administrator): (.*;)`)

// runSQL does what the hint says: it runs its SQL, as administrator.
func applySQL(t *testing.T, fx *fixture, dsn string, e *driver.Error) string {
	t.Helper()
	m := hintSQL.FindStringSubmatch(e.Hint)
	if m == nil {
		t.Fatalf("no SQL in the hint: %s", e.Hint)
	}
	conn := fx.connectAsAdmin(t)
	defer conn.Close()
	err := conn.Raw(func(raw any) error { return execSimple(raw, m[1]) })
	if err != nil {
		t.Errorf("%s: %v", m[1], err)
	}
	return dsn
}

var hintSetting = regexp.MustCompile(`\b(?:aad_\w+|user)=(?:'(?:[^'\\]|\\.)*'|[^\s;,]+)`)

// setKey does what the hint says: it writes the key that it names into the DSN.
func applySetting(t *testing.T, fx *fixture, dsn string, e *driver.Error) string {
	t.Helper()
	m := strings.TrimRight(hintSetting.FindString(e.Hint), ":.")
	key, _, ok := strings.Cut(m, "=")
	if !ok {
		t.Fatalf("no key in the hint: %s", e.Hint)
	}
	return regexp.MustCompile(`\b`+key+`=('(?:[^'\\]|\\.)*'|\S+)`).ReplaceAllLiteralString(dsn, "") + " " + m
}

// replaced is a mend by hand, where the hint leaves the value to people.
func replace(old, with string) func(*testing.T, *fixture, string, *driver.Error) string {
	return func(t *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
		if !strings.Contains(dsn, fill(old, fx.app)) {
			t.Fatalf("%q is not in the DSN", old)
		}
		return strings.ReplaceAll(dsn, fill(old, fx.app), fill(with, fx.app))
	}
}

// given is a mend by a new token in the password's place.
func withToken(token func(fx *fixture) string) func(*testing.T, *fixture, string, *driver.Error) string {
	return func(t *testing.T, fx *fixture, dsn string, _ *driver.Error) string {
		t.Setenv("PGPASSWORD", token(fx))
		return dsn
	}
}

// lost is a host whose look-up fails as Go's resolver does.
var failLookup = driver.WithConnConfig(func(c *pgx.ConnConfig) {
	c.LookupFunc = func(_ context.Context, host string) ([]string, error) {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
})
