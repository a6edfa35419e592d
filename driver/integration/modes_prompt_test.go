package integration

import (
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// TestUserIsPromptedOnce checks that an expired token is refreshed without the user.
func TestUserIsPromptedOnce(t *testing.T) {
	const life = 2 * time.Second
	az.Faults.TokenLife(life)
	defer az.Faults.TokenLife(0)
	for _, m := range modeTests {
		if m.mode != "device-code" && m.mode != "interactive-browser" {
			continue
		}
		if m.unixOnly && runtime.GOOS == "windows" {
			continue
		}
		t.Run(m.mode, func(t *testing.T) {
			if m.unixOnly {
				need.Program(t, "bash")
			}
			id := m.identity(t)
			tr := newTestTransport()
			params := "aad_auth=" + m.mode + " " + m.setup(t, id, tr)
			db := m.openDB(t, params, tr)
			openConns(t, db, 1)
			az.Logout() // a prompt would fail
			before := len(az.Requests())
			time.Sleep(life)
			openConns(t, m.openDB(t, params, tr), 1)
			requests := az.Requests()[before:]
			for _, r := range requests {
				if got := r.Form.Get("grant_type"); got != "refresh_token" {
					t.Errorf("%s: grant_type = %q, want refresh_token", r.Path, got)
				}
				if r.Status != http.StatusOK {
					t.Errorf("%s: status = %d, want %d", r.Path, r.Status, http.StatusOK)
				}
			}
			if len(requests) == 0 {
				t.Error("requests = 0, want a refresh")
			}
		})
	}
}
