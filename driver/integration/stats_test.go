package integration

import (
	"context"
	"database/sql"
	"encoding/json"
	"expvar"
	"testing"

	"github.com/XSAM/otelsql"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/aadpostgres/aadpostgres/driver"
)

// TestStatsByExpvar publishes Stats with expvar.
func TestStatsByExpvar(t *testing.T) {
	_, dsn := newIdentity(t, "expvar")
	c, err := driver.NewConnector(dsn)
	if err != nil {
		t.Fatal(err)
	}
	v := expvar.Func(func() any { return c.Stats() }) // expvar.Publish("aadpostgres", v)
	db := sql.OpenDB(c)
	defer db.Close()
	openConns(t, db, 3)
	var got driver.Stats
	if err := json.Unmarshal([]byte(v.String()), &got); err != nil {
		t.Fatalf("%s: %v", v, err)
	}
	if got.SignIns != 3 {
		t.Errorf("SignIns = %d, want 3", got.SignIns)
	}
	if got.TokenRequests != 1 {
		t.Errorf("TokenRequests = %d, want 1", got.TokenRequests)
	}
	if got.TokenExpires.IsZero() {
		t.Error("TokenExpires is zero, want a time")
	}
}

// TestStatsByOpenTelemetry observes Stats as a metric, and traces the connector with otelsql.
func TestStatsByOpenTelemetry(t *testing.T) {
	id, dsn := newIdentity(t, "opentelemetry")
	c, err := driver.NewConnector(dsn)
	if err != nil {
		t.Fatal(err)
	}
	reader, spans := sdkmetric.NewManualReader(), tracetest.NewInMemoryExporter()
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("aadpostgres")
	requests, err := meter.Int64ObservableCounter("aadpostgres.token.requests")
	if err != nil {
		t.Fatal(err)
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(requests, c.Stats().TokenRequests)
		return nil
	}, requests)
	if err != nil {
		t.Fatal(err)
	}
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	db := otelsql.OpenDB(c, otelsql.WithTracerProvider(tracer), otelsql.WithAttributes(attribute.String("db.system.name", "postgresql")))
	defer db.Close()
	if got := sessionUser(t, db); got != id.Name {
		t.Errorf("session_user = %q, want %q", got, id.Name)
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	sum, ok := all.ScopeMetrics[0].Metrics[0].Data.(metricdata.Sum[int64])
	if !ok {
		t.Fatalf("metrics = %+v, want a sum", all)
	}
	if got := sum.DataPoints[0].Value; got != 1 {
		t.Errorf("aadpostgres.token.requests = %d, want 1", got)
	}
	if len(spans.GetSpans()) == 0 {
		t.Error("spans = 0, want some")
	}
}
