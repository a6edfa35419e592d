//go:build !windows

package azure

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fakeAz answers what the scripts ask az, and records its arguments.
const fakeAz = `#!/bin/sh
echo "az $*" >>"$LOG"
case "$*" in
*get-access-token*) echo "$TOKEN" ;;
*user.type*) echo "$TYPE" ;;
*user.name*) echo "$ACCOUNT" ;;
*tenantId*) echo 11111111-2222-3333-4444-555555555555 ;;
"group exists"*) if [ -e "$LOG.group" ]; then echo true; else echo false; fi ;;
"group create"*) : >"$LOG.group" ;;
"group delete"*) rm "$LOG.group" ;;
*tags.purpose*) echo "$PURPOSE" ;;
*outputs.identityName*) echo server-app ;;
*outputs.identityClientId*) echo 22222222-2222-3333-4444-555555555555 ;;
*outputs.identityObjectId*) echo 33333333-2222-3333-4444-555555555555 ;;
*outputs.host*) echo server.postgres.database.azure.com ;;
esac
`

// A deployment runs the scripts with an az and a go that do nothing.
type deployment struct {
	log, file string
	env       []string
}

func newDeployment(t *testing.T, env ...string) *deployment {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("bash is not installed")
	}
	bin := t.TempDir()
	for name, text := range map[string]string{"az": fakeAz, "go": "#!/bin/sh\necho \"go $*\" >>\"$LOG\"\n"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d := &deployment{log: filepath.Join(t.TempDir(), "log"), file: filepath.Join(t.TempDir(), "azure.env")}
	payload := base64.RawURLEncoding.EncodeToString([]byte(`{"aud":"x","oid":"44444444-2222-3333-4444-555555555555","tid":"y"}`))
	d.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "LOG="+d.log, "TOKEN=e30."+payload+".c2ln",
		"CLIENT_ADDRESS=192.0.2.1", "PURPOSE=aadpostgres-conformance", "SUBJECT=", "ADMIN_NAME=")
	d.env = append(d.env, env...)
	return d
}

func (d *deployment) run(script string, args ...string) (string, error) {
	cmd := exec.Command("bash", append([]string{filepath.Join("deploy", script)}, args...)...)
	cmd.Env = d.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (d *deployment) calls() string {
	b, _ := os.ReadFile(d.log)
	return string(b)
}

// The script up writes variables that FromEnv takes, whatever the account is called.
func TestUp(t *testing.T) {
	rows := []struct {
		name     string
		env      []string
		role     string // the administrator's
		identity Identity
		managed  string // mode
		kind     string
	}{
		{"person", []string{"TYPE=user", "ACCOUNT=kim.o'neil@contoso.example"}, "kim.o'neil@contoso.example", Person, "managed-identity", "User"},
		{"service principal", []string{"TYPE=servicePrincipal", "ACCOUNT=id", "ADMIN_NAME=CI of db", "SUBJECT=repo:a/b:environment:azure"}, "CI of db", ServicePrincipal, "workload-identity", "ServicePrincipal"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			d := newDeployment(t, row.env...)
			if out, err := d.run("up", "group", d.file); err != nil {
				t.Fatalf("up: %v\n%s", err, out)
			}
			cmd := exec.Command("bash", "-c", `set -a; . "$0"; env -0`, d.file)
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			vars := map[string]string{}
			for line := range strings.SplitSeq(string(out), "\x00") {
				name, value, _ := strings.Cut(line, "=")
				vars[name] = value
			}
			s, err := FromEnv(func(name string) string { return vars[name] })
			if err != nil {
				t.Fatal(err)
			}
			r := &run{settings: s}
			admin, err := r.config(Admin)
			if err != nil {
				t.Fatal(err)
			}
			if got := admin.Params["user"]; got != row.role {
				t.Errorf("user of the administrator = %q, want %q", got, row.role)
			}
			if s.Identities[row.identity] != s.Identities[Admin] {
				t.Errorf("parameters of the %s = %q, want the administrator's", row.identity, s.Identities[row.identity])
			}
			managed, err := r.config(ManagedIdentity)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(managed.Auth[0]); got != row.managed {
				t.Errorf("mode of the managed identity = %q, want %q", got, row.managed)
			}
			if info, err := os.Stat(d.file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode of the file = %v, %v, want 0600", info, err)
			}
			for _, want := range []string{"adminObjectId=44444444-2222-3333-4444-555555555555", "adminType=" + row.kind, "clientAddress=192.0.2.1", "-object-id 33333333-2222-3333-4444-555555555555 -apply host=server.postgres.database.azure.com"} {
				if !strings.Contains(d.calls(), want) {
					t.Errorf("calls = %s, want %q in them", d.calls(), want)
				}
			}
		})
	}
}

// The scripts touch no group that is somebody else's.
func TestOtherGroupsStay(t *testing.T) {
	rows := []struct {
		name, script, purpose string
		exists                bool
		want                  string // in the output of a failure; "" means success
		deleted               bool
	}{
		{"up, the group exists", "up", "", true, "the group exists", false},
		{"down, made by up", "down", "aadpostgres-conformance", true, "", true},
		{"down, made by another", "down", "production", true, "was not made by up", false},
		{"down, without tags", "down", "", true, "was not made by up", false},
		{"down, no group", "down", "", false, "", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			d := newDeployment(t, "TYPE=user", "ACCOUNT=kim", "PURPOSE="+row.purpose)
			if row.exists {
				if err := os.WriteFile(d.log+".group", nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := []string{"group"}
			if row.script == "up" {
				args = append(args, d.file)
			}
			out, err := d.run(row.script, args...)
			if (err != nil) != (row.want != "") || !strings.Contains(out, row.want) {
				t.Errorf("%s: %v, output %q, want %q", row.script, err, out, row.want)
			}
			if got := strings.Contains(d.calls(), "group delete"); got != row.deleted {
				t.Errorf("deleted = %t, want %t; calls:\n%s", got, row.deleted, d.calls())
			}
			if strings.Contains(d.calls(), "group create") {
				t.Errorf("calls = %s, want no group created", d.calls())
			}
		})
	}
}

// Workflows pin the actions that they use by commit. The one that signs in to Azure has no
// other right than that, and always deletes what it has made.
func TestWorkflow(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("workflows = %q, %v, want some", files, err)
	}
	uses := regexp.MustCompile(`(?m)uses: (\S+)`)
	pinned := regexp.MustCompile(`@[0-9a-f]{40}$`)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range uses.FindAllStringSubmatch(string(b), -1) {
			if !pinned.MatchString(m[1]) {
				t.Errorf("%s uses %s, want a commit", filepath.Base(file), m[1])
			}
		}
		if filepath.Base(file) != "azure.yml" {
			continue
		}
		text := string(b)
		for _, want := range []string{"permissions: {}", "contents: read", "id-token: write", "workflow_dispatch:", "environment: azure", "if: always()\n        run: driver/integration/azure/deploy/down"} {
			if !strings.Contains(text, want) {
				t.Errorf("azure.yml does not have %q", want)
			}
		}
		if strings.Count(text, ": write") != 1 || strings.Contains(text, "secrets.") {
			t.Error("azure.yml has another right than id-token, or a secret")
		}
		script := regexp.MustCompile(`\$\{\{[^}]*inputs`)
		for _, line := range strings.Split(text, "\n") {
			if script.MatchString(line) && !regexp.MustCompile(`^\s+[A-Z_]+: \$\{\{ inputs\.\w+ \}\}$`).MatchString(line) {
				t.Errorf("azure.yml has an input in %q, want it in a variable only: it could be a command", strings.TrimSpace(line))
			}
		}
	}
}
