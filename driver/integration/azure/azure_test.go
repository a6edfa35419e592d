//go:build azure

package azure

import (
	"os"
	"testing"
)

// TestAzure tries the claims on the server of Azure that the environment describes (see
// FromEnv), and prints the report. AADPOSTGRES_AZURE_REPORT names a file to write it to
// besides. A claim that is contradicted does not fail the test: it is a finding.
func TestAzure(t *testing.T) {
	s, err := FromEnv(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	text := report.Markdown()
	t.Log("\n" + text)
	if file := os.Getenv("AADPOSTGRES_AZURE_REPORT"); file != "" {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
