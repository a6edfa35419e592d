package tools

import (
	"context"
	"crypto/rand"
	"database/sql"
	sqldriver "database/sql/driver"
	"sync/atomic"
	"testing"

	"github.com/ngrok/sqlmw"

	"github.com/aadpostgres/aadpostgres/driver"
)

// A countingInterceptor counts the calls that it passes on.
type countingInterceptor struct {
	sqlmw.NullInterceptor
	connects, prepares, queries, begins atomic.Int64
}

func (c *countingInterceptor) ConnectorConnect(ctx context.Context, connector sqldriver.Connector) (sqldriver.Conn, error) {
	c.connects.Add(1)
	return c.NullInterceptor.ConnectorConnect(ctx, connector)
}

func (c *countingInterceptor) ConnPrepareContext(ctx context.Context, conn sqldriver.ConnPrepareContext, query string) (context.Context, sqldriver.Stmt, error) {
	c.prepares.Add(1)
	return c.NullInterceptor.ConnPrepareContext(ctx, conn, query)
}

func (c *countingInterceptor) ConnQueryContext(ctx context.Context, conn sqldriver.QueryerContext, query string, args []sqldriver.NamedValue) (context.Context, sqldriver.Rows, error) {
	c.queries.Add(1)
	return c.NullInterceptor.ConnQueryContext(ctx, conn, query, args)
}

func (c *countingInterceptor) ConnBeginTx(ctx context.Context, conn sqldriver.ConnBeginTx, opts sqldriver.TxOptions) (context.Context, sqldriver.Tx, error) {
	c.begins.Add(1)
	return c.NullInterceptor.ConnBeginTx(ctx, conn, opts)
}

func TestSqlmw(t *testing.T) {
	d := newTestDB(t)
	interceptor := &countingInterceptor{}
	name := "aadpostgres-mw-" + rand.Text()[:6]
	sql.Register(name, sqlmw.Driver(&driver.Driver{}, interceptor))
	db, err := sql.Open(name, d.DSN)
	check(t, err)
	defer db.Close()
	work := func(round int) {
		t.Helper()
		var who string
		check(t, db.QueryRowContext(t.Context(), "select session_user where $1 = 1", 1).Scan(&who))
		if who != d.Role {
			t.Errorf("session_user = %q, want %q", who, d.Role)
		}
		prepared, err := db.PrepareContext(t.Context(), "select $1::int + 1")
		check(t, err)
		defer prepared.Close()
		var sum int
		check(t, prepared.QueryRowContext(t.Context(), round).Scan(&sum))
		checkEqual(t, "a sum", sum, round+1)
		tx, err := db.BeginTx(t.Context(), nil)
		check(t, err)
		_, err = tx.ExecContext(t.Context(), "create table t (a int)")
		check(t, err)
		check(t, tx.Rollback())
		// One of each in a round: expire terminates the first round's session.
		n := int64(round)
		checkEqual(t, "connects, prepares, queries, transactions", []int64{interceptor.connects.Load(), interceptor.prepares.Load(), interceptor.queries.Load(), interceptor.begins.Load()}, []int64{n, n, n, n})
	}
	work(1)
	d.expire()
	work(2)
}
