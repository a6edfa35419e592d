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

// Command returns a command, as [exec.CommandContext] does, for a program in any language
// that runs on h as id. The identity must have a role. The command's environment is this
// process's, without the variables that name another host, server or proxy and with
// [Azure.Exports].
func (a *Azure) Command(ctx context.Context, h Host, id Identity, name string, args ...string) (*exec.Cmd, error) {
	exports, err := a.Exports(h, id)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, name, args...)
	if path := findOnHost(exports, name); path != "" {
		cmd.Path = path
		cmd.Err = nil
	}
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		variable, _, _ := strings.Cut(kv, "=")
		return namesHost(variable)
	})
	cmd.Env = append(cmd.Env, exports...)
	return cmd, nil
}

// findOnHost returns the path of a program of the host, such as az, which precedes one of
// this process's PATH, or "".
func findOnHost(exports []string, name string) string {
	if strings.ContainsRune(name, filepath.Separator) {
		return ""
	}
	for _, kv := range exports {
		path, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		bin := filepath.SplitList(path)[0]
		if found, err := exec.LookPath(filepath.Join(bin, name)); err == nil {
			return found
		}
	}
	return ""
}

// Exports returns the environment, as KEY=value, by which a program in any language that
// runs on h as id finds the emulator: [Azure.Environ], the variables that libpq reads, a
// DATABASE_URL, a proxy and the certificates of its authority. As on Azure, the program
// must itself request the token that it presents as its password.
//
// The proxy, at HTTPS_PROXY and HTTP_PROXY, leads the authorities of every cloud, such as
// login.microsoftonline.com, to the emulator. It refuses every other host, so that neither
// a token request nor a probe of the metadata service leaves this machine. A program that
// has to reach another host adds it to NO_PROXY.
//
// The driver aadpostgres needs only DATABASE_URL. For [Kubernetes] and [Pipelines] that
// URL has parameters of the driver, because its default mode does not cover them.
// Programs without the driver must then use the libpq variables.
func (a *Azure) Exports(h Host, id Identity) ([]string, error) {
	env, err := a.Environ(h, id)
	if err != nil {
		return nil, err
	}
	var params []string
	switch h {
	case Kubernetes:
		params = []string{"aad_auth=workload-identity"}
	case Pipelines:
		// DefaultAzureCredential has no credential for a pipeline. Without this, it would
		// probe for the metadata service.
		params = []string{"aad_auth=azure-pipelines"}
		env = append(env, "AZURE_TOKEN_CREDENTIALS=EnvironmentCredential")
	case Workstation:
		env = append(env, "AZURE_TOKEN_CREDENTIALS=dev") // a workstation has no metadata service to probe
	case VirtualMachine:
		return nil, fmt.Errorf("emulator: a program on a %s cannot reach the emulator, because the address of its metadata service is fixed; choose one of %s, %s, %s, %s, %s, %s and %s", h,
			AppService, Kubernetes, Pipelines, Workstation, OnPremises, MachineLearning, CloudShell)
	}
	role := id.Name
	if a.single {
		role += "@" + ServerName
	}
	bundle, err := a.writeCABundle()
	if err != nil {
		return nil, err
	}
	for _, variable := range []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"} {
		env = append(env, variable+"="+bundle)
	}
	for _, variable := range []string{"HTTPS_PROXY", "HTTP_PROXY"} {
		env = append(env, variable+"="+a.proxy.server.URL, strings.ToLower(variable)+"="+a.proxy.server.URL)
	}
	// Older versions of libpq do not match an IP address with a certificate, so PGHOST is a
	// name. PGHOSTADDR is set too, because the name also resolves to ::1, where another
	// server may listen.
	const name = "localhost"
	database := a.postgres.database()
	params = append(params, "user="+role, "sslmode=verify-full")
	return append(env,
		"NO_PROXY="+localHosts,
		"no_proxy="+localHosts,
		"NODE_USE_ENV_PROXY=1", // Node's own clients, since Node 22
		"AZURE_AUTHORITY_HOST="+publicAuthority(),
		"AZURE_TENANT_ID="+TenantID,
		"PGHOST="+name,
		"PGHOSTADDR=127.0.0.1",
		fmt.Sprint("PGPORT=", a.Port()),
		"PGDATABASE="+database,
		"PGUSER="+role,
		"PGSSLMODE=verify-full",
		"PGSSLROOTCERT="+a.CertFile(),
		"DATABASE_URL="+a.url(name, database, params)), nil
}

// localHosts are the hosts that a program reaches without the proxy.
const localHosts = "localhost,127.0.0.1,::1"

// systemCABundles are the files in which systems keep the certificates that they trust,
// unless SSL_CERT_FILE names another.
var systemCABundles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}

// writeCABundle writes a file with the system's certificates, because the program may
// connect to other servers too, and the emulator's own.
func (a *Azure) writeCABundle() (file string, err error) {
	var bundle []byte
	for _, name := range append([]string{os.Getenv("SSL_CERT_FILE")}, systemCABundles...) {
		if b, err := os.ReadFile(name); err == nil {
			bundle = append(b, '\n')
			break
		}
	}
	file = filepath.Join(a.dir, "roots.pem")
	return file, os.WriteFile(file, append(bundle, a.ca.rootPEM...), 0o644)
}
