package emulator

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Command is [exec.CommandContext] for a program in any language that runs there as
// id, which has a role: its environment is this process's with [Azure.Exports], and
// nothing that would tell of another host or server.
func (a *Azure) Command(ctx context.Context, h Host, id Identity, name string, args ...string) (*exec.Cmd, error) {
	exports, err := a.Exports(h, id)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, name, args...)
	for _, kv := range exports { // a program may be the host's own: az, say
		if path, ok := strings.CutPrefix(kv, "PATH="); ok && !strings.ContainsRune(name, filepath.Separator) {
			if found, err := exec.LookPath(filepath.Join(filepath.SplitList(path)[0], name)); err == nil {
				cmd.Path, cmd.Err = found, nil
			}
		}
	}
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		variable, _, _ := strings.Cut(kv, "=")
		return slices.Contains(telling, variable) || slices.Contains(leading, variable)
	})
	cmd.Env = append(cmd.Env, exports...)
	return cmd, nil
}

// leading are libpq's variables that would lead elsewhere, or keep from it.
var leading = []string{"PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSSLMODE", "PGSSLROOTCERT", "PGSERVICE", "PGSERVICEFILE", "PGPASSWORD", "PGPASSFILE", "PGREQUIREAUTH", "PGREQUIREPEER", "PGREQUIRESSL", "PGCHANNELBINDING",
	"PGSSLCERT", "PGSSLKEY", "PGSSLCRL", "PGSSLCRLDIR", "PGSSLNEGOTIATION", "PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION", "PGTARGETSESSIONATTRS"}

// Exports is what leads a program that runs there as id, in whatever language, to
// the emulator: [Azure.Environ], the variables that libpq and its kin read, a
// DATABASE_URL, and the authority and its certificate. The token is the program's
// to get, as on Azure, and to present as its password. For the driver aadpostgres,
// which does so itself, the URL has parameters in Kubernetes and in a pipeline,
// where its default mode would not do; programs without it then use the variables.
func (a *Azure) Exports(h Host, id Identity) ([]string, error) {
	env, err := a.Environ(h, id)
	if err != nil {
		return nil, err
	}
	var params []string
	switch h {
	case Kubernetes, Pipelines:
		mode := map[Host]string{Kubernetes: "workload-identity", Pipelines: "azure-pipelines"}[h]
		params = append(params, "aad_auth="+mode, "aad_disable_instance_discovery=true") // the public cloud does not know this authority
	case Workstation:
		env = append(env, "AZURE_TOKEN_CREDENTIALS=dev") // it is no virtual machine: nobody need ask
	case VirtualMachine:
		return nil, fmt.Errorf("emulator: no program finds the emulator on a %s, whose address is fixed; choose one of %s, %s, %s, %s, %s and %s", h,
			AppService, Kubernetes, Pipelines, Workstation, MachineLearning, CloudShell)
	}
	role := id.Name
	if a.single {
		role += "@" + ServerName
	}
	// A name, as older versions of libpq compare no address with a certificate; and the
	// address, as others may listen at the name's other one.
	const name = "localhost"
	database := a.postgres.database()
	params = append(params, "user="+role, "sslmode=verify-full")
	roots, err := a.roots()
	if err != nil {
		return nil, err
	}
	for _, variable := range []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"} {
		env = append(env, variable+"="+roots)
	}
	return append(env, "AZURE_AUTHORITY_HOST="+a.Authority(), "AZURE_TENANT_ID="+TenantID, "PGHOST="+name, "PGHOSTADDR=127.0.0.1", fmt.Sprint("PGPORT=", a.Port()), "PGDATABASE="+database,
		"PGUSER="+role, "PGSSLMODE=verify-full", "PGSSLROOTCERT="+a.CertFile(), "DATABASE_URL="+a.url(name, database, params)), nil
}

// bundles are where systems keep the certificates that they trust, if not where the
// environment says.
var bundles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}

// roots is a file with those and the emulator's own: the program may have business
// elsewhere, too.
func (a *Azure) roots() (string, error) {
	var all []byte
	for _, name := range append([]string{os.Getenv("SSL_CERT_FILE")}, bundles...) {
		if b, err := os.ReadFile(name); err == nil {
			all = append(b, '\n')
			break
		}
	}
	file := filepath.Join(a.dir, "roots.pem")
	return file, os.WriteFile(file, append(all, a.ca.pem...), 0o644)
}
