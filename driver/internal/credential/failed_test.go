package credential

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// failureOf returns what is known of the failure of a DSN's token request.
func failureOf(t *testing.T, text string, o Options) token.Exchange {
	t.Helper()
	_, err := requestToken(t.Context(), cacheOf(t, text, o))
	var failed *token.Error
	if !errors.As(err, &failed) {
		t.Fatalf("Token() = %v, want a token.Error", err)
	}
	if strings.Contains(err.Error()+failed.Exchange.Detail, entratest.Marker) {
		t.Errorf("Token() = %v, which holds a secret", err)
	}
	return failed.Exchange
}

// A credential that panics, or ends its goroutine, fails its request and nothing else. The
// error has the type of the panic and where it was, and not its value.
func TestCredentialPanics(t *testing.T) {
	const where = "the credential panicked in github.com/aadpostgres/aadpostgres/driver/internal/credential.TestCredentialPanics."
	rows := []struct {
		name string
		get  func() (azcore.AccessToken, error)
		want [2]string // its beginning and its end
	}{
		{"string", func() (azcore.AccessToken, error) { panic(entratest.Marker) }, [2]string{where, "with a value of type string"}},
		{"error", func() (azcore.AccessToken, error) { panic(errors.New(entratest.Marker)) }, [2]string{where, "with a value of type *errors.errorString"}},
		{"nil", func() (azcore.AccessToken, error) { panic(nil) }, [2]string{where, "with a value of type *runtime.PanicNilError"}},
		{"nil pointer", func() (azcore.AccessToken, error) { return *(*azcore.AccessToken)(nil), nil }, [2]string{where, "with a value of type runtime.errorString"}},
		{"index", func() (azcore.AccessToken, error) {
			fmt.Println(make([]int, len(os.Args))[len(os.Args)])
			return azcore.AccessToken{}, nil
		}, [2]string{where, "with a value of type runtime.boundsError"}},
		{"end of the goroutine", func() (azcore.AccessToken, error) { runtime.Goexit(); panic("not reached") }, [2]string{"the credential has ended its goroutine", "(runtime.Goexit)"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			synctest.Test(t, func(t *testing.T) {
				cred := &entratest.Credential{Get: func(call int64, _ string) (azcore.AccessToken, error) {
					if call == 1 {
						return row.get()
					}
					return azcore.AccessToken{Token: "opaque", ExpiresOn: time.Now().Add(time.Hour)}, nil
				}}
				cache := cacheOf(t, "host=h user=u", Options{Credential: cred})
				_, err := requestToken(t.Context(), cache)
				if err == nil || !strings.HasPrefix(err.Error(), row.want[0]) || !strings.HasSuffix(err.Error(), row.want[1]) {
					t.Errorf("Token() = %v, want %q ... %q", err, row.want[0], row.want[1])
				}
				if err != nil && strings.Contains(err.Error(), entratest.Marker) {
					t.Errorf("Token() = %v, which holds what the credential panicked with", err)
				}
				time.Sleep(time.Minute)
				if got, err := requestToken(t.Context(), cache); err != nil || got.Value != "opaque" {
					t.Errorf("Token() = %v, %v after the panic, want the token", got, err)
				}
			})
		})
	}
}

// A function of the program that a credential calls panics as the credential does.
func TestPromptPanics(t *testing.T) {
	entratest.CleanEnv(t)
	prompt := Prompt(func(context.Context, azidentity.DeviceCodeMessage) error { panic(entratest.Marker) })
	got := failureOf(t, "host=h user=u aad_auth=device-code aad_tenant_id=t aad_disable_instance_discovery=true", Options{
		Prompt:    &prompt,
		Transport: deviceCodes(http.StatusBadRequest, `{"error":"authorization_pending"}`),
	})
	const want = "TestPromptPanics.func1 with a value of type string"
	if !strings.HasSuffix(got.Cause, want) {
		t.Errorf("Cause = %q, want %q at its end", got.Cause, want)
	}
}

// deviceCodes is a public authority that gives out device codes, and responds to those who
// ask for their tokens.
func deviceCodes(status int, body string) *fakeTransport {
	return publicAuthority(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "devicecode") {
			return respond(http.StatusOK, `{"device_code":"device","user_code":"ABC","verification_uri":"https://login.example/device","expires_in":900,"interval":5,"message":"m"}`), nil
		}
		return respond(status, body), nil
	})
}

