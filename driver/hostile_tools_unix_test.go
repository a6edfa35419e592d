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
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// A developer tool that prints garbage or secrets, hangs, or leaves children behind causes
// an error of one line, in time. azidentity keeps what the tool prints until it ends or
// the time is up, so the memory limit is generous.
func TestHostileTools(t *testing.T) {
	token := entratest.JWT(map[string]any{"oid": "o"})
	expires := time.Now().Add(time.Hour)
	tools := []struct{ name, mode, output string }{
		{"az", "azure-cli", fmt.Sprintf(`{"accessToken":"%s","expires_on":%d}`, token, expires.Unix())},
		{"azd", "azure-developer-cli", fmt.Sprintf(`{"token":"%s","expiresOn":"%s"}`, token, expires.UTC().Format(time.RFC3339))},
		{"pwsh", "azure-powershell", fmt.Sprintf(`{"Token":"%s","ExpiresOn":%d}`, token, expires.Unix())},
	}
	for _, tt := range []struct {
		name, script string // {good} is the tool's own output
		want         string // in the error; "": there is a token
	}{
		{"garbage", `printf '\033[31mfoo\r\n\0bar\377'`, "token: "},
		{"nothing", `:`, "token: "},
		{"an error message", `printf '\033[2J\033[31mno\r\n\tyou don'"'"'t; run evil\n' >&2; exit 1`, "token: "},
		{"the token, then a failure", `printf '%s' '{good}'; printf '%s' '` + token + `' >&2; exit 1`, "token: "},
		{"the token, then garbage", `printf '%s' '{good}???'`, "token: "},
		{"a token of several lines", `printf '%s' '{good}' | sed 's/` + entratest.Marker + `/&\\nHost: evil/'`, "the response's token holds characters that no token has"},
		{"a token of 100 KB", `printf '%s' '{good}' | sed "s/` + entratest.Marker + `/$(head -c 102400 /dev/zero | tr '\0' x)/"`, "and PostgreSQL accepts 65534"},
		{"a hang", `exec sleep 600`, "context deadline exceeded"},
		{"a hang in a child", `sleep 600 & echo $! >> $0.children; wait`, "context deadline exceeded"},
		{"16 MiB of output", `head -c 16777216 /dev/zero | tr '\0' x`, "token: "},
		{"16 MiB of error messages", `head -c 16777216 /dev/zero | tr '\0' x >&2; exit 1`, "token: "},
		{"killed by a signal", `kill -9 $$`, "token: "},
		{"a child that holds the pipe", `sleep 600 & echo $! >> $0.children; printf '%s' '{good}'`, ""},
		{"a child that holds the pipe, no output", `sleep 600 & echo $! >> $0.children`, "token: "},
		{"a child that holds the pipe, then a failure", `sleep 600 & echo $! >> $0.children; exit 1`, "token: "},
	} {
		for _, tool := range tools {
			t.Run(tt.name+", "+tool.name, func(t *testing.T) {
				if strings.Contains(tt.script, "| sed ") {
					need.Program(t, "sed")
				}
				entratest.CleanEnv(t)
				bin := t.TempDir()
				path := filepath.Join(bin, tool.name)
				if err := os.WriteFile(path, []byte("#!/bin/sh\necho $$ >> $0.children\n"+strings.ReplaceAll(tt.script, "{good}", tool.output)+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
				t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
				log := &syncBuffer{}
				c := newConnector(t, "host=h user=u aad_token_timeout=1s aad_auth="+tool.mode, WithLogger(slog.New(slog.NewTextHandler(log, nil))))
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var err error
				cost := measure(func() { _, err = tokenOf(ctx, c) })
				killChildren(t, path)
				if tt.want != "" {
					checkSafeError(t, err, tt.want)
				} else if err != nil {
					t.Errorf("the token: %v, want no error", err)
				}
				cost.check(t, 512<<20, 3*time.Second)
				checkNoSecret(t, "log", log.String())
			})
		}
	}
}

// killChildren ends what the tool at path has started, which it lists in a file: its
// children, and itself if it hangs. azidentity kills only the shell that runs it.
func killChildren(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path + ".children")
	if err != nil {
		t.Fatalf("the tool did not run: %v", err)
	}
	if err := endProcesses(path, strings.Fields(string(b))); err != nil {
		t.Fatal(err)
	}
}

// endProcesses ends those of the processes that are still the tool's at path.
func endProcesses(path string, pids []string) error {
	for _, word := range pids {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return err
		}
		// The number may be another process's by now.
		cmdline, _ := os.ReadFile("/proc/" + word + "/cmdline")
		if args := string(cmdline); strings.Contains(args, path) || strings.HasPrefix(args, "sleep\x00600") {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return nil
}
