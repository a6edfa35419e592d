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
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	_ "github.com/aadpostgres/aadpostgres"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

const connections = 8

// demo is the main job once, told as it goes: what a program of one's own would
// do, through nothing but database/sql.
func demo(ctx context.Context, out io.Writer) (err error) {
	began := time.Now()
	say := func(step string, since time.Time, format string, args ...any) {
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
		name, v, _ := strings.Cut(kv, "=")
		if err := os.Setenv(name, v); err != nil {
			return err
		}
	}
	say("start", began, "an Entra, Azure's gateway, a real PostgreSQL")

	dsn := az.DSN("aad_auth=managed-identity")
	db, err := sql.Open("aadpostgres", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxIdleConns(connections)

	now := time.Now()
	conns, err := open(ctx, db)
	if err != nil {
		return err
	}
	var who, version string
	if err := conns[0].QueryRowContext(ctx, "select session_user, split_part(version(), ' ', 2)").Scan(&who, &version); err != nil {
		return err
	}
	say("sign in", now, "%d connections at once, each as %q", connections, who)
	fmt.Fprintf(out, "  %-11s %s, certificate verified; PostgreSQL %s\n", "", tlsVersion(conns[0]), version)
	for _, c := range conns {
		c.Close() // back to the pool
	}

	now = time.Now()
	total, copied, err := work(ctx, db)
	if err != nil {
		return err
	}
	say("work", now, "create, insert, transaction, COPY of %d rows", copied)
	fmt.Fprintf(out, "  %-11s select says %d rows\n", "", total)

	n := az.Counts()
	fmt.Fprintf(out, "\n  %d token request, %d sign-ins, %d refused; nothing is left behind.\n", n.Tokens, n.SignIns, n.Refused)
	if n.Tokens != 1 || n.SignIns != connections || n.Refused != 0 {
		return errors.New("the demo did not go as it should: want 1 token request and 8 sign-ins")
	}
	return nil
}

// open takes all connections at once, from cold.
func open(ctx context.Context, db *sql.DB) ([]*sql.Conn, error) {
	conns, errs := make([]*sql.Conn, connections), make([]error, connections)
	done := make(chan struct{})
	for i := range connections {
		go func() {
			conns[i], errs[i] = db.Conn(ctx)
			done <- struct{}{}
		}()
	}
	for range connections {
		<-done
	}
	return conns, errors.Join(errs...)
}

func work(ctx context.Context, db *sql.DB) (total, copied int64, err error) {
	if _, err = db.ExecContext(ctx, "create table greeting (id serial primary key, word text not null)"); err != nil {
		return 0, 0, err
	}
	defer func() {
		_, drop := db.ExecContext(ctx, "drop table greeting")
		err = errors.Join(err, drop)
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
	err = conn.Raw(func(raw any) (err error) {
		copied, err = raw.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{"greeting"}, []string{"word"},
			pgx.CopyFromSlice(1000, func(i int) ([]any, error) { return []any{fmt.Sprint("word ", i)}, nil }))
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	err = conn.QueryRowContext(ctx, "select count(*) from greeting").Scan(&total)
	return total, copied, err
}

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
