package tools

import (
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/XSAM/otelsql"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/aadpostgres/aadpostgres/driver"
)

func TestOtelsql(t *testing.T) {
	d := newTestDB(t)
	dsn := d.DSN
	spans := tracetest.NewSpanRecorder()
	reader := metric.NewManualReader()
	options := []otelsql.Option{
		otelsql.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))),
		otelsql.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader))),
	}

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
	refused, err := otelsql.Open("aadpostgres", dsn+" user=app", options...) // the token is for another role
	check(t, err)
	defer refused.Close()
	stats, err := otelsql.RegisterDBStatsMetrics(db, options...)
	check(t, err)
	defer stats.Unregister()

	var exported string // all spans and metrics
	work := func() {
		t.Helper()
		for _, db := range []*sql.DB{db, byName, byConnector} {
			before := len(spans.Ended())
			var who, text string
			check(t, db.QueryRowContext(t.Context(), "select session_user, $1::text", "ä").Scan(&who, &text))
			if who != d.Role || text != "ä" {
				t.Errorf("session_user, $1 = %q, %q, want %q, %q", who, text, d.Role, "ä")
			}
			tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
			check(t, err)
			if _, err := tx.Exec("create table none ()"); err == nil {
				t.Error("create table = nil in a read-only transaction, want an error")
			}
			check(t, tx.Rollback())
			if len(spans.Ended()) == before {
				t.Error("spans = 0, want some")
			}
		}
		checkError(t, refused.PingContext(t.Context()), "28P01")
		var metrics metricdata.ResourceMetrics
		check(t, reader.Collect(t.Context(), &metrics))
		b, err := json.Marshal([]any{tracetest.SpanStubsFromReadOnlySpans(spans.Ended()), metrics})
		check(t, err)
		exported += string(b)
		var open []int64
		for _, m := range metrics.ScopeMetrics[0].Metrics {
			if m.Name == "db.sql.connection.open" {
				for _, point := range m.Data.(metricdata.Gauge[int64]).DataPoints {
					open = append(open, point.Value)
				}
			}
		}
		slices.Sort(open)
		checkEqual(t, "connections in the metrics, none in use and one idle", open, []int64{0, 1})
	}
	work()
	d.expire()
	work()
	// A span's status and events contain the server's error, but not the token. All tokens of
	// an authority begin with the same header.
	login, err := c.Credentials(t.Context())
	check(t, err)
	header, _, _ := strings.Cut(login.Password.Value(), ".")
	for _, want := range []string{"SQLSTATE 25006", "SQLSTATE 28P01"} {
		if !strings.Contains(exported, want) {
			t.Errorf("spans and metrics lack %q", want)
		}
	}
	if strings.Contains(exported, header) {
		t.Errorf("spans and metrics contain %q, want no token", header)
	}
}
