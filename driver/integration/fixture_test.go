package integration

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// A fixture is the emulated Azure with a server of one type and with identities.
type fixture struct {
	az           *emulator.Azure
	single       bool
	admin        emulator.Identity // Entra administrator
	app          emulator.Identity // a managed identity with the role "billing" and with a secret
	user         emulator.Identity // with a role
	group        emulator.Identity // with a role
	opts         []driver.Option   // of the row that is running
	noIMDS       bool
	replacements []string // pairs for strings.NewReplacer: what differs in each run, and what to write for it
}

// newFixture starts an emulator. With an option it has a single server.
func newFixture(t *testing.T, opts ...emulator.Option) *fixture {
	fx := &fixture{az: emulator.Start(t, opts...), single: len(opts) > 0}
	add := func(id emulator.Identity, grant func(context.Context, emulator.Identity) error) emulator.Identity {
		// azidentity caches tokens by client id in the whole process, also with -count.
		id.ClientID = newGUID()
		id.ObjectID = newGUID()
		id = fx.az.Add(id)
		if err := grant(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		name := strings.Fields(id.Name)[0]
		fx.replacements = append(fx.replacements, id.ClientID, "<"+name+"'s client id>", id.ObjectID, "<"+name+"'s object id>")
		return id
	}
	fx.admin = add(emulator.Identity{Name: "admin@contoso.com", Kind: emulator.User}, fx.az.GrantAdmin)
	fx.app = add(emulator.Identity{Name: "billing", Secret: "s3cr3t " + rand.Text()}, fx.az.Grant)
	fx.user = add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User}, fx.az.Grant)
	fx.group = add(emulator.Identity{Name: "Readers", Kind: emulator.Group}, fx.az.Grant)
	fx.replacements = append(fx.replacements, emulator.TenantID, "<tenant>", fx.app.Secret, "<secret>", fx.az.CertFile(), "<ca.pem>",
		fmt.Sprint(fx.az.Port()), "<port>", fx.app.ResourceID, "<billing's resource id>")
	return fx
}

func newGUID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// dsn returns the emulator's DSN with params, in which names in braces are app's ids. A
// host at their beginning replaces the emulator's.
func (fx *fixture) dsn(params string) string {
	params = fill(params, fx.app)
	if !strings.HasPrefix(params, "host=") {
		return fx.az.DSN(params)
	}
	base := fx.az.DSN()
	return base[strings.Index(base, " ")+1:] + " " + params // the base begins with its host
}

// newTransport returns a transport that shares no cached token with any other. Unless the
// row is about a metadata service, none is reachable.
func (fx *fixture) newTransport() driver.Option {
	return driver.WithTransport(&testTransport{client: *fx.az.Client(), noIMDS: fx.noIMDS})
}

// volatile texts differ from run to run.
var volatile = []struct {
	pattern     *regexp.Regexp
	replacement string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)?`), "<time>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d`), "<date>"},
	{regexp.MustCompile(`\b(\d+h)?\d+m\d+s\b`), "<a while>"},
	{regexp.MustCompile(`issued \S+ ago`), "issued <a while> ago"},
	{regexp.MustCompile(`read tcp \S+: read: connection reset by peer|unexpected EOF|\bEOF\b`), "<cut off>"},
	{regexp.MustCompile(`issued by "[^"]*", until`), `issued by <ca>, until`},
	{regexp.MustCompile(`the token, which has \d+ bytes`), "the token, which has <length> bytes"},
	{regexp.MustCompile(`127\.0\.0\.1:\d{4,5}`), "127.0.0.1:<port>"},
}

// normalize replaces what differs from run to run.
func (fx *fixture) normalize(text string) string {
	text = strings.NewReplacer(fx.replacements...).Replace(text)
	for _, v := range volatile {
		text = v.pattern.ReplaceAllString(text, v.replacement)
	}
	return text
}

// execAsSuperuser runs SQL as superuser, not through the gateway.
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

// connectAsAdmin signs in as the Entra administrator, in database postgres.
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

// grant adds an identity and creates its role.
func (fx *fixture) grant(t *testing.T, id emulator.Identity) {
	t.Helper()
	if err := fx.az.Grant(context.Background(), fx.az.Add(id)); err != nil {
		t.Fatal(err)
	}
}
