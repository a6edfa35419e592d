package tools

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/XSAM/otelsql"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/aadpostgres/aadpostgres/driver"
)

func TestOtelsql(t *testing.T) {
	p := newPlace(t)
	dsn := p.DSN
	spans := tracetest.NewSpanRecorder()
	options := []otelsql.Option{otelsql.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))}

	db, err := otelsql.Open("aadpostgres", dsn, options...)
	check(t, err)
	defer db.Close()
	registered, err := otelsql.Register("aadpostgres", options...)
	check(t, err)
	byName, err := sql.Open(registered, dsn)
	check(t, err)
	defer byName.Close()
	c, err := driver.NewConnector(dsn)
	check(t, err)
	byConnector := otelsql.OpenDB(c, options...)
	defer byConnector.Close()
	stats, err := otelsql.RegisterDBStatsMetrics(db)
	check(t, err)
	defer stats.Unregister()

	work := func() {
		t.Helper()
		for _, db := range []*sql.DB{db, byName, byConnector} {
			before := len(spans.Ended())
			var who, text string
			check(t, db.QueryRowContext(t.Context(), "select session_user, $1::text", "ä").Scan(&who, &text))
			if who != p.Role || text != "ä" {
				t.Errorf("signed in as %q, got %q", who, text)
			}
			tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
			check(t, err)
			if _, err := tx.Exec("create table none ()"); err == nil {
				t.Error("a read-only transaction wrote")
			}
			check(t, tx.Rollback())
			if len(spans.Ended()) == before {
				t.Error("nothing was traced")
			}
		}
	}
	work()
	p.expire()
	work()
	for _, s := range spans.Ended() {
		for _, a := range s.Attributes() {
			if v := fmt.Sprint(a.Value.AsInterface()); len(v) > 100 {
				t.Errorf("span %s has %s of %d bytes", s.Name(), a.Key, len(v))
			}
		}
	}
}
