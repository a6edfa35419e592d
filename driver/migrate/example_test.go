package migrate_test

import (
	"log"
	"log/slog"

	"github.com/golang-migrate/migrate/v4"
	_ "github.com/golang-migrate/migrate/v4/source/file"

	"github.com/aadpostgres/aadpostgres/driver"
	aadmigrate "github.com/aadpostgres/aadpostgres/driver/migrate"
)

// Options, such as a logger or a credential, need a scheme with another name.
func ExampleRegister() {
	aadmigrate.Register("mine", driver.WithLogger(slog.Default()))
	m, err := migrate.New("file://migrations", "mine://app.postgres.database.azure.com/app?aad_auth=managed-identity")
	if err != nil {
		log.Fatal(err)
	}
	log.Println(m.Up())
}
