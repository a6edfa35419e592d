package driver_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"log"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
)

// driverName is the name that the program opens its database by. Its tests change it.
var driverName = "aadpostgres"

// mocked replaces the server.
var mocked *sql.DB

func init() {
	driver.Register("aadpostgres-mock", driver.WithOpenFunc(func(context.Context, *pgx.ConnConfig) (sqldriver.Conn, error) {
		return mocked.Driver().Open("example")
	}))
}

// Code that opens a database by the driver's name can be tested with go-sqlmock. No token is
// requested and nothing is dialed, but the DSN is checked as always.
func ExampleWithOpenFunc() {
	driverName = "aadpostgres-mock"
	mockDB, mock, err := sqlmock.NewWithDSN("example")
	if err != nil {
		log.Fatal(err)
	}
	defer mockDB.Close()
	mocked = mockDB
	mock.ExpectQuery("select name from fruit").WillReturnRows(sqlmock.NewRows([]string{"name"}).AddRow("apple"))

	db, err := sql.Open(driverName, "host=app.postgres.database.azure.com user=app aad_auth=managed-identity")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	var name string
	if err := db.QueryRow("select name from fruit").Scan(&name); err != nil {
		log.Fatal(err)
	}
	fmt.Println(name)
	// Output: apple
}