// Mode default says which of its credentials was refused, as a list does. A mode alone does
// not.
func TestRefusalNamesTheCredential(t *testing.T) {
	refused := publicAuthority(func(*http.Request) (*http.Response, error) {
		return respond(http.StatusUnauthorized, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1"}`), nil
	})
	wordless := publicAuthority(func(*http.Request) (*http.Response, error) { return respond(http.StatusForbidden, "{}"), nil })
	const invalid = "AADSTS7000215: Invalid client secret provided"
	rows := []struct {
		name, mode string
		transport  *fakeTransport
		want       string
		credential string
	}{
		{"default", "default", refused, "EnvironmentCredential: " + invalid, "environment"},
		{"default, without a description", "default", wordless, "EnvironmentCredential authentication failed (HTTP 403)", "environment"},
		{"list", "environment,azure-cli", refused, "EnvironmentCredential: " + invalid, "environment"},
		{"environment", "environment", refused, invalid, "environment"},
		{"client secret", "client-secret", refused, invalid, "client-secret"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			for name, v := range map[string]string{"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"} {
				t.Setenv(name, v)
			}
			got := failureOf(t, "host=h user=u aad_disable_instance_discovery=true aad_auth="+row.mode, Options{Transport: row.transport})
			if got.Cause != row.want {
				t.Errorf("Cause = %q, want %q", got.Cause, row.want)
			}
			if got.Credential != row.credential {
				t.Errorf("Credential = %q, want %q", got.Credential, row.credential)
			}
		})
	}
}

// A secret that ends in a space or a line break, as one of a file may, is named when it is
// refused. Package dsn refuses the line break in a variable that it reads itself.
func TestSecretWithWhiteSpace(t *testing.T) {
	const doubt = " (there is white space or a byte order mark around the secret)"
	refused := publicAuthority(func(*http.Request) (*http.Response, error) {
		return respond(http.StatusUnauthorized, `{"error":"invalid_client","error_description":"AADSTS7000215: no"}`), nil
	})
	disabled := publicAuthority(func(*http.Request) (*http.Response, error) {
		return respond(http.StatusUnauthorized, `{"error":"invalid_client","error_description":"AADSTS7000112: no"}`), nil
	})
	rows := []struct {
		name, mode, secret string
		transport          *fakeTransport
		want               string
	}{
		{"space of the DSN's", "client-secret", entratest.Marker + " ", refused, "AADSTS7000215: no" + doubt},
		{"byte order mark", "environment", "\ufeff" + entratest.Marker, refused, "AADSTS7000215: no" + doubt},
		{"space", "environment", " " + entratest.Marker, refused, "AADSTS7000215: no" + doubt},
		{"line break of another system", "default", entratest.Marker + "\r\n", refused, "EnvironmentCredential: AADSTS7000215: no" + doubt},
		{"none", "default", entratest.Marker, refused, "EnvironmentCredential: AADSTS7000215: no"},
		{"inside", "client-secret", "a " + entratest.Marker, refused, "AADSTS7000215: no"},
		{"another refusal", "client-secret", entratest.Marker + " ", disabled, "AADSTS7000112: no"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			for name, v := range map[string]string{"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": row.secret} {
				t.Setenv(name, v)
			}
			got := failureOf(t, "host=h user=u aad_disable_instance_discovery=true aad_auth="+row.mode, Options{Transport: row.transport})
			if got.Cause != row.want {
				t.Errorf("Cause = %q, want %q", got.Cause, row.want)
			}
		})
	}
}

