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

// queries have parameters and check their result.
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
	func(ctx context.Context, db *sql.DB, i int) error { // an array as parameter and as result
		var got []int64
		want := []int64{int64(i), -1, 7}
		err := db.QueryRowContext(ctx, "select $1::bigint[] || $2::bigint", want[:2], 7).Scan(pgtype.NewMap().SQLScanner(&got))
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("array = %v, want %v", got, want)
		}
		return err
	},
	func(ctx context.Context, db *sql.DB, i int) error { // one of fifty texts
		return checkRow(ctx, db, int64(i), fmt.Sprintf("select $1::bigint as c%d", i%50), i)
	},
	func(ctx context.Context, db *sql.DB, i int) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		var before, after int // a transaction has one session
		if err := tx.QueryRowContext(ctx, "insert into done (key, extra) values ($1, $2) returning pg_backend_pid()", i, `{"of": "a transaction"}`).Scan(&before); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, "select pg_backend_pid() from done where key = $1 and extra ->> 'of' = $2", i, "a transaction").Scan(&after); err != nil {
			return err
		}
		if before != after {
			return fmt.Errorf("session of the transaction = %d, then %d, want one", before, after)
		}
		return tx.Commit()
	},
}

// checkRow checks the result of a query, which is one value.
func checkRow[T comparable](ctx context.Context, db *sql.DB, want T, query string, args ...any) error {
	var got T
	err := db.QueryRowContext(ctx, query, args...).Scan(&got)
	if err == nil && got != want {
		err = fmt.Errorf("%s = %v, want %v", query, got, want)
	}
	return err
}

// runQueries runs n queries from 12 goroutines. It returns the number of failures, in total
// and by errorCode.
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

// errorCode returns the error's SQLSTATE, or its text if it has none.
func errorCode(err error) string {
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) {
		return pg.Code
	}
	return err.Error()
}

// TestTransactionMode runs queries in each of pgx's modes. PgBouncer in transaction mode
// gives each transaction any of five sessions, so a statement that was prepared in one is
// missing in another, unless max_prepared_statements is set. That exists since 1.21 and is
// on by default since 1.24. cache_statement, pgx's default, prepares statements; the other
// modes do not.
func TestTransactionMode(t *testing.T) {
	prepares := pgbouncerMinor(t) >= 24
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
			t.Logf("%d of %d queries failed (%.1f %%) %v", failed, mode.n, 100*float64(failed)/float64(mode.n), by)
			if mode.good != (failed == 0) {
				t.Errorf("failures = %d, want some: %t", failed, !mode.good)
			}
			if !mode.good && by["42P05"]+by["26000"]+by["25P02"] != failed { // a wrong result has another code
				t.Errorf("failures = %v, want only statements that exist or do not", by)
			}
			signIns := az.Counts().SignIns - before
			clients := db.Stats().OpenConnections
			db.Close() // its sessions keep the database from being dropped
			if mode.good {
				var rows int
				queryIn(t, database.Name, &rows, "select count(*) from done")
				if rows != mode.n/len(queries) {
					t.Errorf("transactions = %d, want %d", rows, mode.n/len(queries))
				}
				t.Logf("%d clients, %d sign-ins to the gateway", clients, signIns)
				if clients != 12 {
					t.Errorf("clients = %d, want 12", clients)
				}
				// PAM signs in for each client, and PgBouncer for each of its five sessions.
				if limit := int64(clients + 5); signIns > limit {
					t.Errorf("sign-ins = %d for %d clients, want at most %d", signIns, clients, limit)
				}
			}
		})
	}
}
