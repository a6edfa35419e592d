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

// The figures by expvar: one line.
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
	if err := json.Unmarshal([]byte(v.String()), &got); err != nil || got.SignIns != 3 || got.TokenRequests != 1 || got.TokenExpires.IsZero() {
		t.Errorf("%s, %v", v, err)
	}
}

// The same by OpenTelemetry, with otelsql's spans around the connector.
func TestStatsByOpenTelemetry(t *testing.T) {
	_, dsn := newIdentity(t, "opentelemetry")
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
	if _, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(requests, c.Stats().TokenRequests)
		return nil
	}, requests); err != nil {
		t.Fatal(err)
	}
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	db := otelsql.OpenDB(c, otelsql.WithTracerProvider(tracer), otelsql.WithAttributes(attribute.String("db.system.name", "postgresql")))
	defer db.Close()
	if who := sessionUser(t, db); who == "" {
		t.Error("nobody signed in")
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	sum, ok := all.ScopeMetrics[0].Metrics[0].Data.(metricdata.Sum[int64])
	if !ok || sum.DataPoints[0].Value != 1 {
		t.Errorf("%+v", all)
	}
	if len(spans.GetSpans()) == 0 {
		t.Error("no spans")
	}
}
