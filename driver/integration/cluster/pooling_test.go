//go:build linux && cluster

package cluster

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// asked are queries with parameters, each with the answer that it must have.
var queries = []func(ctx context.Context, db *sql.DB, i int) error{
	func(ctx context.Context, db *sql.DB, i int) error {
		return checkRow(ctx, db, int64(i+7), "select $1::bigint + $2::bigint", i, 7)
	},
	func(ctx context.Context, db *sql.DB, i int) error {
		return checkRow(ctx, db, fmt.Sprintf("key %d é'", i), "select $1::text || ' ' || $2::int || ' ' || $3::text", "key", i, "é'")
	},
	func(ctx context.Context, db *sql.DB, i int) error {
		return checkRow(ctx, db, fmt.Sprint(i), "select $1::jsonb #>> '{a,1}'", fmt.Sprintf(`{"a": [0, %d]}`, i))
	},
	func(ctx context.Context, db *sql.DB, i int) error { // there and back
		var got []int64
		want := []int64{int64(i), -1, 7}
		err := db.QueryRowContext(ctx, "select $1::bigint[] || $2::bigint", want[:2], 7).Scan(pgtype.NewMap().SQLScanner(&got))
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("%v, want %v", got, want)
		}
		return err
	},
	func(ctx context.Context, db *sql.DB, i int) error { // one of a kind
		return checkRow(ctx, db, int64(i), fmt.Sprintf("select $1::bigint as c%d", i%50), i)
	},
	func(ctx context.Context, db *sql.DB, i int) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		var before, after int // the session is the transaction's own
		if err := tx.QueryRowContext(ctx, "insert into done (key, extra) values ($1, $2) returning pg_backend_pid()", i, `{"of": "a transaction"}`).Scan(&before); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, "select pg_backend_pid() from done where key = $1 and extra ->> 'of' = $2", i, "a transaction").Scan(&after); err != nil {
			return err
		}
		if before != after {
			return fmt.Errorf("a transaction went from session %d to %d", before, after)
		}
		return tx.Commit()
	},
}

// row holds a query against its answer.
func checkRow[T comparable](ctx context.Context, db *sql.DB, want T, query string, args ...any) error {
	var got T
	err := db.QueryRowContext(ctx, query, args...).Scan(&got)
	if err == nil && got != want {
		err = fmt.Errorf("%s: %v, want %v", query, got, want)
	}
	return err
}

// storm runs n queries from 12 goroutines and returns how many have failed, by
// SQLSTATE or else by text.
func runQueries(t *testing.T, db *sql.DB, n int) (failed int, by map[string]int) {
	const routines = 12
	db.SetMaxOpenConns(routines)
	db.SetMaxIdleConns(routines)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var next atomic.Int64
	by = map[string]int{}
	for range routines {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				if err := queries[i%len(queries)](t.Context(), db, i); err != nil {
					mu.Lock()
					failed++
					by[errorCode(err)]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return failed, by
}

func errorCode(err error) string {
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) {
		return pg.Code
	}
	return err.Error()
}

// PgBouncer in transaction mode gives each transaction any of five sessions, so
// what a client prepares in one is not in the next, unless PgBouncer sees to it. What
// decides is its max_prepared_statements: it came with 1.21, and is on by default from
// 1.24. pgx's default mode prepares; cache_describe, exec and simple_protocol do not.
func TestTransactionMode(t *testing.T) {
	prepares := pgbouncerMinor(t) >= 24 // these PgBouncers have the default
	id := newIdentity(t, "pooled")
	port, cert := newPgBouncer(t, nil)
	for _, mode := range []struct {
		name string
		n    int
		good bool
	}{{"cache_describe", 10_000, true}, {"exec", 4_000, true}, {"simple_protocol", 4_000, true}, {"cache_statement", 2_400, prepares}} {
		t.Run(mode.name, func(t *testing.T) {
			database := az.Database(t)
			execIn(t, database.Name, `CREATE TABLE done (key int PRIMARY KEY, extra jsonb); GRANT ALL ON done TO PUBLIC`)
			before := az.Counts().SignIns
			db := openDB(t, poolerDSN(port, cert, "dbname="+database.Name, "aad_auth=managed-identity", "aad_client_id="+id.ClientID, "default_query_exec_mode="+mode.name))
			failed, by := runQueries(t, db, mode.n)
			t.Logf("%s: %d of %d queries failed (%.1f %%) %v", mode.name, failed, mode.n, 100*float64(failed)/float64(mode.n), by)
			if mode.good != (failed == 0) {
				t.Errorf("%s: %d failures", mode.name, failed)
			}
			if !mode.good && by["42P05"]+by["26000"]+by["25P02"] != failed { // no answer is a wrong one
				t.Errorf("%s: failures of another kind than a statement that is there or is not: %v", mode.name, by)
			}
			signIns := az.Counts().SignIns - before
			clients := db.Stats().OpenConnections
			db.Close() // its sessions hold the database
			if mode.good {
				var rows int
				queryIn(t, database.Name, &rows, "select count(*) from done")
				if rows != mode.n/len(queries) {
					t.Errorf("%d transactions are done, want %d", rows, mode.n/len(queries))
				}
				// Each client signs in, by PAM; and each of the sessions that they share.
				t.Logf("%d clients, %d sign-ins at the gateway", clients, signIns)
				if signIns > int64(clients+5) || clients != 12 {
					t.Errorf("%d sign-ins for %d clients", signIns, clients)
				}
			}
		})
	}
}
