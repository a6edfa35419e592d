package tools

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// TestSQLRaw uses what pgx has and database/sql has not: notifications, COPY and batches.
func TestSQLRaw(t *testing.T) {
	d := newTestDB(t)
	db, ctx := d.open(), t.Context()
	_, err := db.ExecContext(ctx, notes)
	check(t, err)
	raw := func(f func(*pgx.Conn) error) {
		t.Helper()
		conn, err := db.Conn(ctx)
		check(t, err)
		defer conn.Close()
		check(t, conn.Raw(func(raw any) error { return f(raw.(*stdlib.Conn).Conn()) }))
	}
	once := func(body string) {
		t.Helper()
		raw(func(listener *pgx.Conn) error {
			if _, err := listener.Exec(ctx, "LISTEN said"); err != nil {
				return err
			}
			// raw holds one connection, so the pool uses another.
			if _, err := db.ExecContext(ctx, "SELECT pg_notify('said', $1)", body); err != nil {
				return err
			}
			n, err := listener.WaitForNotification(ctx)
			if err == nil {
				checkEqual(t, "notification", n.Payload, body)
			}
			return err
		})
		raw(func(conn *pgx.Conn) error {
			rows := [][]any{{body + " 1", []string{"x"}, map[string]any{"n": 1}, born}, {body + " 2", nil, nil, nil}}
			n, err := conn.CopyFrom(ctx, pgx.Identifier{"notes"}, []string{"body", "tags", "extra", "said"}, pgx.CopyFromRows(rows))
			checkEqual(t, "rows copied", n, int64(2))
			return err
		})
		raw(func(conn *pgx.Conn) error {
			var out strings.Builder
			_, err := conn.PgConn().CopyTo(ctx, &out, "COPY (SELECT body, tags, by FROM notes WHERE starts_with(body, '"+body+"') ORDER BY 1) TO STDOUT")
			checkEqual(t, "copied out", out.String(), body+" 1\t{x}\t"+d.Role+"\n"+body+" 2\t\\N\t"+d.Role+"\n")
			return err
		})
		raw(func(conn *pgx.Conn) error {
			batch := &pgx.Batch{}
			for _, tt := range []struct {
				tag  string
				want int
			}{{"x", 1}, {"y", 0}} {
				batch.Queue("SELECT count(*) FROM notes WHERE starts_with(body, $1) AND $2 = ANY(tags)", body, tt.tag).QueryRow(func(row pgx.Row) error {
					var got int
					err := row.Scan(&got)
					checkEqual(t, "notes with "+tt.tag, got, tt.want)
					return err
				})
			}
			return conn.SendBatch(ctx, batch).Close()
		})
	}
	once("early")
	d.expire()
	once("late")
}

// TestSQLCancel checks that a context which ends also cancels the query on the server,
// through the gateway.
func TestSQLCancel(t *testing.T) {
	d := newTestDB(t)
	db := d.open()
	for half := range 2 {
		conn, err := db.Conn(t.Context())
		check(t, err)
		slow, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err = conn.ExecContext(slow, "SELECT pg_advisory_lock(1), pg_sleep(600)")
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ExecContext() = %v, want %v", err, context.DeadlineExceeded)
		}
		conn.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err = db.ExecContext(ctx, "SELECT pg_advisory_lock(1), pg_advisory_unlock(1)") // waits until the canceled query releases the lock
		cancel()
		check(t, err)
		if half == 0 {
			d.expire()
		}
	}
}

// TestSQLTimezone sets a parameter of the session, in a DSN and in a URL.
func TestSQLTimezone(t *testing.T) {
	d := newTestDB(t)
	for _, dsn := range []string{d.DSN + " timezone=Europe/Berlin", d.URL + "&timezone=Europe%2FBerlin"} {
		db, err := sql.Open("aadpostgres", dsn)
		check(t, err)
		var zone, text, said string
		var back time.Time
		check(t, db.QueryRowContext(t.Context(), "SELECT current_setting('timezone'), '2026-07-01 12:00Z'::timestamptz::text, $1::timestamptz::text, $1::timestamptz", born).Scan(&zone, &text, &said, &back))
		checkEqual(t, "timezone", zone, "Europe/Berlin")
		checkEqual(t, "12:00Z", text, "2026-07-01 14:00:00+02")
		checkEqual(t, "born", said, "1934-02-17 20:17:03.456789+01")
		if !back.Equal(born) {
			t.Errorf("born = %v, want %v", back, born)
		}
		check(t, db.Close())
	}
}
