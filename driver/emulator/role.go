package emulator

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// Grant makes a PostgreSQL role named as the identity and maps it to it. SQL can
// do the same, in a session of an Entra administrator: see [Azure.GrantAdmin].
func (a *Azure) Grant(ctx context.Context, id Identity) error { return a.grant(ctx, id, false) }

// GrantAdmin is Grant for an Entra administrator, who may make roles for others as
// Azure's documentation has it: with pgaadauth_create_principal and its kind or
// SECURITY LABEL, in the database postgres; on single server with CREATE ROLE ...
// IN ROLE azure_ad_user.
func (a *Azure) GrantAdmin(ctx context.Context, id Identity) error { return a.grant(ctx, id, true) }

func (a *Azure) grant(ctx context.Context, id Identity, admin bool) error {
	if kind := objectType(id); (kind != User && kind != Group && kind != service) || id.ObjectID == "" {
		return fmt.Errorf("emulator: %q is of kind %q with the object id %q; grant what Add has returned, of kind %s, %s, %s or %s", id.Name, id.Kind, id.ObjectID, User, Group, ServicePrincipal, ManagedIdentity)
	}
	stored := a.verifier
	if a.single && objectType(id) == service {
		var err error
		if stored, err = verifier(id.ClientID); err != nil {
			return err
		}
	}
	name := pgx.Identifier{id.Name}.Sanitize()
	a.granting.Lock() // PostgreSQL does not wait for another grant on the same schema: it fails
	defer a.granting.Unlock()
	err := pgx.BeginFunc(ctx, a.postgres.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_emulator.make($1, $2, $3, $4, false)", id.Name, id.ObjectID, objectType(id), admin); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", name, stored))
		return err
	})
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, a.postgres.dsn) // its database need not be the pool's
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, fmt.Sprintf("GRANT CREATE ON SCHEMA public TO %s", name))
	return err
}

// service is the object type that pgaadauth has for applications and managed
// identities; for users and groups it is the kind's own name.
const service = "service"

// objectType returns the kind as pgaadauth calls it.
func objectType(id Identity) string {
	if id.Kind == ManagedIdentity || id.Kind == ServicePrincipal {
		return service
	}
	return id.Kind
}

// A principal is whom a PostgreSQL role is mapped to.
type principal struct {
	role, kind, oid string
	admin           bool
	password        string // the gateway's, or none: the client id that the token has
}

// principal asks PostgreSQL to whom a role is mapped. A role of PostgreSQL's own,
// like one that does not exist, is mapped to nobody.
func (a *Azure) principal(ctx context.Context, server *postgres, name string) (_ principal, mapped bool, err error) {
	if !utf8.ValidString(name) { // then it is no role's
		return principal{}, false, nil
	}
	p, stored, err := server.lookUp(ctx, name)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return principal{}, false, nil
	case err != nil:
		return principal{}, false, err
	case stored == a.verifier:
	case a.single && stored != "":
		p.kind = service
		return p, true, nil
	default:
		if err := a.adopt(ctx, server, p.role); err != nil {
			return principal{}, false, err
		}
	}
	p.password = a.password
	return p, true, nil
}

func (p *postgres) lookUp(ctx context.Context, name string) (who principal, stored string, err error) {
	err = p.pool.QueryRow(ctx, "SELECT role::text, kind, oid, admin, coalesce(password, '') FROM pg_emulator.principals WHERE role = $1::name", name).
		Scan(&who.role, &who.kind, &who.oid, &who.admin, &stored)
	return who, stored, err
}

// adopt gives a role that SQL has made the password by which the gateway opens its
// sessions. PostgreSQL does not wait for a change of the same role: it fails.
func (a *Azure) adopt(ctx context.Context, server *postgres, role string) error {
	a.adopting.Lock()
	defer a.adopting.Unlock()
	if _, stored, err := server.lookUp(ctx, role); err != nil || stored == a.verifier {
		return err
	}
	_, err := server.pool.Exec(ctx, fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", pgx.Identifier{role}.Sanitize(), a.verifier))
	return err
}

// verifier is what PostgreSQL stores of a password, with 16 iterations for its
// own 4,096: they slow down a guess and, as much, each of the gateway's sign-ins,
// and there is nothing to guess in a password of 128 random bits.
// The format: https://www.postgresql.org/docs/current/catalog-pg-authid.html
func verifier(password string) (string, error) {
	const iterations = 16
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	mac := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored, b64 := sha256.Sum256(mac("Client Key")), base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, b64(salt), b64(stored[:]), b64(mac("Server Key"))), err
}
