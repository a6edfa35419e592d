package main

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	_ "github.com/aadpostgres/aadpostgres"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// connections is how many connections the demo opens.
const connections = 8

// demo signs in and works as a user's program would, through database/sql only, and prints
// each step.
func demo(ctx context.Context, out io.Writer) (err error) {
	start := time.Now()
	report := func(step string, since time.Time, format string, args ...any) {
		fmt.Fprintf(out, "  %-11s %-52s %5d ms\n", step, fmt.Sprintf(format, args...), time.Since(since).Milliseconds())
	}
	fmt.Fprintln(out, "aadpostgres: PostgreSQL, signed in with Microsoft Entra")
	fmt.Fprintln(out)

	az, err := emulator.New(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, az.Close()) }()
	env, err := az.Environ(emulator.AppService, az.Identity("app"))
	if err != nil {
		return err
	}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	report("start", start, "an emulated Entra and gateway, a real PostgreSQL")

	db, err := sql.Open("aadpostgres", az.DSN("aad_auth=managed-identity"))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxIdleConns(connections)

	start = time.Now()
	conns, err := connect(ctx, db)
	if err != nil {
		return err
	}
	var user, version string
	err = conns[0].QueryRowContext(ctx, "select session_user, split_part(version(), ' ', 2)").Scan(&user, &version)
	if err != nil {
		return err
	}
	report("sign in", start, "%d connections at once, each as %q", connections, user)
	fmt.Fprintf(out, "  %-11s %s, certificate verified; PostgreSQL %s\n", "", tlsVersion(conns[0]), version)
	for _, c := range conns {
		c.Close() // back to the pool
	}

	start = time.Now()
	total, copied, err := work(ctx, db)
	if err != nil {
		return err
	}
	report("work", start, "create, insert, transaction, COPY of %d rows", copied)
	fmt.Fprintf(out, "  %-11s select count(*) returns %d\n", "", total)

	counts := az.Counts()
	fmt.Fprintf(out, "\n  %d token request, %d sign-ins, %d refused; nothing is left behind.\n", counts.Tokens, counts.SignIns, counts.Refused)
	if counts.Tokens != 1 || counts.SignIns != connections || counts.Refused != 0 {
		return errors.New("the demo failed: want 1 token request, 8 sign-ins, 0 refused")
	}
	return nil
}

// connect opens all connections concurrently.
func connect(ctx context.Context, db *sql.DB) ([]*sql.Conn, error) {
	conns := make([]*sql.Conn, connections)
	errs := make([]error, connections)
	var wg sync.WaitGroup
	for i := range connections {
		wg.Go(func() { conns[i], errs[i] = db.Conn(ctx) })
	}
	wg.Wait()
	return conns, errors.Join(errs...)
}

// work writes rows in several ways, and returns how many rows there are and how many COPY
// has written.
func work(ctx context.Context, db *sql.DB) (total, copied int64, err error) {
	if _, err = db.ExecContext(ctx, "create table greeting (id serial primary key, word text not null)"); err != nil {
		return 0, 0, err
	}
	defer func() {
		_, dropErr := db.ExecContext(ctx, "drop table greeting")
		err = errors.Join(err, dropErr)
	}()
	if _, err = db.ExecContext(ctx, "insert into greeting (word) values ($1), ($2)", "hello", "hallo"); err != nil {
		return 0, 0, err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, 0, err
	}
	defer tx.Rollback() // does nothing after Commit
	if _, err = tx.ExecContext(ctx, "insert into greeting (word) values ($1)", "hej"); err != nil {
		return 0, 0, err
	}
	if err = tx.Commit(); err != nil {
		return 0, 0, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	rows := pgx.CopyFromSlice(1000, func(i int) ([]any, error) { return []any{fmt.Sprint("word ", i)}, nil })
	err = conn.Raw(func(raw any) (err error) {
		copied, err = raw.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{"greeting"}, []string{"word"}, rows)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	err = conn.QueryRowContext(ctx, "select count(*) from greeting").Scan(&total)
	return total, copied, err
}

// tlsVersion returns the TLS version of a connection, as crypto/tls names it.
func tlsVersion(conn *sql.Conn) (version string) {
	version = "no TLS"
	conn.Raw(func(raw any) error {
		if t, ok := raw.(*stdlib.Conn).Conn().PgConn().Conn().(*tls.Conn); ok {
			version = tls.VersionName(t.ConnectionState().Version)
		}
		return nil
	})
	return version
}
