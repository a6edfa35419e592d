package dsn

import (
	"strings"
	"testing"
)

// A path of Windows whose backslashes are not escaped would name another file.
func TestPaths(t *testing.T) {
	const wantErr = `contains a backslash, which escapes the next character in key=value pairs; write \\ for each \ of a path, or /`
	for _, row := range []struct{ name, value, want string }{
		{"backslashes", `C:\certs\root.pem`, ""},
		{"quoted", `'C:\My Certs\root.pem'`, ""},
		{"space, not quoted", `C:\Program Files\root.pem`, ""},
		{"capital letters", `C:\Users\Me\root`, ""},
		{"digits", `D:\2026\root`, ""},
		{"letters that are no ASCII", `C:\Übung\root`, ""},
		{"hidden folder", `C:\\Users\\me\.postgresql\root.crt`, ""},
		{"variable", `C:\%USERNAME%\x`, ""},
		{"share", `\\server\share\root.pem`, ""},
		{"relative", `certs\root.pem`, ""},
		{"mixed", `C:/certs\root.pem`, ""},
		{"escaped", `C:\\certs\\root.pem`, `C:\certs\root.pem`},
		{"escaped, quoted", `'C:\\My Certs\\root.pem'`, `C:\My Certs\root.pem`},
		{"escaped share", `\\\\server\\share`, `\\server\share`},
		{"slashes", `C:/certs/root.pem`, `C:/certs/root.pem`},
		{"escaped space", `/etc/my\ certs`, `/etc/my certs`},
		{"escaped quote", `/etc/o\'brien`, `/etc/o'brien`},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, name := range []string{"sslrootcert", "sslcert", "sslkey", "sslkeylogfile", "sslcrl", "sslcrldir", "passfile", "servicefile"} {
				c, err := Parse("host=h " + name + "=" + row.value + " user=u")
				if row.want == "" {
					checkError(t, err, `key "`+name+`" `+wantErr)
					continue
				}
				if err != nil {
					t.Errorf("%s: got error %v, want none", name, err)
					continue
				}
				if got := c.Params[name]; got != row.want {
					t.Errorf("%s = %q, want %q", name, got, row.want)
				}
			}
		})
	}
	for _, row := range []struct{ name, in, wantErr string }{
		{"host", `host=C:\sockets`, "the host " + wantErr},
		{"instance of a host", `host=db\instance`, "the host " + wantErr},
		{"certificate", `aad_auth=client-certificate aad_client_certificate=C:\app.pfx`, `key "aad_client_certificate" ` + wantErr},
		{"federated token", `aad_auth=workload-identity aad_federated_token_file=C:\var\token`, `key "aad_federated_token_file" ` + wantErr},
		{"token", `aad_auth=access-token aad_token_file=C:\Users\me\token`, `key "aad_token_file" ` + wantErr},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := Parse(row.in)
			checkError(t, err, row.wantErr)
		})
	}
}

// Where a backslash does not escape, a path of Windows is as it is written.
func TestLiteralPaths(t *testing.T) {
	const path = `C:\certs\root.pem`
	files := fakeEnv(map[string]string{homeVariable: home}, serviceFile, "[s]\nsslrootcert="+path+"\n")
	for _, row := range []struct{ name, in string }{
		{"URL", "postgres://u@h/d?sslrootcert=" + path},
		{"encoded in a URL", "postgres://u@h/d?sslrootcert=C:%5Ccerts%5Croot.pem"},
		{"service file", "host=h service=s"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, err := ParseEnv(row.in, files)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Params["sslrootcert"]; got != path {
				t.Errorf("sslrootcert = %q, want %q", got, path)
			}
			if got := mustParse(t, c.DSN()).Params["sslrootcert"]; got != path {
				t.Errorf("after DSN, sslrootcert = %q, want %q", got, path)
			}
		})
	}
}

// Only paths are checked: elsewhere a backslash may be meant to escape.
func TestOtherBackslashes(t *testing.T) {
	const in = `host=h user=a\b aad_auth=password password=c\d application_name=e\f`
	c := mustParse(t, in)
	for _, row := range []struct{ name, got, want string }{
		{"user", c.Params["user"], "ab"},
		{"password", c.Password.Value(), "cd"},
		{"application_name", c.Params["application_name"], "ef"},
	} {
		if row.got != row.want {
			t.Errorf("%s of %q = %q, want %q", row.name, in, row.got, row.want)
		}
	}
}

// Each key that is documented as a path is checked as one.
func TestPathKeys(t *testing.T) {
	for _, k := range keys {
		if documented := strings.HasPrefix(k.Doc, "path of"); k.path != documented {
			t.Errorf("%s: path = %t, want %t, as Doc has it", k.Name, k.path, documented)
		}
	}
}
