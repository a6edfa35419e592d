package emulator

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Grant makes a PostgreSQL role named as the identity and maps it to it.
func (a *Azure) Grant(ctx context.Context, id Identity) error {
	conn, err := pgx.Connect(ctx, a.postgres.dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	// The role's password is the gateway's secret: nobody else gets in with it.
	r := role{identity: id, password: rand.Text()}
	name := pgx.Identifier{id.Name}.Sanitize()
	stored, err := verifier(r.password)
	if err != nil {
		return err
	}
	if _, err = conn.Exec(ctx, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", name, stored)); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("GRANT CREATE ON SCHEMA public TO %s", name))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roles[id.Name] = r
	return err
}

type role struct {
	identity Identity
	password string
}

func (a *Azure) roleNames() []string {
	var names []string
	for name := range a.roles {
		names = append(names, name)
	}
	return names
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
