package tools

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"slices"
	"testing"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
)

// errSqlmock is the error without the registration, which lasts for the whole process.
var _, errSqlmock = sql.Open("aadpostgres-mock", "host=h aad_auth=managed-identity")

// TestSqlmock has go-sqlmock as its server. No token is used, so none expires.
func TestSqlmock(t *testing.T) {
	mocked, mock, err := sqlmock.NewWithDSN("TestSqlmock")
	check(t, err)
	defer mocked.Close()
	open := func(_ context.Context, config *pgx.ConnConfig) (sqldriver.Conn, error) {
		if config.Host != "app.postgres.database.azure.com" {
			return nil, fmt.Errorf("host %q", config.Host)
		}
		return mocked.Driver().Open("TestSqlmock")
	}
	if !slices.Contains(sql.Drivers(), "aadpostgres-mock") { // a second call panics, as with -count
		driver.Register("aadpostgres-mock", driver.WithOpenFunc(open))
	}
	db, err := sql.Open("aadpostgres-mock", "host=app.postgres.database.azure.com user=app aad_auth=managed-identity")
	check(t, err)
	defer db.Close()
	mock.ExpectBegin()
	mock.ExpectExec("insert into fruit").WithArgs("apple").WillReturnResult(sqlmock.NewResult(0, 1))
	mock.ExpectCommit()
	mock.ExpectQuery("select name from fruit").WillReturnRows(sqlmock.NewRows([]string{"name"}).AddRow("apple"))
	tx, err := db.BeginTx(t.Context(), nil)
	check(t, err)
	_, err = tx.Exec("insert into fruit (name) values ($1)", "apple")
	check(t, err)
	check(t, tx.Commit())
	var name string
	check(t, db.QueryRow("select name from fruit").Scan(&name))
	if name != "apple" {
		t.Errorf("name = %q, want %q", name, "apple")
	}
	check(t, mock.ExpectationsWereMet())
	if _, err := sql.Open("aadpostgres-mock", "host=h password=x aad_auth=managed-identity"); err == nil {
		t.Error("sql.Open() = nil with a password in the DSN, want an error")
	}
}

func TestSqlmockWithout(t *testing.T) {
	checkError(t, errSqlmock, `unknown driver "aadpostgres-mock"`)
}
