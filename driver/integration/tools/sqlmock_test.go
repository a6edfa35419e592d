package tools

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"testing"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
)

// go-sqlmock is the server: nothing signs in, so there is no half-time.
func TestSqlmock(t *testing.T) {
	mocked, mock, err := sqlmock.NewWithDSN(t.Name())
	check(t, err)
	defer mocked.Close()
	open := func(_ context.Context, config *pgx.ConnConfig) (sqldriver.Conn, error) {
		if config.Host != "app.postgres.database.azure.com" {
			t.Errorf("host %q", config.Host)
		}
		return mocked.Driver().Open(t.Name())
	}
	driver.Register("aadpostgres-mock", driver.WithOpen(open))
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
		t.Errorf("got %q", name)
	}
	check(t, mock.ExpectationsWereMet())
	if _, err := sql.Open("aadpostgres-mock", "host=h password=x aad_auth=managed-identity"); err == nil {
		t.Error("the DSN was not checked")
	}
}

// Without it there is no such driver: database/sql says so.
func TestSqlmockWithout(t *testing.T) {
	_, err := sql.Open("aadpostgres-mocked", "host=h aad_auth=managed-identity")
	wants(t, err, "unknown driver")
}
