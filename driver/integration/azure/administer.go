package azure

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// administrator returns the administrator's session, and opens another one if it has ended.
func (r *run) administrator(ctx context.Context) (*pgx.Conn, error) {
	if r.admin != nil && r.admin.Ping(ctx) == nil {
		return r.admin, nil
	}
	conn, err := r.signIn(ctx, Admin, nil)
	if err != nil {
		return nil, err
	}
	if r.admin != nil {
		r.admin.Close(ctx)
	}
	r.admin = conn
	return conn, nil
}

// exec runs a statement as administrator.
func (r *run) exec(ctx context.Context, sql string, args ...any) error {
	conn, err := r.administrator(ctx)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql, args...)
	return err
}

// query reads one row as administrator.
func (r *run) query(ctx context.Context, into []any, sql string, args ...any) error {
	conn, err := r.administrator(ctx)
	if err != nil {
		return err
	}
	return conn.QueryRow(ctx, sql, args...).Scan(into...)
}

// newName returns a role's name that nobody has, and masks it.
func (r *run) newName(kind string) string {
	name := "aadpostgres_" + strings.ToLower(rand.Text()[:12])
	r.mask.add(kind, name)
	return name
}

// newID returns an object ID that nobody has, and masks it.
func (r *run) newID() string {
	id := uuid.NewString()
	r.mask.add("new ID", id)
	return id
}

// createRole creates a role with an object ID and returns its name, or "" if it failed. The
// role is dropped when the run ends.
func (t *trial) createRole(ctx context.Context, objectID, objectType string) string {
	role := t.newName("new role")
	if objectID == "" {
		t.skip("the token has no such ID")
		return ""
	}
	if t.failed("creating a role", t.exec(ctx, createWithOID, role, objectID, objectType, false)) {
		return ""
	}
	t.dropLater(role)
	return role
}

// dropLater has a role dropped when the run ends.
func (r *run) dropLater(role string) { r.roles = append(r.roles, role) }

// dropRoles drops what the run has created.
func (r *run) dropRoles(ctx context.Context) error {
	var errs []error
	for _, role := range r.roles {
		errs = append(errs, r.exec(ctx, "DROP ROLE IF EXISTS "+quoteName(role)))
	}
	return errors.Join(errs...)
}

// typeOf returns the type of a principal as labels have it.
func (t *trial) typeOf(who credentials) string {
	if who.Claims.Type == "app" {
		return "service"
	}
	return "user"
}

func quoteName(name string) string { return pgx.Identifier{name}.Sanitize() }
