package emulator

import (
	"context"
	_ "embed"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed azure.sql
var azureSQL string

// part returns a part of azure.sql.
func part(name string) string {
	_, after, _ := strings.Cut(azureSQL, "\n-- == "+name+"\n")
	text, _, _ := strings.Cut(after, "\n-- == ")
	return text
}

// provision makes a server that [postgres.start] has found one of Azure's.
func (p *postgres) provision(ctx context.Context, single bool) (err error) {
	if err := p.connect(ctx); err != nil {
		return err
	}
	if p.cmd == nil {
		if err := p.claim(ctx); err != nil {
			return err
		}
	}
	kind := "flexible"
	if single {
		kind = "single"
	}
	_, err = p.pool.Exec(ctx, part("common")+part(kind), pgx.QueryExecModeSimpleProtocol) // all of it or, as one transaction, nothing
	return err
}

// claim makes sure that no other emulator works on a given server, and removes
// what one has left there that was killed.
func (p *postgres) claim(ctx context.Context) error {
	lock, err := p.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	// A little patience: the session of one that has just ended may not have.
	_, err = lock.Exec(ctx, "SET lock_timeout = '1s'; SELECT pg_advisory_lock(hashtext('aadpostgres emulator')); RESET lock_timeout", pgx.QueryExecModeSimpleProtocol)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "55P03" {
		err = errors.New("emulator: another emulator uses the given PostgreSQL; close it, or give this one a server of its own")
	}
	if err != nil {
		lock.Release()
		return err
	}
	p.lock = lock
	return p.clear(ctx)
}

// clear removes from a given server what was made there: the databases of tests,
// the roles that are Entra's with all they own, Azure's own roles and the
// functions. What was there before stays.
func (p *postgres) clear(ctx context.Context) error {
	made := false
	err := p.pool.QueryRow(ctx, "SELECT to_regclass('pg_emulator.before') IS NOT NULL").Scan(&made)
	if err != nil || !made {
		return err
	}
	roles, err := p.list(ctx, `SELECT rolname::text FROM pg_roles r WHERE NOT EXISTS (SELECT FROM pg_emulator.before b WHERE b.role = r.oid)
		AND (rolname IN ('azure_pg_admin', 'azure_ad_user', 'azure_ad_admin') OR EXISTS (SELECT FROM pg_emulator.principals p WHERE p.id = r.oid))`)
	if err != nil {
		return err
	}
	owned, err := p.list(ctx, `SELECT datname::text FROM pg_database WHERE datname IN (SELECT name FROM pg_emulator.databases)
		OR datdba = ANY(SELECT oid FROM pg_roles WHERE rolname = ANY($1))`, roles)
	if err != nil {
		return err
	}
	for _, name := range owned {
		if _, err := p.pool.Exec(ctx, "DROP DATABASE "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
			return err
		}
	}
	if err := p.drop(ctx, roles); err != nil {
		return err
	}
	_, err = p.pool.Exec(ctx, part("remove"), pgx.QueryExecModeSimpleProtocol)
	return err
}

// drop drops roles with what they own and may in any database.
func (p *postgres) drop(ctx context.Context, roles []string) error {
	used, err := p.list(ctx, `SELECT DISTINCT datname::text FROM pg_shdepend d JOIN pg_database b ON b.oid = d.dbid
		WHERE refclassid = 'pg_authid'::regclass AND refobjid = ANY(SELECT oid FROM pg_roles WHERE rolname = ANY($1))`, roles)
	if err != nil {
		return err
	}
	// One by one: PostgreSQL stumbles over privileges that one gave to another. From
	// postgres goes what was granted on databases, too.
	for _, database := range append(used, "postgres") {
		config := p.pool.Config().ConnConfig
		config.Database = database
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		for _, role := range roles {
			_, failed := conn.Exec(ctx, "DROP OWNED BY "+pgx.Identifier{role}.Sanitize()+" CASCADE")
			err = errors.Join(err, failed)
		}
		if err = errors.Join(err, conn.Close(ctx)); err != nil {
			return err
		}
	}
	for _, role := range roles {
		if _, err := p.pool.Exec(ctx, "DROP ROLE "+pgx.Identifier{role}.Sanitize()); err != nil {
			return err
		}
	}
	return nil
}

func (p *postgres) list(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := p.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// leave closes what provision has opened. A server that was given is left as it
// was found.
func (p *postgres) leave() (err error) {
	if p.pool == nil {
		return nil
	}
	if p.lock != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		err = p.clear(ctx)
		p.lock.Conn().Close(ctx) // and the lock with it
		p.lock.Release()
	}
	p.pool.Close()
	return err
}
