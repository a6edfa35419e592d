// Package aadpostgres registers the database/sql driver "aadpostgres": pgx, with
// every new physical connection signed in to Azure Database for PostgreSQL by a
// Microsoft Entra token.
//
//	import _ "github.com/aadpostgres/aadpostgres"
//
//	db, err := sql.Open("aadpostgres", "host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity")
//
// Existing code changes one string, the driver's name, and drops the password.
// One token serves all connections of an identity; it travels over verified TLS
// only; and a query costs what it costs with pgx, for the connections are pgx's.
//
// The keys of a DSN are those of package dsn; what only Go can say, such as a
// credential of one's own, is an option of driver.NewConnector.
package aadpostgres

import _ "github.com/aadpostgres/aadpostgres/driver" // registers the driver
