package driver

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// A warm token costs no lock and no allocation.
func TestWarmTokenAllocations(t *testing.T) {
	c := warmConnector(t)
	if n := testing.AllocsPerRun(100, func() { c.source.Token(observer{c}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// warmConnector returns a connector whose token is cached.
func warmConnector(tb testing.TB) *Connector {
	tb.Helper()
	c, err := NewConnector("host=h user=u", WithCredential(&entratest.Credential{}))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	if _, err := c.Credentials(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return c
}

var clock time.Time

// BenchmarkWarmToken asks a source and azidentity's managed identity credential,
// which is what a hand-written hook calls, for a token that both have.
func BenchmarkWarmToken(b *testing.B) {
	entratest.CleanEnv(b)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"access_token":"x","token_type":"Bearer","resource":"r","expires_on":"%d"}`, time.Now().Add(time.Hour).Unix())
	}))
	defer web.Close()
	b.Setenv("IDENTITY_ENDPOINT", web.URL)
	b.Setenv("IDENTITY_HEADER", "h")
	cred, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ID: azidentity.ClientID("bench")})
	if err != nil {
		b.Fatal(err)
	}
	c := warmConnector(b)
	scope := policy.TokenRequestOptions{Scopes: []string{"https://ossrdbms-aad.database.windows.net/.default"}}
	ours := func() { c.source.Token(observer{c}) }
	theirs := func() { cred.GetToken(context.Background(), scope) }
	theirs()

	b.Run("in turn", func(b *testing.B) {
		const batch = 100
		var a, t, c time.Duration
		for b.Loop() {
			t0 := time.Now()
			for range batch {
				ours()
			}
			t1 := time.Now()
			for range batch {
				theirs()
			}
			t2 := time.Now()
			for range batch {
				clock = time.Now()
			}
			a, t, c = a+t1.Sub(t0), t+t2.Sub(t1), c+time.Since(t2)
		}
		n := float64(batch * b.N)
		b.ReportMetric(float64(a)/n, "ns-ours")
		b.ReportMetric(float64(t)/n, "ns-azidentity")
		b.ReportMetric(float64(c)/n, "ns-clock") // of this machine, and a part of ours
		b.ReportMetric(testing.AllocsPerRun(100, ours), "allocs-ours")
		b.ReportMetric(testing.AllocsPerRun(100, theirs), "allocs-azidentity")
		b.ReportMetric(0, "ns/op") // of no meaning
	})
	b.Run("100 goroutines", func(b *testing.B) {
		b.SetParallelism((100 + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				ours()
			}
		})
	})
}

// idle is a kind of pool for each way in which a connector is made.
var idle = map[string]string{
	"managed identity":       "host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity",
	"with an authority":      "host=h user=u aad_auth=managed-identity sslrootcert=%s",
	"with several hosts":     "host=a,b,c user=u aad_auth=managed-identity target_session_attrs=read-write",
	"DefaultAzureCredential": "host=h user=u",
}

// A pool that never connects costs little: its goroutine and database/sql's own
// included.
func TestIdlePoolMemory(t *testing.T) {
	const most = 16 << 10
	for name, each := range idleMemory(t) {
		if t.Logf("%s: %d bytes", name, each); each > most {
			t.Errorf("%s: %d bytes", name, each)
		}
	}
}

// BenchmarkIdlePool tells the most that one of them takes.
func BenchmarkIdlePool(b *testing.B) {
	var most int64
	for b.Loop() {
		for _, each := range idleMemory(b) {
			most = max(most, each)
		}
	}
	b.ReportMetric(float64(most)/1024, "KiB")
	b.ReportMetric(0, "ns/op")
}

// idleMemory is what one pool of each kind takes, in bytes.
func idleMemory(tb testing.TB) map[string]int64 {
	entratest.CleanEnv(tb)
	ca := newFakeServer(tb, nil).certFile
	each := map[string]int64{}
	for name, dsn := range idle {
		const pools = 1000
		dbs := make([]*sql.DB, pools)
		before := memory()
		for i := range dbs {
			var err error
			if dbs[i], err = sql.Open(Name, strings.ReplaceAll(dsn, "%s", ca)); err != nil {
				tb.Fatal(err)
			}
		}
		each[name] = (memory() - before) / pools
		for _, db := range dbs {
			db.Close()
		}
	}
	return each
}

// memory is what is in use on the heap and in stacks.
func memory() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
