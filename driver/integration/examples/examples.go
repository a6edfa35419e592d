// Package examples shows aadpostgres with the tools that Go programs use for PostgreSQL.
// Each example runs with package emulator. On Azure, DATABASE_URL would be
// "aadpostgres://app.postgres.database.azure.com/app?aad_auth=managed-identity".
//
// The subdirectories are whole programs. Program todo is a service that moves to Entra by
// two changed lines. Program goose is a command for migrations.
package examples
