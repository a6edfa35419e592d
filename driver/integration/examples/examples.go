// Package examples shows aadpostgres with the tools that Go programs reach
// PostgreSQL with. Each is run against package emulator; in real life DATABASE_URL
// is "aadpostgres://app.postgres.database.azure.com/app?aad_auth=managed-identity".
//
// The folders beside it are whole programs: todo, a service that moves to Entra by
// two changed lines, and goose, a command for migrations.
package examples
