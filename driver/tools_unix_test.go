//go:build unix

package driver

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// A developer's tool that prints what it should not, hangs, floods, or leaves
// children behind: an error of one line, in time. What it prints is kept by
// azidentity until the time is up; this package cannot say how much.
func TestHostileTools(t *testing.T) {
	token := entratest.JWT(map[string]any{"oid": "o"})
	expires := time.Now().Add(time.Hour)
	good := map[string]string{
		"az":   fmt.Sprintf(`{"accessToken":"%s","expires_on":%d}`, token, expires.Unix()),
		"azd":  fmt.Sprintf(`{"token":"%s","expiresOn":"%s"}`, token, expires.UTC().Format(time.RFC3339)),
		"pwsh": fmt.Sprintf(`{"Token":"%s","ExpiresOn":%d}`, token, expires.Unix()),
	}
	for _, tt := range []struct {
		name, script, want string // no want: it signs in
	}{
		{"garbage", `printf '\033[31mfoo\r\n\0bar\377'`, "token: "},
		{"nothing", `:`, "token: "},
		{"a refusal", `printf '\033[2J\033[31mno\r\n\tyou don'"'"'t; run evil\n' >&2; exit 1`, "token: "},
		{"the token, and a failure", `printf '%s' '{good}'; printf '%s' '` + token + `' >&2; exit 1`, "token: "},
		{"the token within garbage", `printf '%s' '{good}???'`, "token: "},
		{"a token in lines", `printf '%s' '{good}' | sed 's/` + entratest.Marker + `/&\\nHost: evil/'`, "the response's token holds characters that no token has"},
		{"a token of 100 KB", `printf '%s' '{good}' | sed "s/` + entratest.Marker + `/$(head -c 102400 /dev/zero | tr '\0' x)/"`, "and PostgreSQL accepts 65534"},
		{"a hang", `exec sleep 600`, "context deadline exceeded"},
		{"a hang in a child", `sleep 600 & echo $! >> $0.children; wait`, "context deadline exceeded"},
		{"a flood", `head -c 16777216 /dev/zero | tr '\0' x`, "token: "},
		{"a flood of errors", `head -c 16777216 /dev/zero | tr '\0' x >&2; exit 1`, "token: "},
		{"a signal", `kill -9 $$`, "token: "},
		{"a child that holds the pipe", `sleep 600 & echo $! >> $0.children; printf '%s' '{good}'`, ""},
		{"a child that holds the pipe, and nothing", `sleep 600 & echo $! >> $0.children`, "token: "},
		{"a child that holds the pipe, and a failure", `sleep 600 & echo $! >> $0.children; exit 1`, "token: "},
	} {
		for mode, tool := range map[string]string{"azure-cli": "az", "azure-developer-cli": "azd", "azure-powershell": "pwsh"} {
			t.Run(tt.name+", "+tool, func(t *testing.T) {
				entratest.CleanEnv(t)
				bin := t.TempDir()
				path := filepath.Join(bin, tool)
				if err := os.WriteFile(path, []byte("#!/bin/sh\necho $$ >> $0.children\n"+strings.ReplaceAll(tt.script, "{good}", good[tool])+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
				t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
				log := &record{}
				c, err := NewConnector("host=h user=u aad_token_timeout=1s aad_auth="+mode, WithLogger(slog.New(slog.NewTextHandler(log, nil))))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				allocated, took := cost(func() { _, err = tokenOf(ctx, c) })
				if tt.want != "" {
					oneHarmlessLine(t, err, tt.want)
				} else if err != nil {
					t.Error(err)
				}
				if allocated > 512<<20 || took > 3*time.Second {
					t.Errorf("it took %d KiB and %s", allocated>>10, took)
				}
				if strings.Contains(log.String(), entratest.Marker) {
					t.Errorf("logged: %s", log)
				}
				reap(t, path)
			})
		}
	}
}

// reap ends what the tool left behind: children on purpose, and itself if it hung,
// for azidentity ends the shell that runs it and no more.
func reap(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path + ".children")
	if err != nil {
		t.Fatal(err) // it did not run
	}
	for word := range strings.FieldsSeq(string(b)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		args, _ := os.ReadFile("/proc/" + word + "/cmdline") // not another process that has the number now
		if said := string(args); strings.Contains(said, path) || strings.HasPrefix(said, "sleep\x00600") {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
