package credential

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// Processes that start together do not refresh together with azidentity's own credentials
// either, whose cache returns a token until five minutes before its end: after the third
// refresh of each, no ten minutes of six hours have three times the mean. Package token's
// TestFleet has a thousand processes.
func TestFleetOfApplications(t *testing.T) {
	const processes = 200
	rows := []struct {
		name      string
		life      int // of a token, in seconds
		refreshIn int // 0: none
	}{
		{"life of an hour", 3600, 0},
		{"life of an hour, refresh_in", 3600, 1800},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			synctest.Test(t, func(t *testing.T) {
				const window = 10 * time.Minute
				start := time.Now()
				var mu sync.Mutex // guards the counts: each request has its goroutine
				windows := make([]int, 6*time.Hour/window)
				settled := 0 // the window in which the last process had its third refresh
				caches := make([]*token.Cache, processes)
				for i := range caches {
					issued := 0
					o := Options{Transport: publicAuthority(func(*http.Request) (*http.Response, error) {
						mu.Lock()
						defer mu.Unlock()
						n := int(time.Since(start) / window)
						windows[n]++
						issued++
						if issued == 4 {
							settled = max(settled, n)
						}
						refreshIn := ""
						if row.refreshIn > 0 {
							refreshIn = fmt.Sprintf(`,"refresh_in":%d`, row.refreshIn)
						}
						return respond(http.StatusOK, fmt.Sprintf(`{"access_token":"x%d","token_type":"Bearer","expires_in":%d%s}`, issued, row.life, refreshIn)), nil
					})}
					caches[i] = cacheOf(t, application, o)
				}
				for time.Since(start) < 6*time.Hour-time.Minute {
					for i, cache := range caches {
						got, err := requestToken(t.Context(), cache)
						if err != nil || !got.Valid(time.Now()) {
							t.Fatalf("process %d: got token %v, %v, want a valid one", i, got, err)
						}
					}
					time.Sleep(30 * time.Second)
				}
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				total, peak := 0, 0
				after := windows[settled+1:]
				for _, n := range after {
					total += n
					peak = max(peak, n)
				}
				mean := float64(total) / float64(len(after))
				t.Logf("requests in ten minutes: mean %.1f, peak %d; %v", mean, peak, windows)
				if float64(peak) > 3*mean {
					t.Errorf("the peak is %d requests in ten minutes, want at most three times the mean of %.1f", peak, mean)
				}
			})
		})
	}
}

// A request past its own cache is made only by credentials that are known to ask nobody.
func TestWhoIsAskedEarly(t *testing.T) {
	entratest.CleanEnv(t)
	secret, err := azidentity.NewClientSecretCredential("t", "c", "s", nil)
	if err != nil {
		t.Fatal(err)
	}
	person, err := azidentity.NewDeviceCodeCredential(nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name string
		dsn  string
		cred azcore.TokenCredential
		want bool
	}{
		{"client secret", application, nil, true},
		{"managed identity", "host=h user=u aad_auth=managed-identity", nil, true},
		{"default", "host=h user=u", nil, true},
		{"device code", "host=h user=u aad_auth=device-code", nil, false},
		{"browser", "host=h user=u aad_auth=interactive-browser", nil, false},
		{"a list with a device code", "host=h user=u aad_auth=managed-identity,device-code", nil, false},
		{"the program's client secret", "host=h user=u", secret, true},
		{"the program's device code", "host=h user=u", person, false},
		{"the program's own type", "host=h user=u", &entratest.Credential{}, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			cfg, _ := parse(t, row.dsn)
			if got := mayAskPastCache(cfg, row.cred); got != row.want {
				t.Errorf("mayAskPastCache() = %t, want %t", got, row.want)
			}
		})
	}
}
