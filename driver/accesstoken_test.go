package driver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// In mode access-token the token is the password, or what the file holds at the time of
// the connect.
func TestAccessToken(t *testing.T) {
	entratest.CleanEnv(t)
	file := filepath.Join(t.TempDir(), "token")
	s := newFakeServer(t, nil)
	for _, tt := range []struct {
		name, inFile, params, want string
	}{
		{name: "file", inFile: "first-" + entratest.Marker, params: "aad_token_file=" + entratest.Quote(file), want: "first-" + entratest.Marker},
		{name: "file that has changed", inFile: "second-" + entratest.Marker, params: "aad_token_file=" + entratest.Quote(file), want: "second-" + entratest.Marker},
		{name: "password", params: "password=third", want: "third"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			writeFile(t, file, tt.inFile+"\n")
			if err := ping(t, s.trustedDSN("aad_auth=access-token "+tt.params)); err != nil {
				t.Fatalf("ping = %v, want no error", err)
			}
			if received := s.received.String(); !strings.Contains(received, tt.want+"\x00") {
				t.Errorf("the server received %q, want %q in it", received, tt.want)
			}
		})
	}
}

// What a file adds to a token does not harm, if the token comes from PGPASSWORD. Where the
// password is presented as it is, it is named.
func TestPGPASSWORDFromAFile(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	token := "fourth-" + entratest.Marker
	for _, tt := range []struct{ name, mode, value, want string }{
		{"line break", "access-token", token + "\r\n", ""},
		{"byte order mark", "access-token", "\ufeff" + token + "\n", ""},
		{"UTF-16", "access-token", "\xff\xfee", "aadpostgres: dsn: the password is no token, because it is not UTF-8; save the token as UTF-8"},
		{"line break within", "access-token", token + "\n" + token, "holds quotes, spaces or braces"},
		{"password", "password", token + "\n", "PGPASSWORD contains a line break or another control character; remove it"},
		{"password with a byte order mark", "password", "\ufeff" + token, "PGPASSWORD contains a line break or another control character"},
		{"not read", "azure-cli", token + "\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !utf8.ValidString(tt.value) {
				entratest.SkipOnWindows(t, "a variable holds no bytes but UTF-16")
			}
			t.Setenv("PGPASSWORD", tt.value)
			var opts []Option
			if tt.mode == "azure-cli" {
				opts = append(opts, WithCredential(&entratest.Credential{}))
			}
			err := ping(t, s.trustedDSN("aad_auth="+tt.mode), opts...)
			if tt.want == "" && err != nil {
				t.Errorf("ping = %v, want no error", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("ping = %v, want %q in it", err, tt.want)
			}
			if err != nil {
				checkNoSecret(t, "error", err.Error())
			}
			if received := s.received.String(); strings.Contains(received, token+"\r") || strings.Contains(received, token+"\n") {
				t.Errorf("the server received %q, want the token alone", received)
			}
		})
	}
}

// A token that is missing, expired or older than aad_token_max_age is an error, without
// the token in it.
func TestAccessTokenErrors(t *testing.T) {
	entratest.CleanEnv(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	writeFile(t, file, entratest.JWT(map[string]any{"exp": time.Now().Add(-time.Minute).Unix()})+"\n")
	// Entra sets iat five minutes before the token is issued.
	hourOld := entratest.JWT(map[string]any{"iat": time.Now().Add(-time.Hour).Unix()})
	s := newFakeServer(t, nil)
	for _, tt := range []struct{ name, params, want string }{
		{"expired", "aad_token_file=" + entratest.Quote(file), "the given access token expired at"},
		{"folder", "aad_token_file=" + entratest.Quote(dir), "is not a regular file"},
		{"no file", "aad_token_file=" + entratest.Quote(file+".none"), "set aad_token_file to a regular file"},
		{"no token", "", "no access token is given"},
		{"too old", "aad_token_max_age=1m password=" + hourOld, "the given access token is 55m"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := ping(t, s.trustedDSN("aad_auth=access-token "+tt.params))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("ping = %v, want %q in it", err, tt.want)
			}
			checkNoSecret(t, "error", err.Error())
		})
	}
}

