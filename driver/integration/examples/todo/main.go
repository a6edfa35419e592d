// Todo keeps a list of things to do in PostgreSQL and serves it over HTTP. It is a small
// service that will move to Microsoft Entra: it signs in with the password in DATABASE_URL.
//
//	GET  /todos            the list, as JSON
//	POST /todos            {"text": ..., "due": ..., "tags": [...]} adds an entry
//	POST /todos/{id}/done  marks an entry as done
package main

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetConnMaxLifetime(30 * time.Minute)

	goose.SetBaseFS(migrations)
	goose.SetLogger(goose.NopLogger())
	if err := goose.SetDialect("postgres"); err != nil {
		return err
	}
	if err := goose.UpContext(ctx, db, "migrations"); err != nil {
		return err
	}

	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	server := &http.Server{Handler: handler(db)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return server.Shutdown(context.Background()) // waits for active requests
	}
}

type todo struct {
	ID   int64      `json:"id"`
	Text string     `json:"text"`
	Done bool       `json:"done"`
	Due  *time.Time `json:"due,omitempty"`
	Tags []string   `json:"tags"`
}

func handler(db *sql.DB) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /todos", func(w http.ResponseWriter, r *http.Request) {
		list := []todo{}
		rows, err := db.QueryContext(r.Context(), "SELECT id, text, done, due, to_json(tags) FROM todo ORDER BY id")
		if err != nil {
			fail(w, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			var t todo
			var tags []byte
			if err := errors.Join(rows.Scan(&t.ID, &t.Text, &t.Done, &t.Due, &tags), json.Unmarshal(tags, &t.Tags)); err != nil {
				fail(w, err)
				return
			}
			list = append(list, t)
		}
		if err := rows.Err(); err != nil {
			fail(w, err)
			return
		}
		json.NewEncoder(w).Encode(list)
	})
	mux.HandleFunc("POST /todos", func(w http.ResponseWriter, r *http.Request) {
		t := todo{Tags: []string{}}
		if err := json.NewDecoder(r.Body).Decode(&t); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		err := db.QueryRowContext(r.Context(), "INSERT INTO todo (text, due, tags) VALUES ($1, $2, $3) RETURNING id", t.Text, t.Due, t.Tags).Scan(&t.ID)
		if err != nil {
			fail(w, err)
			return
		}
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(t)
	})
	mux.HandleFunc("POST /todos/{id}/done", func(w http.ResponseWriter, r *http.Request) {
		tx, err := db.BeginTx(r.Context(), nil)
		if err != nil {
			fail(w, err)
			return
		}
		defer tx.Rollback() // no effect after Commit
		result, err := tx.ExecContext(r.Context(), "UPDATE todo SET done = true WHERE id = $1", r.PathValue("id"))
		if err != nil {
			fail(w, err)
			return
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			http.NotFound(w, r)
			return
		}
		if err := tx.Commit(); err != nil {
			fail(w, err)
		}
	})
	return mux
}

func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "23505" {
		status = http.StatusConflict
	}
	http.Error(w, err.Error(), status)
}
