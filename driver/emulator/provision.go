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

// sqlSection returns a section of azure.sql.
func sqlSection(name string) string {
	_, after, _ := strings.Cut(azureSQL, "\n-- == "+name+"\n")
	text, _, _ := strings.Cut(after, "\n-- == ")
	return text
}

// provision installs Azure's roles and functions on the server.
func (p *postgres) provision(ctx context.Context, single bool) error {
	if err := p.openPool(ctx); err != nil {
		return err
	}
	if p.cmd == nil {
		if err := p.lockServer(ctx); err != nil {
			return err
		}
	}
	serverType := "flexible"
	if single {
		serverType = "single"
	}
	var err error
	for _, p.schema = range schemas {
		_, err = p.pool.Exec(ctx, p.sql(sqlSection("common")+sqlSection(serverType)), pgx.QueryExecModeSimpleProtocol) // one transaction
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != "42939" { // reserved_name
			break
		}
	}
	return err
}

// schemas are the names of the schema with the emulator's own tables and functions. pg_dump
// ignores the first, which PostgreSQL reserves for itself. Some servers, such as those with
// Citus, refuse it even to a superuser and have the second.
var schemas = []string{"pg_emulator", "aadpostgres_emulator"}

// sql returns SQL that is written for the first of the schemas, for the server's.
func (p *postgres) sql(text string) string { return strings.ReplaceAll(text, schemas[0], p.schema) }

// lockServer makes sure that no other emulator uses the server of WithPostgres, and
// removes what an emulator that was killed has left there.
func (p *postgres) lockServer(ctx context.Context) error {
	lock, err := p.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	// The timeout is for an emulator that has just been closed: PostgreSQL may not have
	// ended its session yet.
	_, err = lock.Exec(ctx, "SET lock_timeout = '1s'; SELECT pg_advisory_lock(hashtext('aadpostgres emulator')); RESET lock_timeout", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		lock.Release()
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code == "55P03" {
			return errors.New("emulator: another emulator uses the given PostgreSQL; close it, or give this one another server")
		}
		return err
	}
	p.lock = lock
	return p.cleanUp(ctx)
}

// cleanUp removes from the server of WithPostgres what emulators have created there: the
// databases of tests, the Entra roles with everything that they own, Azure's own roles and
// the functions.
func (p *postgres) cleanUp(ctx context.Context) error {
	for _, p.schema = range schemas {
		provisioned := false
		err := p.pool.QueryRow(ctx, p.sql("SELECT to_regclass('pg_emulator.preexisting_roles') IS NOT NULL")).Scan(&provisioned)
		if err != nil {
			return err
		}
		if !provisioned {
			continue
		}
		if err := p.cleanUpSchema(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cleanUpSchema is cleanUp for an emulator that has used this schema.
func (p *postgres) cleanUpSchema(ctx context.Context) error {
	roles, err := p.queryNames(ctx, `SELECT rolname::text FROM pg_roles r WHERE NOT EXISTS (SELECT FROM pg_emulator.preexisting_roles e WHERE e.id = r.oid)
		AND (rolname IN ('azure_pg_admin', 'azure_ad_user', 'azure_ad_admin') OR EXISTS (SELECT FROM pg_emulator.principals p WHERE p.id = r.oid))`)
	if err != nil {
		return err
	}
	databases, err := p.queryNames(ctx, `SELECT datname::text FROM pg_database WHERE datname IN (SELECT name FROM pg_emulator.databases)
		OR datdba = ANY(SELECT oid FROM pg_roles WHERE rolname = ANY($1))`, roles)
	if err != nil {
		return err
	}
	for _, name := range databases {
		if _, err := p.pool.Exec(ctx, "DROP DATABASE "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
			return err
		}
	}
	if err := p.dropRoles(ctx, roles); err != nil {
		return err
	}
	_, err = p.pool.Exec(ctx, p.sql(sqlSection("remove")), pgx.QueryExecModeSimpleProtocol)
	return err
}

// dropRoles drops roles with their objects and privileges in every database.
func (p *postgres) dropRoles(ctx context.Context, roles []string) error {
	databases, err := p.queryNames(ctx, `SELECT DISTINCT datname::text FROM pg_shdepend d JOIN pg_database b ON b.oid = d.dbid
		WHERE refclassid = 'pg_authid'::regclass AND refobjid = ANY(SELECT oid FROM pg_roles WHERE rolname = ANY($1))`, roles)
	if err != nil {
		return err
	}
	// In postgres, DROP OWNED also revokes the privileges on databases.
	for _, database := range append(databases, "postgres") {
		if err := p.dropOwned(ctx, database, roles); err != nil {
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

// dropOwned drops the objects and privileges of roles in a database. It takes one role at
// a time, because PostgreSQL fails on privileges that one of them has granted to another.
func (p *postgres) dropOwned(ctx context.Context, database string, roles []string) error {
	config := p.pool.Config().ConnConfig
	config.Database = database
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	for _, role := range roles {
		_, dropErr := conn.Exec(ctx, "DROP OWNED BY "+pgx.Identifier{role}.Sanitize()+" CASCADE")
		err = errors.Join(err, dropErr)
	}
	return errors.Join(err, conn.Close(ctx))
}

func (p *postgres) queryNames(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := p.pool.Query(ctx, p.sql(query), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// deprovision reverts provision. It does not clean up a server of the emulator's own,
// which is about to be removed.
func (p *postgres) deprovision() (err error) {
	if p.pool == nil {
		return nil
	}
	if p.lock != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		err = p.cleanUp(ctx)
		p.lock.Conn().Close(ctx) // releases the advisory lock
		p.lock.Release()
	}
	p.pool.Close()
	return err
}
