package credential

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// digestFiles digests the files that decide who signs in and that are read once: when a
// credential is made, or, by a developer tool, for a token that lives for an hour. A file that
// replaces one of them may be another identity's. It does not read a federated token: azidentity
// reads it again every ten minutes, and Kubernetes replaces it every hour.
func digestFiles(cfg *dsn.Config) string {
	all := sha256.New()
	for _, path := range identityFiles(cfg) {
		content, err := token.ReadFile(path)
		if err != nil {
			content = nil // the credential that needs it says what is wrong
		}
		sum := sha256.Sum256(content)
		all.Write(sum[:])
	}
	return hex.EncodeToString(all.Sum(nil))
}

// statFiles returns what identifies the files that digestFiles reads; nil for one that is
// missing.
func statFiles(cfg *dsn.Config) []os.FileInfo {
	var infos []os.FileInfo
	for _, path := range identityFiles(cfg) {
		info, err := os.Stat(path)
		if err != nil {
			info = nil
		}
		infos = append(infos, info)
	}
	return infos
}

// sameFile reports whether a and b are the same file with the same contents.
func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// identityFiles lists the files that the modes of cfg read.
func identityFiles(cfg *dsn.Config) []string {
	reads := func(mode dsn.Mode) bool {
		return slices.Contains(cfg.Auth, mode) || slices.Contains(cfg.Auth, dsn.Default)
	}
	var paths []string
	if cfg.ClientCertificate != "" {
		paths = append(paths, cfg.ClientCertificate)
	}
	if path := os.Getenv("AZURE_CLIENT_CERTIFICATE_PATH"); path != "" && reads(dsn.Environment) {
		paths = append(paths, path)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return paths
	}
	// Each tool writes this file when a person signs in or chooses a subscription, and not
	// when it requests a token.
	if reads(dsn.AzureCLI) {
		paths = append(paths, filepath.Join(cmp.Or(os.Getenv("AZURE_CONFIG_DIR"), filepath.Join(home, ".azure")), "azureProfile.json"))
	}
	if reads(dsn.AzureDeveloperCLI) {
		paths = append(paths, filepath.Join(cmp.Or(os.Getenv("AZD_CONFIG_DIR"), filepath.Join(home, ".azd")), "auth.json"))
	}
	if reads(dsn.AzurePowerShell) {
		paths = append(paths, filepath.Join(home, ".Azure", "AzureRmContext.json"))
	}
	return paths
}
