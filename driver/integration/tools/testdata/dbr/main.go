// Command dbr opens a database with dbr by the driver's name.
package main

import (
	"log"

	"github.com/gocraft/dbr/v2"

	_ "github.com/aadpostgres/aadpostgres"
)

func main() {
	_, err := dbr.Open("aadpostgres", "host=h user=u", nil)
	log.Fatal(err)
}
