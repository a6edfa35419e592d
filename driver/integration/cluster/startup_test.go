//go:build linux && cluster

package cluster

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Of what a DSN can set at startup PgBouncer takes what it follows itself, and
// refuses the rest with an error that names it.
func TestStartupParameters(t *testing.T) {
	id := newIdentity(t, "starter")
	port, cert := newPgBouncer(t, nil)
	signIn := func(params ...string) string {
		return poolerDSN(port, cert, append(params, "aad_auth=managed-identity", "aad_client_id="+id.ClientID, "default_query_exec_mode=cache_describe")...)
	}
	for _, param := range []string{"application_name=app", "client_encoding=UTF8", "datestyle=ISO", "timezone=UTC", "standard_conforming_strings=on", "target_session_attrs=read-write"} {
		if err := openDB(t, signIn(param)).Ping(); err != nil {
			t.Errorf("%s: %v", param, err)
		}
	}
	for _, param := range []string{"search_path=public", "statement_timeout=5000", "lock_timeout=5000", "idle_in_transaction_session_timeout=5000",
		"default_transaction_read_only=on", "extra_float_digits=1", "options='-c statement_timeout=5000'"} {
		err := openDB(t, signIn(param)).Ping()
		if err == nil || !strings.Contains(err.Error(), "unsupported startup parameter") || !strings.Contains(err.Error(), "drop it") {
			t.Errorf("%s: %v", param, err)
		}
		t.Logf("%s: %v", param, err)
	}
}

// What a user does instead: ALTER ROLE or ALTER DATABASE, which hold for every
// session, or SET LOCAL. SET stays with a session that others get next;
// ignore_startup_parameters lets the client in, and the setting go.
func TestSettings(t *testing.T) {
	id := newIdentity(t, "setter")
	port, cert := newPgBouncer(t, map[string]string{"default_pool_size": "1", "ignore_startup_parameters": "search_path"})
	open := func(params ...string) *sql.DB {
		db := openDB(t, poolerDSN(port, cert, append(params, "aad_auth=managed-identity", "aad_client_id="+id.ClientID, "default_query_exec_mode=cache_describe")...))
		db.SetMaxOpenConns(1)
		return db
	}
	show := func(db *sql.DB, setting, want string) {
		t.Helper()
		if err := checkRow(t.Context(), db, want, "select current_setting($1)", setting); err != nil {
			t.Errorf("%s: %v", setting, err)
		}
	}
	execIn(t, "postgres", "ALTER ROLE "+pgx.Identifier{id.Name}.Sanitize()+" SET lock_timeout = '7s'")
	mine, others := open("search_path=elsewhere"), open()
	show(mine, "lock_timeout", "7s")
	show(others, "lock_timeout", "7s")
	show(mine, "search_path", `"$user", public`)

	tx, err := mine.BeginTx(t.Context(), nil)
	check(t, err)
	_, err = tx.ExecContext(t.Context(), "set local statement_timeout = '8s'")
	check(t, err)
	var inside string
	check(t, tx.QueryRowContext(t.Context(), "show statement_timeout").Scan(&inside))
	check(t, tx.Commit())
	if inside != "8s" {
		t.Errorf("in the transaction: %s", inside)
	}
	show(others, "statement_timeout", "0")

	_, err = mine.ExecContext(t.Context(), "set statement_timeout = '9s'")
	check(t, err)
	show(others, "statement_timeout", "9s")
}

// A value whose type pgx takes from the server's description of the query, as a
// map for jsonb, needs a mode that asks for one.
func TestJSONByMode(t *testing.T) {
	id := newIdentity(t, "describer")
	port, cert := newPgBouncer(t, nil)
	for mode, want := range map[string][2]string{ // errors with a map, and with bytes
		"cache_describe":  {"", ""},
		"exec":            {"unable to encode map", "22P02"},
		"simple_protocol": {"unable to encode map", "22P02"},
	} {
		db := openDB(t, poolerDSN(port, cert, "aad_auth=managed-identity", "aad_client_id="+id.ClientID, "default_query_exec_mode="+mode))
		const query = "select $1::jsonb ->> 'a'"
		for i, value := range []any{map[string]any{"a": "b"}, []byte(`{"a": "b"}`)} {
			err := checkRow(context.Background(), db, "b", query, value)
			if want[i] == "" && err != nil || want[i] != "" && (err == nil || !strings.Contains(err.Error(), want[i])) {
				t.Errorf("%s: %T as jsonb: %v, want %q", mode, value, err, want[i])
			}
		}
		if err := checkRow(context.Background(), db, "b", query, `{"a": "b"}`); err != nil {
			t.Errorf("%s: a string as jsonb: %v", mode, err)
		}
	}
}
