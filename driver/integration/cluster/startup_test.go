//go:build linux && cluster

package cluster

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestStartupParameters checks which settings a DSN can have. PgBouncer accepts those that
// it tracks itself, which are more from 1.26 on, and rejects the others with an error that
// names them.
func TestStartupParameters(t *testing.T) {
	id := newIdentity(t, "starter")
	port, cert := newPgBouncer(t, nil)
	signIn := func(params ...string) string {
		return poolerDSN(port, cert, append(params, "aad_auth=managed-identity", "aad_client_id="+id.ClientID, "default_query_exec_mode=cache_describe")...)
	}
	const never = 1000
	minor := pgbouncerMinor(t)
	for _, row := range []struct {
		param string
		since int // minor version of PgBouncer that accepts it
	}{
		{"application_name=app", 0},
		{"client_encoding=UTF8", 0},
		{"datestyle=ISO", 0},
		{"timezone=UTC", 0},
		{"standard_conforming_strings=on", 0},
		{"target_session_attrs=read-write", 0},
		{"intervalstyle=iso_8601", 20},
		{"search_path=public", 26},
		{"default_transaction_read_only=on", 26},
		{"statement_timeout=5000", never},
		{"lock_timeout=5000", never},
		{"idle_in_transaction_session_timeout=5000", never},
		{"extra_float_digits=1", never},
		{"options='-c statement_timeout=5000'", never},
	} {
		t.Run(row.param, func(t *testing.T) {
			err := openDB(t, signIn(row.param)).Ping()
			if minor >= row.since {
				if err != nil {
					t.Errorf("Ping() = %v, want nil with PgBouncer 1.%d", err, minor)
				}
				return
			}
			t.Logf("Ping() = %v", err)
			checkErrorText(t, err, "unsupported startup parameter")
			checkErrorText(t, err, "remove it")
		})
	}
}

// checkErrorText reports an error that does not contain want.
func checkErrorText(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error = %v, want %q", err, want)
	}
}

// TestSettings checks what to use instead of startup parameters. ALTER ROLE and ALTER
// DATABASE apply to every session, and SET LOCAL to a transaction. SET changes a session
// that another client gets next. ignore_startup_parameters accepts the client and ignores
// the setting.
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
		t.Errorf("statement_timeout in the transaction = %q, want %q", inside, "8s")
	}
	show(others, "statement_timeout", "0")

	_, err = mine.ExecContext(t.Context(), "set statement_timeout = '9s'")
	check(t, err)
	show(others, "statement_timeout", "9s")
}

// TestJSONByMode passes values for a parameter of type jsonb. pgx encodes a map only in a
// mode that asks the server for the parameter's type.
func TestJSONByMode(t *testing.T) {
	id := newIdentity(t, "describer")
	port, cert := newPgBouncer(t, nil)
	for _, tt := range []struct{ mode, mapError, bytesError string }{ // "": none
		{"cache_describe", "", ""},
		{"exec", "unable to encode map", "22P02"},
		{"simple_protocol", "unable to encode map", "22P02"},
	} {
		db := openDB(t, poolerDSN(port, cert, "aad_auth=managed-identity", "aad_client_id="+id.ClientID, "default_query_exec_mode="+tt.mode))
		for _, value := range []struct {
			name, wantErr string
			value         any
		}{
			{"map", tt.mapError, map[string]any{"a": "b"}},
			{"bytes", tt.bytesError, []byte(`{"a": "b"}`)},
			{"string", "", `{"a": "b"}`},
		} {
			t.Run(tt.mode+", "+value.name, func(t *testing.T) {
				err := checkRow(t.Context(), db, "b", "select $1::jsonb ->> 'a'", value.value)
				if value.wantErr != "" {
					checkErrorText(t, err, value.wantErr)
				} else if err != nil {
					t.Error(err)
				}
			})
		}
	}
}
