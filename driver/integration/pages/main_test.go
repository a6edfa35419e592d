// Package pages tests the documentation: all code, commands and figures in the pages, in
// package comments and in the help of the commands.
package pages

import (
	"fmt"
	"os"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

func TestMain(m *testing.M) {
	code := need.Run(m)
	if err := os.RemoveAll(buildDir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
