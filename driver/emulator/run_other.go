//go:build !unix

package emulator

import "os/exec"

func supervised(args []string) *exec.Cmd { return exec.Command(args[0], args[1:]...) }

func unprivileged(*exec.Cmd, ...string) error { return nil }
