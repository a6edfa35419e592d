// Goose migrates the database in DATABASE_URL with its embedded migrations:
//
//	export DATABASE_URL='host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity'
//	goose up
//
// up and down wait until other processes have finished migrating.
package main

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/signal"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	_ "github.com/aadpostgres/aadpostgres"
)

//go:embed migrations
var migrations embed.FS

func main() {
	log.SetFlags(0)
	log.SetPrefix("goose: ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 || commands[args[0]] == nil {
		return errors.New("usage: goose up | down | status | version")
	}
	db, err := sql.Open("aadpostgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer db.Close()
	fsys, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, fsys, goose.WithSessionLocker(locker))
	if err != nil {
		return err
	}
	return commands[args[0]](ctx, provider)
}

var commands = map[string]func(context.Context, *goose.Provider) error{
	"up": func(ctx context.Context, p *goose.Provider) error {
		done, err := p.Up(ctx)
		for _, result := range done {
			fmt.Println(result)
		}
		return err
	},
	"down": func(ctx context.Context, p *goose.Provider) error {
		done, err := p.Down(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			return errors.New("nothing to undo")
		}
		if err == nil {
			fmt.Println(done)
		}
		return err
	},
	"status": func(ctx context.Context, p *goose.Provider) error {
		all, err := p.Status(ctx)
		for _, status := range all {
			fmt.Printf("%-8s %s\n", status.State, status.Source.Path)
		}
		return err
	},
	"version": func(ctx context.Context, p *goose.Provider) error {
		v, err := p.GetDBVersion(ctx)
		if err == nil {
			fmt.Println(v)
		}
		return err
	},
}
