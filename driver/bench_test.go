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

// Getting a cached token allocates nothing.
func TestWarmTokenAllocations(t *testing.T) {
	c := warmConnector(t)
	got := testing.AllocsPerRun(100, func() { c.source.Token(observer{c}) })
	if got != 0 {
		t.Errorf("allocations = %v, want 0", got)
	}
}

// warmConnector returns a connector whose token is cached.
func warmConnector(tb testing.TB) *Connector {
	tb.Helper()
	c := newConnector(tb, "host=h user=u", WithCredential(&entratest.Credential{}))
	if _, err := c.Credentials(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return c
}

// BenchmarkWarmToken gets a cached token from a connector, and from azidentity's managed
// identity credential, which a hook without this package would call.
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
		timeBatch := func(f func()) time.Duration {
			began := time.Now()
			for range batch {
				f()
			}
			return time.Since(began)
		}
		var tookOurs, tookTheirs, tookClock time.Duration
		for b.Loop() {
			tookOurs += timeBatch(ours)
			tookTheirs += timeBatch(theirs)
			tookClock += timeBatch(func() { now = time.Now() })
		}
		n := float64(batch * b.N)
		b.ReportMetric(float64(tookOurs)/n, "ns-ours")
		b.ReportMetric(float64(tookTheirs)/n, "ns-azidentity")
		b.ReportMetric(float64(tookClock)/n, "ns-clock") // reading the clock, which is part of ours
		b.ReportMetric(testing.AllocsPerRun(100, ours), "allocs-ours")
		b.ReportMetric(testing.AllocsPerRun(100, theirs), "allocs-azidentity")
		b.ReportMetric(0, "ns/op") // the sum means nothing
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

// now keeps the compiler from removing a call of time.Now.
var now time.Time

// maxIdlePoolBytes is what a pool may take that has never connected, database/sql's own
// part and its goroutine included.
const maxIdlePoolBytes = 16 << 10

// idlePools are DSNs that differ in what a connector keeps. {ca} is a file with a root.
var idlePools = []struct{ name, dsn string }{
	{"managed identity", "host=app.postgres.database.azure.com dbname=app aad_auth=managed-identity"},
	{"sslrootcert", "host=h user=u aad_auth=managed-identity sslrootcert={ca}"},
	{"several hosts", "host=a,b,c user=u aad_auth=managed-identity target_session_attrs=read-write"},
	{"DefaultAzureCredential", "host=h user=u"},
}

// A pool that never connects takes little memory.
func TestIdlePoolMemory(t *testing.T) {
	entratest.CleanEnv(t)
	ca := newFakeServer(t, nil).certFile
	for _, tt := range idlePools {
		t.Run(tt.name, func(t *testing.T) {
			got := idlePoolBytes(t, strings.ReplaceAll(tt.dsn, "{ca}", entratest.Quote(ca)))
			t.Logf("bytes per pool = %d", got)
			if got > maxIdlePoolBytes {
				t.Errorf("bytes per pool = %d, want at most %d", got, maxIdlePoolBytes)
			}
		})
	}
}

// BenchmarkIdlePool reports the memory of the largest of the pools.
func BenchmarkIdlePool(b *testing.B) {
	entratest.CleanEnv(b)
	ca := newFakeServer(b, nil).certFile
	var most int64
	for b.Loop() {
		for _, tt := range idlePools {
			most = max(most, idlePoolBytes(b, strings.ReplaceAll(tt.dsn, "{ca}", entratest.Quote(ca))))
		}
	}
	b.ReportMetric(float64(most)/1024, "KiB")
	b.ReportMetric(0, "ns/op")
}

// idlePoolBytes returns the memory that one pool on dsn takes, before it connects.
func idlePoolBytes(tb testing.TB, dsn string) int64 {
	tb.Helper()
	dbs := make([]*sql.DB, 1000)
	before := memoryInUse()
	for i := range dbs {
		db, err := sql.Open(Name, dsn)
		if err != nil {
			tb.Fatal(err)
		}
		dbs[i] = db
	}
	taken := memoryInUse() - before
	for _, db := range dbs {
		db.Close()
	}
	return taken / int64(len(dbs))
}

// memoryInUse returns the bytes in use on the heap and in stacks, after garbage collection.
func memoryInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
