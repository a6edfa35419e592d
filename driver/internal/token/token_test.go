package token

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

func TestNew(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(d time.Duration) time.Time { return now.Add(d) }
	const m = time.Minute
	rows := []struct {
		name                          string
		life, refreshOn, age, maxAge  time.Duration // refreshOn 0: none; age < 0: no claim
		wantExpires, wantFrom, wantBy time.Duration // after now; the refresh is due in between
		wantIn                        time.Duration // after now: when it was issued
	}{
		{"an hour", 60 * m, 0, -1, 0, 60 * m, 55 * m * 5 / 8, 55 * m, 0},
		{"a day", 1440 * m, 0, -1, 0, 1440 * m, 1435 * m * 5 / 8, 1435 * m, 0},
		{"ten minutes", 10 * m, 0, -1, 0, 10 * m, 5 * m * 5 / 8, 5 * m, 0},
		{"less than ten minutes", 6 * m, 0, -1, 0, 6 * m, 3 * m * 5 / 8, 3 * m, 0},
		{"less than two minutes", m, 0, -1, 0, m, m / 2, m / 2, 0},
		{"expired", -m, 0, -1, 0, -m, -m, -m, 0},
		{"refresh wanted", 60 * m, 30 * m, -1, 0, 60 * m, 30 * m, 30*m + 55*m*3/8, 0},
		{"refresh wanted, with little time after it", 60 * m, 50 * m, -1, 0, 60 * m, 55 * m * 5 / 8, 55 * m, 0},
		{"refresh wanted at half of a day", 1440 * m, 720 * m, -1, 0, 1440 * m, 720 * m, 720*m + 1435*m*3/8, 0},
		{"refresh wanted in the last five minutes", 60 * m, 58 * m, -1, 0, 60 * m, 55 * m * 5 / 8, 55 * m, 0},
		{"refresh wanted after the end", 60 * m, 90 * m, -1, 0, 60 * m, 55 * m * 5 / 8, 55 * m, 0},
		{"refresh wanted already", 60 * m, -m, -1, 0, 60 * m, m / 2, m / 2, 0},
		{"refresh wanted already, near the end", 10 * time.Second, -m, -1, 0, 10 * time.Second, 10 * time.Second, 10 * time.Second, 0},
		{"dated back", 60 * m, 0, 5 * m, 0, 60 * m, 55 * m * 5 / 8, 55 * m, 0},
		{"dated back by less", 60 * m, 0, 2 * m, 0, 60 * m, 55 * m * 5 / 8, 55 * m, 0},
		{"issued before", 60 * m, 0, 15 * m, 0, 60 * m, 55 * m * 5 / 8, 55 * m, -10 * m},
		{"young enough", 60 * m, 0, 15 * m, 30 * m, 20 * m, 15 * m * 5 / 8, 15 * m, -10 * m},
		{"too old", 60 * m, 0, 45 * m, 30 * m, -10 * m, -10 * m, -10 * m, -40 * m},
		{"ends before it is too old", 10 * m, 0, -1, 30 * m, 10 * m, 5 * m * 5 / 8, 5 * m, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := Response{Value: "opaque", ExpiresOn: at(row.life)}
			if row.refreshOn != 0 {
				r.RefreshOn = at(row.refreshOn)
			}
			if row.age >= 0 {
				r.Value = entratest.JWT(map[string]any{"iat": at(-row.age).Unix()})
			}
			got := New(r, now, row.maxAge)
			if want := at(row.wantExpires); !got.ExpiresOn.Equal(want) {
				t.Errorf("ExpiresOn = %s, want %s", got.ExpiresOn, want)
			}
			from, by := at(row.wantFrom), at(row.wantBy)
			if !got.refreshBy.Equal(by) {
				t.Errorf("refreshBy = %s, want %s", got.refreshBy, by)
			}
			earliest, latest := by, from
			for range 200 {
				refreshOn := New(r, now, row.maxAge).refreshOn
				earliest = earlier(earliest, refreshOn)
				if refreshOn.After(latest) {
					latest = refreshOn
				}
			}
			if earliest.Before(from) || latest.After(by) {
				t.Errorf("refreshOn = %s to %s, want %s to %s", earliest, latest, from, by)
			}
			// 200 of a window fill nine tenths of it.
			if filled, window := latest.Sub(earliest), by.Sub(from); filled < window*9/10 {
				t.Errorf("refreshOn is spread over %s, want %s", filled, window)
			}
			if want := at(row.wantIn); !got.IssuedAt.Equal(want) {
				t.Errorf("IssuedAt = %s, want %s", got.IssuedAt, want)
			}
		})
	}
}