// What is wrong with the file of a federated token is named: before a request, if no
// authority would accept it, and after its refusal otherwise.
func TestFederatedTokenFile(t *testing.T) {
	refusal := `{"error":"invalid_client","error_description":"AADSTS50027: JWT token is invalid or malformed."}`
	const beside = "holds white space, quotes or braces beside the token"
	rows := []struct {
		name, contents string
		want           string // {file} is its path
		asked          bool
	}{
		{"none", "", "the federated token's file {file} does not exist", false},
		{"empty", " \n", "the federated token's file {file} is empty", false},
		{"byte order mark", "\ufeffa.b.c", "the federated token's file {file} is not in UTF-8 without a byte order mark", false},
		{"UTF-16", "\xff\xfea\x00.\x00", "the federated token's file {file} is not in UTF-8 without a byte order mark", false},
		{"line break", "a.b.c\n", "AADSTS50027: JWT token is invalid or malformed ({setting}: the federated token's file {file} " + beside + ")", true},
		{"token", "a.b.c", "AADSTS50027: JWT token is invalid or malformed", true},
	}
	for _, row := range rows {
		for _, by := range []struct{ name, mode, setting string }{
			{"by the DSN", "workload-identity", "aad_federated_token_file"},
			{"by a variable", "workload-identity", "AZURE_FEDERATED_TOKEN_FILE"},
			{"in a list", "environment,workload-identity", "AZURE_FEDERATED_TOKEN_FILE"},
			{"in mode default", "default", "AZURE_FEDERATED_TOKEN_FILE"},
		} {
			t.Run(row.name+", "+by.name, func(t *testing.T) {
				entratest.CleanEnv(t)
				entratest.NoTools(t)
				file := filepath.Join(t.TempDir(), "token")
				if row.contents != "" {
					if err := os.WriteFile(file, []byte(row.contents), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				t.Setenv("AZURE_TENANT_ID", "t")
				t.Setenv("AZURE_CLIENT_ID", "c")
				params := ""
				if by.setting == "AZURE_FEDERATED_TOKEN_FILE" {
					t.Setenv("AZURE_FEDERATED_TOKEN_FILE", file)
				} else {
					t.Setenv("AZURE_FEDERATED_TOKEN_FILE", filepath.Join(t.TempDir(), "another"))
					params = " aad_tenant_id=t aad_client_id=c aad_federated_token_file=" + entratest.Quote(file)
				}
				asked := false
				transport := publicAuthority(func(*http.Request) (*http.Response, error) {
					asked = true
					return respond(http.StatusUnauthorized, refusal), nil
				})
				got := failureOf(t, "host=h user=u aad_disable_instance_discovery=true aad_auth="+by.mode+params, Options{Transport: transport})
				want := strings.NewReplacer("{file}", file, "{setting}", by.setting).Replace(row.want)
				if !strings.Contains(got.Cause, want) {
					t.Errorf("Cause = %q, want %q in it", got.Cause, want)
				}
				if !row.asked && !strings.Contains(got.Cause, by.setting) {
					t.Errorf("Cause = %q, want %q in it", got.Cause, by.setting)
				}
				if by.mode != "default" && asked != row.asked {
					t.Errorf("the authority was asked: %t, want %t", asked, row.asked)
				}
				if got.Credential != "workload-identity" {
					t.Errorf("Credential = %q, want workload-identity", got.Credential)
				}
			})
		}
	}
}

// Where a person has not signed in, the error does not blame the authority.
func TestNobodySignsIn(t *testing.T) {
	const nobody = "nobody has signed in before the time was up: context deadline exceeded"
	pending := `{"error":"authorization_pending","error_description":"AADSTS70016: pending"}`
	silent := publicAuthority(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	rows := []struct {
		name, mode string
		transport  *fakeTransport
		want       string
	}{
		{"device code", "device-code", deviceCodes(http.StatusBadRequest, pending), nobody},
		{"device code, authority silent", "device-code", silent, "no response from https://login.microsoftonline.com: context deadline exceeded"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			prompt := Prompt(func(context.Context, azidentity.DeviceCodeMessage) error { return nil })
			synctest.Test(t, func(t *testing.T) {
				got := failureOf(t, "host=h user=u aad_tenant_id=t aad_token_timeout=20s aad_disable_instance_discovery=true aad_auth="+row.mode, Options{Transport: row.transport, Prompt: &prompt})
				if got.Cause != row.want {
					t.Errorf("Cause = %q, want %q", got.Cause, row.want)
				}
			})
		})
	}
}

// A caller whose time is up before the request's learns whom the request asks.
func TestWaitingNamesTheCredential(t *testing.T) {
	entratest.CleanEnv(t)
	silent := publicAuthority(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	synctest.Test(t, func(t *testing.T) {
		cache := cacheOf(t, application, Options{Transport: silent})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := requestToken(ctx, cache)
		const want = "waiting for the token: client-secret: context deadline exceeded"
		if err == nil || err.Error() != want {
			t.Errorf("Token() = %v, want %q", err, want)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Token() = %v, want it to be context.DeadlineExceeded", err)
		}
	})
}

// A request that is canceled is nobody's failure, although a credential before has failed.
func TestCanceledRequestBlamesNobody(t *testing.T) {
	entratest.CleanEnv(t)
	silent := &fakeTransport{func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}}
	synctest.Test(t, func(t *testing.T) {
		f := fetcherOf(t, "host=h user=u aad_auth=environment,managed-identity aad_client_id=canceled", Options{Transport: silent})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		got, err := f.Fetch(ctx, token.Request{})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Fetch() = %v, want context.Canceled", err)
		}
		if got.Credential != "" || strings.Contains(got.Cause, "environment") {
			t.Errorf("Exchange = %+v, want one about no credential", got.Exchange)
		}
	})
}
