//go:build unix

package main

import (
	"bufio"
	"errors"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// Signals reach the command once, and its exit status is that of emulate.
func TestSignals(t *testing.T) {
	const wait = "echo ready; while :; do sleep 0.05; done"
	type signal struct {
		number  syscall.Signal
		toGroup bool // as a terminal's Ctrl-C
	}
	interrupt := signal{syscall.SIGINT, true}
	terminate := signal{syscall.SIGTERM, false}
	dir := tempDir(t)
	for _, tt := range []struct {
		name       string
		script     string
		signals    []signal
		wantOutput string
		wantStatus int
	}{
		{"no signal", "echo ready; exit 4", nil, "", 4},
		{"killed", "echo ready; kill -KILL $$", nil, "", 128 + 9},
		{"Ctrl-C", wait, []signal{interrupt}, "", 128 + 2},
		{"Ctrl-C reaches the command once", "trap 'echo interrupted' INT; " + wait, []signal{interrupt, terminate}, "interrupted\n", 128 + 15},
		{"Ctrl-C handled by the command", "trap 'sleep 0.2; echo bye; exit 0' INT; " + wait, []signal{interrupt}, "bye\n", 0},
		{"Ctrl-C ignored by the command", "trap '' INT; " + wait, []signal{interrupt, interrupt}, "", 128 + 15},
		{"SIGTERM handled by the command", "trap 'echo bye; exit 0' TERM; " + wait, []signal{terminate}, "bye\n", 0},
		{"SIGTERM ignored by the command", "trap '' TERM; " + wait, []signal{terminate}, "", 128 + 9},
		{"Ctrl-C and SIGTERM ignored by the command", "trap '' INT TERM; " + wait, []signal{interrupt, interrupt}, "", 128 + 9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := emulate(dir, "--", need.Shell(t), "-c", tt.script)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			var stderr strings.Builder
			cmd.Stderr = &stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timeout := time.AfterFunc(30*time.Second, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
			defer timeout.Stop()
			lines := bufio.NewReader(stdout)
			if line, err := lines.ReadString('\n'); line != "ready\n" {
				t.Errorf("first line = %q, %v, want %q", line, err, "ready\n")
			}
			for i, s := range tt.signals {
				if i > 0 {
					time.Sleep(200 * time.Millisecond) // the kernel may merge two signals at once
				}
				pid := cmd.Process.Pid
				if s.toGroup {
					pid = -pid
				}
				syscall.Kill(pid, s.number)
			}
			output, err := io.ReadAll(lines)
			if err != nil {
				t.Error(err)
			}
			err = cmd.Wait()
			status := 0
			var exitErr *exec.ExitError
			if errors.As(err, &exitErr) {
				status = exitErr.ExitCode()
			}
			if string(output) != tt.wantOutput {
				t.Errorf("output = %q, want %q", output, tt.wantOutput)
			}
			if status != tt.wantStatus {
				t.Errorf("exit status = %d, want %d", status, tt.wantStatus)
			}
			if strings.Contains(stderr.String(), "emulate:") {
				t.Errorf("emulate printed an error: %q, want none", &stderr)
			}
		})
	}
	checkNothingLeft(t, dir)
}