// A file that is far too long for a token is not read.
func TestHugeTokenFile(t *testing.T) {
	entratest.CleanEnv(t)
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, "")
	if err := os.Truncate(file, 1<<30); err != nil { // sparse: it takes no space
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, params string }{
		{"access-token", "aad_auth=access-token aad_token_file=" + entratest.Quote(file)},
		{"workload-identity", "aad_auth=workload-identity aad_tenant_id=t aad_client_id=c aad_federated_token_file=" + entratest.Quote(file)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var err error
			cost := measure(func() { err = ping(t, "host=127.0.0.1 port=1 user=u "+tt.params) })
			if want := "is not a regular file of at most 1 MiB"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("ping = %v, want %q in it", err, want)
			}
			cost.check(t, 10<<20, time.Minute)
		})
	}
}

// A token that no server would accept is refused before it is presented, whether it is
// given or comes from a credential. An opaque token, and one without an audience, is
// presented.
func TestLocalChecks(t *testing.T) {
	entratest.CleanEnv(t)
	jwt := func(audience any) string {
		return entratest.JWT(map[string]any{"aud": audience, "exp": time.Now().Add(time.Hour).Unix()})
	}
	valid := jwt(publicAudience)
	for _, tt := range []struct {
		name, params, token string
		want                string // in the error; "": it signs in
		onlyGiven           bool   // a credential returns no such token, or checks it itself
	}{
		{name: "valid", token: valid},
		{name: "audience with a slash", token: jwt(publicAudience + "/")},
		{name: "audience is an application ID", token: jwt("123cd850-d9df-40bd-94d5-c9f07b7fa203")},
		{name: "several audiences", token: jwt([]string{"https://other.example", publicAudience})},
		{name: "opaque", token: "opaque-" + entratest.Marker},
		{name: "no audience", token: entratest.JWT(map[string]any{"exp": time.Now().Add(time.Hour).Unix()})},
		{name: "expired", token: entratest.JWT(map[string]any{"aud": publicAudience, "exp": time.Now().Add(-time.Minute).Unix()}), onlyGiven: true, want: "the given access token expired at"},
		{name: "another resource", token: jwt("https://management.azure.com/"),
			want: `the token is for the audience ["https://management.azure.com/"]; request a token for "https://ossrdbms-aad.database.windows.net"; set aad_scope only`},
		{name: "another resource, by aad_scope", params: "aad_scope=https://db.contoso.com/.default", token: jwt("https://db.contoso.com")},
		{name: "another resource, for Cosmos DB", params: "aad_server_type=cosmos", token: jwt("https://vault.azure.net"), want: `request a token for "https://token.postgres.cosmos.azure.com"`},
		{name: "in quotes", token: `"` + valid + `"`, onlyGiven: true, want: "holds quotes, spaces or braces; pass the token alone"},
		{name: "with its scheme", token: "Bearer " + valid, want: "holds quotes, spaces or braces", onlyGiven: true},
		{name: "a whole response", token: `{"accessToken":"` + entratest.Marker + `"}`, onlyGiven: true, want: "holds quotes, spaces or braces"},
	} {
		for _, source := range []struct {
			name  string
			given bool
		}{
			{"given", true},
			{"from a credential", false},
		} {
			if tt.onlyGiven && !source.given {
				continue
			}
			t.Run(tt.name+", "+source.name, func(t *testing.T) {
				s := newFakeServer(t, nil)
				dsn := s.trustedDSN(tt.params)
				var opts []Option
				if source.given {
					dsn += " aad_auth=access-token"
					t.Setenv("PGPASSWORD", tt.token)
				} else {
					opts = append(opts, WithCredential(opaqueCredential(tt.token)))
				}
				err := ping(t, dsn, opts...)
				if tt.want == "" {
					if err != nil {
						t.Errorf("ping = %v, want no error", err)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("ping = %v, want %q in it", err, tt.want)
				}
				checkNoSecret(t, "error", err.Error())
				if received := s.received.String(); strings.Contains(received, "user\x00") {
					t.Errorf("the server received %q, want no startup message", received)
				}
			})
		}
	}
}
