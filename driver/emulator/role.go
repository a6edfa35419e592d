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

// Grant creates a PostgreSQL role for an identity that [Azure.Add] has returned. The role
// has the identity's name. An Entra administrator can do the same by SQL: see
// [Azure.GrantAdmin].
func (a *Azure) Grant(ctx context.Context, id Identity) error { return a.grant(ctx, id, false) }

// GrantAdmin is [Azure.Grant] for an Entra administrator, who can create roles for others
// as Azure's documentation describes: in the database postgres by
// pgaadauth_create_principal, its variants and SECURITY LABEL, and on single server by
// CREATE ROLE ... IN ROLE azure_ad_user.
func (a *Azure) GrantAdmin(ctx context.Context, id Identity) error { return a.grant(ctx, id, true) }

func (a *Azure) grant(ctx context.Context, id Identity, admin bool) error {
	kind := objectType(id)
	if (kind != User && kind != Group && kind != serviceType) || id.ObjectID == "" {
		return fmt.Errorf("emulator: %q is of kind %q with the object id %q; grant what Add has returned, of kind %s, %s, %s or %s", id.Name, id.Kind, id.ObjectID, User, Group, ServicePrincipal, ManagedIdentity)
	}
	verifier := a.gatewayVerifier
	if a.single && kind == serviceType {
		var err error
		if verifier, err = scramVerifier(id.ClientID); err != nil {
			return err
		}
	}
	// PostgreSQL does not wait for a concurrent grant on the same schema, but fails.
	a.grantMu.Lock()
	defer a.grantMu.Unlock()
	err := pgx.BeginFunc(ctx, a.postgres.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, a.postgres.sql("SELECT pg_emulator.create_role($1, $2, $3, $4, false)"), id.Name, id.ObjectID, kind, admin); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, alterPassword(id.Name, verifier))
		return err
	})
	if err != nil {
		return err
	}
	config, err := a.postgres.config()
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, config) // whose database may differ from the pool's
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "GRANT CREATE ON SCHEMA public TO "+pgx.Identifier{id.Name}.Sanitize())
	return err
}

// alterPassword returns the statement that sets what PostgreSQL stores of a password.
func alterPassword(role, verifier string) string {
	return fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", pgx.Identifier{role}.Sanitize(), verifier)
}

// serviceType is the object type of applications and managed identities in Azure's SQL
// functions. Those of users and groups are equal to their kinds.
const serviceType = "service"

// objectType returns the object type of an identity in Azure's SQL functions.
func objectType(id Identity) string {
	if id.Kind == ManagedIdentity || id.Kind == ServicePrincipal {
		return serviceType
	}
	return id.Kind
}

// A principal is the identity that a PostgreSQL role is mapped to.
type principal struct {
	role       string
	objectType string // "" on single server if the directory does not have it
	oid        string
	admin      bool
	password   string // opens the role's sessions; "" means the client id in the token
}

// lookUpPrincipal returns the principal of a role of PostgreSQL. A native role, and one
// that does not exist, is not mapped.
func (a *Azure) lookUpPrincipal(ctx context.Context, server *postgres, role string) (_ principal, mapped bool, err error) {
	if !utf8.ValidString(role) { // PostgreSQL has no such role and would fail
		return principal{}, false, nil
	}
	p, verifier, err := server.queryPrincipal(ctx, role)
	if errors.Is(err, pgx.ErrNoRows) {
		return principal{}, false, nil
	}
	if err != nil {
		return principal{}, false, err
	}
	if verifier != a.gatewayVerifier {
		if a.single && verifier != "" {
			p.objectType = serviceType
			return p, true, nil
		}
		if err := a.setGatewayPassword(ctx, server, p.role); err != nil {
			return principal{}, false, err
		}
	}
	p.password = a.gatewayPassword
	return p, true, nil
}

func (p *postgres) queryPrincipal(ctx context.Context, role string) (result principal, verifier string, err error) {
	err = p.pool.QueryRow(ctx, p.sql("SELECT role::text, kind, oid, admin, coalesce(password, '') FROM pg_emulator.principals WHERE role = $1::name"), role).
		Scan(&result.role, &result.objectType, &result.oid, &result.admin, &verifier)
	return result, verifier, err
}

// setGatewayPassword gives a role that SQL has created the password with which the gateway
// opens its sessions.
func (a *Azure) setGatewayPassword(ctx context.Context, server *postgres, role string) error {
	// PostgreSQL does not wait for a concurrent change of the same role, but fails.
	a.passwordMu.Lock()
	defer a.passwordMu.Unlock()
	if _, verifier, err := server.queryPrincipal(ctx, role); err != nil || verifier == a.gatewayVerifier {
		return err
	}
	_, err := server.pool.Exec(ctx, alterPassword(role, a.gatewayVerifier))
	return err
}

// scramVerifier returns what PostgreSQL stores of a password, with 16 iterations instead
// of PostgreSQL's 4,096. Iterations slow down guessing, but also each sign-in of the
// gateway, and a password of 128 random bits cannot be guessed. The format:
// https://www.postgresql.org/docs/current/catalog-pg-authid.html
func scramVerifier(password string) (string, error) {
	const iterations = 16
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	mac := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	storedKey := sha256.Sum256(mac("Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, b64(salt), b64(storedKey[:]), b64(mac("Server Key"))), nil
}
