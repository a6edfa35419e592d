// Migrate lacks the import of this project's package migrate.
package main

import (
	"fmt"

	"github.com/golang-migrate/migrate/v4"
	_ "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	_ "github.com/golang-migrate/migrate/v4/source/file"

	_ "github.com/aadpostgres/aadpostgres"
)

func main() {
	_, err := migrate.New("file://.", "aadpostgres://app.postgres.database.azure.com/app")
	fmt.Println(err)
}
