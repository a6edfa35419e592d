package through

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Suites that start PostgreSQL in a container get a database instead, which they name by
// a host and a port.
const (
	containerHost     = "container.invalid"
	containerDatabase = "container_"
)

var lastContainer atomic.Int64

// Container creates a database for t, and drops it when t ends, with the roles that t has
// created.
func Container(t *testing.T) (host, port string, err error) {
	port, drop, err := newContainer()
	t.Cleanup(drop)
	return containerHost, port, err
}

// Fresh creates a database and opens it. The function that it returns drops the database.
func Fresh() (*sql.DB, func(), error) {
	port, drop, err := newContainer()
	if err != nil {
		return nil, drop, err
	}
	db, err := Open("pgx", "postgres://postgres@"+containerHost+":"+port+"/postgres")
	return db, drop, err
}

func newContainer() (port string, drop func(), err error) {
	port = fmt.Sprint(lastContainer.Add(1))
	name := containerDatabase + port
	drop = func() {
		err := admin("DROP DATABASE IF EXISTS "+name+" WITH (FORCE)", "DROP ROLE IF EXISTS not_owner")
		if err != nil {
			fmt.Fprintln(os.Stderr, "suites:", err)
		}
	}
	return port, drop, admin("DROP DATABASE IF EXISTS "+name+" WITH (FORCE)", "CREATE DATABASE "+name)
}

// admin runs statements as the superuser.
func admin(statements ...string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, os.Getenv(AdminDSN))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// containerDSN returns the DSN of the database that Container has made, if dsn names one.
// The roles that a suite creates have passwords, which the gateway passes on.
func containerDSN(dsn string) (string, error) {
	given, err := url.Parse(dsn)
	if err != nil || given.Hostname() != containerHost {
		return dsn, nil
	}
	u, err := withDatabase(os.Getenv(DSN), containerDatabase+given.Port())
	if err != nil {
		return "", err
	}
	query := given.Query()
	query.Del("sslmode")
	if native := given.User.Username(); native != "postgres" {
		u.User = given.User
		u.RawQuery = strings.Replace(u.RawQuery, "aad_auth=managed-identity", "aad_auth=password", 1)
	}
	if len(query) > 0 {
		u.RawQuery += "&" + query.Encode()
	}
	return u.String(), nil
}
