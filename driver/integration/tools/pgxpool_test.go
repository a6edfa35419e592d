package tools

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/aadpostgres/aadpostgres/driver"
)

func TestPgxpool(t *testing.T) {
	d := newTestDB(t)
	ctx := t.Context()
	c, err := driver.NewConnector(d.DSN)
	check(t, err)
	defer c.Close()
	config, err := pgxpool.ParseConfig("") // settings of the pool, such as pool_max_conns
	check(t, err)
	config.ConnConfig, config.BeforeConnect = c.Config(), c.BeforeConnect
	config.MaxConns = 4
	pool, err := pgxpool.NewWithConfig(ctx, config)
	check(t, err)
	defer pool.Close()

	_, err = pool.Exec(ctx, "create table fruit (id int generated always as identity primary key, key uuid, name text unique, tags text[], extra jsonb, ripe timestamptz)")
	check(t, err)
	ripe := time.Date(2026, 3, 29, 2, 30, 0, 0, time.FixedZone("", 5*3600+1800))
	work := func(name string) {
		t.Helper()
		batch := &pgx.Batch{}
		batch.Queue("insert into fruit (name, tags, extra, ripe) values ($1, $2, $3, $4)", name, []string{"a", "b,c"}, map[string]any{"n": 1}, ripe)
		batch.Queue("select session_user::text, tags, extra->>'n', ripe from fruit where name = $1", name).QueryRow(func(row pgx.Row) error {
			var who, n string
			var tags []string
			var when time.Time
			err := row.Scan(&who, &tags, &n, &when)
			if who != d.Role || len(tags) != 2 || tags[1] != "b,c" || n != "1" || !when.Equal(ripe) {
				t.Errorf("row = %q, %q, %q, %v, want %q, 2 tags, 1, %v", who, tags, n, when, d.Role, ripe)
			}
			return err
		})
		check(t, pool.SendBatch(ctx, batch).Close())
		key := uuid.New()
		var was, is uuid.NullUUID
		update := "update fruit set key = @key where name = @name returning (select key from fruit where name = @name), key"
		check(t, pool.QueryRow(ctx, update, pgx.NamedArgs{"name": name, "key": key}).Scan(&was, &is))
		checkEqual(t, "keys", []uuid.NullUUID{was, is}, []uuid.NullUUID{{}, {UUID: key, Valid: true}})
		_, err := pool.Exec(ctx, "insert into fruit (name) values ($1)", name)
		checkEqual(t, "SQLSTATE of a second "+name, sqlState(err), "23505")
		n, err := pool.CopyFrom(ctx, pgx.Identifier{"fruit"}, []string{"name"}, pgx.CopyFromRows([][]any{{name + " 1"}, {name + " 2"}}))
		check(t, err)
		checkEqual(t, "rows copied", n, int64(2))
		check(t, pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { // the inner one is a savepoint
			err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "delete from fruit")
				return errors.Join(err, errors.New("no"))
			})
			checkError(t, err, "no")
			return nil
		}))
		check(t, pool.QueryRow(ctx, "select count(*) from fruit where name like $1", name+"%").Scan(&n))
		checkEqual(t, "rows of "+name, n, int64(3))
	}
	work("apple")
	listener, err := pool.Acquire(ctx)
	check(t, err)
	defer listener.Release()
	checkNotify(t, pool, listener)
	d.expire()
	late, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err = listener.Conn().WaitForNotification(late)
	checkEqual(t, "SQLSTATE of the listener's error", sqlState(err), "57P01")
	listener.Release()
	work("pear")
	again, err := pool.Acquire(ctx)
	check(t, err)
	defer again.Release()
	checkNotify(t, pool, again)
}

// checkNotify checks that listener receives a notification of another connection.
func checkNotify(t *testing.T, pool *pgxpool.Pool, listener *pgxpool.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := listener.Exec(ctx, "listen fruit")
	check(t, err)
	_, err = pool.Exec(ctx, "notify fruit, 'ripe'")
	check(t, err)
	n, err := listener.Conn().WaitForNotification(ctx)
	check(t, err)
	if n.Payload != "ripe" {
		t.Errorf("payload = %q, want %q", n.Payload, "ripe")
	}
}

// TestPgxpoolWithout omits BeforeConnect: the config alone has no password.
func TestPgxpoolWithout(t *testing.T) {
	d := newTestDB(t)
	c, err := driver.NewConnector(d.DSN + " user=" + d.Role)
	check(t, err)
	defer c.Close()
	config, err := pgxpool.ParseConfig("")
	check(t, err)
	config.ConnConfig = c.Config()
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	check(t, err)
	defer pool.Close()
	checkError(t, pool.Ping(t.Context()), "no token was set for this connection")
}