func TestCloud(t *testing.T) {
	rows := []struct {
		name string
		aud  any
		want string
	}{
		{"no audience", nil, ""},
		{"another resource", "https://vault.azure.net", ""},
		{"public", "https://ossrdbms-aad.database.windows.net", "public"},
		{"public, the first of two", []string{"https://ossrdbms-aad.database.windows.net", "https://vault.azure.net"}, "public"},
		{"China, the second of two", []string{"https://vault.azure.net", "https://ossrdbms-aad.database.chinacloudapi.cn/"}, "china"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			value := entratest.JWT(map[string]any{"aud": row.aud})
			got := New(Response{Value: value, ExpiresOn: time.Now().Add(time.Hour)}, time.Now(), 0).Cloud
			if got != row.want {
				t.Errorf("Cloud = %q, want %q", got, row.want)
			}
		})
	}
}

func TestValid(t *testing.T) {
	now := time.Now()
	token := New(Response{Value: "x", ExpiresOn: now.Add(time.Hour)}, now, 0)
	rows := []struct {
		name  string
		token *Token
		at    time.Duration // after now
		want  bool
	}{
		{"none", nil, 0, false},
		{"just received", token, 0, true},
		{"a moment before the end", token, time.Hour - 1, true},
		{"at the end", token, time.Hour, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := row.token.Valid(now.Add(row.at))
			if got != row.want {
				t.Errorf("Valid() = %t, want %t", got, row.want)
			}
		})
	}
}

func TestRecentlyIssued(t *testing.T) {
	now := time.Now()
	token := New(Response{Value: "x", ExpiresOn: now.Add(time.Hour)}, now, 0)
	rows := []struct {
		name string
		at   time.Duration // after now
		want bool
	}{
		{"just received", 0, true},
		{"a moment less than a minute", time.Minute - 1, true},
		{"a minute", time.Minute, false},
		{"a clock that was set back a little", -time.Minute + 1, true},
		{"a clock that was set back", -time.Minute, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := token.RecentlyIssued(now.Add(row.at))
			if got != row.want {
				t.Errorf("RecentlyIssued() = %t, want %t", got, row.want)
			}
		})
	}
}

// A machine's monotonic clock stands still while it sleeps, so no time of a token has its
// reading.
func TestTimesAreWallClock(t *testing.T) {
	c := cacheOf(&fakeFetcher{get: func(int, Request) (Response, error) {
		now := time.Now()
		return Response{Value: "x", ExpiresOn: now.Add(time.Hour), RefreshOn: now.Add(time.Minute)}, nil
	}})
	token := mustAwait(t, c)
	rows := []struct {
		name string
		got  time.Time
	}{
		{"IssuedAt", token.IssuedAt},
		{"ExpiresOn", token.ExpiresOn},
		{"refreshOn", token.refreshOn},
		{"refreshBy", token.refreshBy},
		{"notBefore", token.notBefore},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if want := row.got.Round(0); row.got != want { // == sees the reading
				t.Errorf("%s = %s, want %s", row.name, row.got, want)
			}
		})
	}
}

// No verb and no encoder prints the value.
func TestTokenPrintsNoSecret(t *testing.T) {
	token := New(Response{Value: "opaque-" + entratest.Marker, ExpiresOn: time.Now().Add(time.Hour)}, time.Now(), 0)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, arg := range []any{token, []*Token{token}, struct{ T *Token }{token}} {
			got := fmt.Sprintf(verb, arg)
			if strings.Contains(got, entratest.Marker) {
				t.Errorf("Sprintf(%q, %T) = %q, want no secret in it", verb, arg, got)
			}
		}
	}
	if got := fmt.Sprint(token); got != "xxxxx" {
		t.Errorf("Sprint() = %q, want %q", got, "xxxxx")
	}
	got, err := json.Marshal(token)
	if err != nil || strings.Contains(string(got), entratest.Marker) {
		t.Errorf("Marshal() = %s, %v, want no secret in it", got, err)
	}
}
