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
)

// Signals reach the command once, and its exit status is emulate's.
func TestSignals(t *testing.T) {
	const wait = "echo ready; while :; do sleep 0.05; done"
	type sent struct {
		signal   syscall.Signal
		everyone bool // in the group, as a terminal's Ctrl-C
	}
	interrupt, terminate := sent{syscall.SIGINT, true}, sent{syscall.SIGTERM, false}
	dir := folder(t)
	for name, tt := range map[string]struct {
		script  string
		signals []sent
		out     string
		status  int
	}{
		"none":                        {"echo ready; exit 4", nil, "", 4},
		"killed":                      {"echo ready; kill -KILL $$", nil, "", 128 + 9},
		"Ctrl-C":                      {wait, []sent{interrupt}, "", 128 + 2},
		"Ctrl-C, once":                {"trap 'echo heard' INT; " + wait, []sent{interrupt, terminate}, "heard\n", 128 + 15},
		"Ctrl-C, in order":            {"trap 'sleep 0.2; echo bye; exit 0' INT; " + wait, []sent{interrupt}, "bye\n", 0},
		"Ctrl-C, ignored":             {"trap '' INT; " + wait, []sent{interrupt, interrupt}, "", 128 + 15},
		"SIGTERM":                     {"trap 'echo bye; exit 0' TERM; " + wait, []sent{terminate}, "bye\n", 0},
		"SIGTERM, ignored":            {"trap '' TERM; " + wait, []sent{terminate}, "", 128 + 9},
		"Ctrl-C and SIGTERM, ignored": {"trap '' INT TERM; " + wait, []sent{interrupt, interrupt}, "", 128 + 9},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := emulate(dir, "--", "sh", "-c", tt.script)
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
			late := time.AfterFunc(30*time.Second, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
			defer late.Stop()
			lines := bufio.NewReader(stdout)
			if line, err := lines.ReadString('\n'); line != "ready\n" {
				t.Errorf("%q, %v", line, err)
			}
			for i, s := range tt.signals {
				if i > 0 {
					time.Sleep(200 * time.Millisecond) // two at once may be one
				}
				pid := cmd.Process.Pid
				if s.everyone {
					pid = -pid
				}
				syscall.Kill(pid, s.signal)
			}
			out, _ := io.ReadAll(lines)
			err = cmd.Wait()
			status := 0
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				status = exit.ExitCode()
			}
			if string(out) != tt.out || status != tt.status || strings.Contains(stderr.String(), "emulate:") {
				t.Errorf("%q, %d, %q; want %q, %d", out, status, &stderr, tt.out, tt.status)
			}
		})
	}
	if all := left(dir); all != nil {
		t.Errorf("%q", all)
	}
}
