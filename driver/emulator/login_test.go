package emulator_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// authorizeForm returns the parameters of an authorization request.
func authorizeForm() url.Values {
	challenge := sha256.Sum256([]byte("verifier"))
	return url.Values{
		"client_id":             {"c"},
		"response_type":         {"code"},
		"response_mode":         {"form_post"},
		"redirect_uri":          {"http://localhost:1"},
		"state":                 {`"s`},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}
}

func authorize(t *testing.T, az *emulator.Azure, form url.Values) response {
	t.Helper()
	return doRequest(t, az, "GET", publicAuthority+"/organizations/oauth2/v2.0/authorize?"+form.Encode(), "")
}

var codeInPage = regexp.MustCompile(`name="code" value="([^"]+)"`)

// newCode returns an authorization code of the user who is logged in.
func newCode(t *testing.T, az *emulator.Azure) string {
	t.Helper()
	page := authorize(t, az, authorizeForm()).body
	m := codeInPage.FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no code in the page: %s", page)
	}
	return m[1]
}

// codeForm returns the parameters of a token request with an authorization code.
func codeForm(code string) url.Values {
	return url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code},
		"client_id":     {"c"},
		"redirect_uri":  {"http://localhost:1"},
		"code_verifier": {"verifier"},
		"scope":         {scope},
	}
}

func checkResponse(t *testing.T, r response, wantStatus int) {
	t.Helper()
	if r.status != wantStatus {
		t.Errorf("status = %d, want %d: %s", r.status, wantStatus, r.body)
	}
}

// If nobody is logged in, the browser is told that the user has declined. The page escapes
// the parameters of the request.
func TestAuthorizeDeclined(t *testing.T) {
	az := emulator.Start(t)
	r := authorize(t, az, authorizeForm())
	checkResponse(t, r, http.StatusOK)
	for _, want := range []string{"access_denied", "&#34;s"} {
		if !strings.Contains(r.body, want) {
			t.Errorf("page = %s, want %q in it", r.body, want)
		}
	}
}

func TestAuthorizeRefused(t *testing.T) {
	az := emulator.Start(t)
	az.Login(az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User}))
	for _, tt := range []struct{ name, param, value string }{
		{"another redirect URI", "redirect_uri", "https://evil.example"},
		{"redirect URI that starts like localhost", "redirect_uri", "http://localhost.evil.example"},
		{"another response mode", "response_mode", "web_message"},
		{"another response type", "response_type", "token"},
		{"another challenge method", "code_challenge_method", "plain"},
		{"no challenge", "code_challenge", ""},
		{"no client", "client_id", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkResponse(t, authorize(t, az, with(authorizeForm(), tt.param, tt.value)), http.StatusBadRequest)
		})
	}
}

// The response reaches the redirect URI in the way that the request names: in its query by
// default, in its fragment, or in a form.
func TestResponseModes(t *testing.T) {
	az := emulator.Start(t)
	az.Login(az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User}))
	client := *az.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, tt := range []struct {
		name, mode, redirect string
		response             func(u *url.URL) url.Values
	}{
		{"default", "", "http://localhost:1/?own=1", (*url.URL).Query},
		{"query", "query", "http://localhost:1", (*url.URL).Query},
		{"fragment", "fragment", "http://localhost:1", fragmentOf},
	} {
		t.Run(tt.name, func(t *testing.T) {
			form := with(authorizeForm(), "response_mode", tt.mode, "redirect_uri", tt.redirect)
			resp, err := client.Get(publicAuthority + "/organizations/oauth2/v2.0/authorize?" + form.Encode())
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			location, err := resp.Location()
			if err != nil {
				t.Fatalf("status %d: %v", resp.StatusCode, err)
			}
			if location.Host != "localhost:1" {
				t.Errorf("redirected to %s, want localhost:1", location)
			}
			got := tt.response(location)
			if got.Get("code") == "" {
				t.Errorf("redirected to %s, want a code", location)
			}
			if got.Get("state") != `"s` {
				t.Errorf("state = %q, want that of the request", got.Get("state"))
			}
			redirect, err := url.Parse(tt.redirect)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := location.Query().Get("own"), redirect.Query().Get("own"); got != want {
				t.Errorf("own = %q, want the redirect URI's %q", got, want)
			}
		})
	}
}

func fragmentOf(u *url.URL) url.Values {
	values, _ := url.ParseQuery(u.EscapedFragment())
	return values
}

// The id token that a code is exchanged for has the nonce of the authorization request,
// and one that is refreshed has none.
func TestNonce(t *testing.T) {
	az := emulator.Start(t)
	az.Login(az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User}))
	for _, tt := range []struct{ name, nonce string }{
		{"with a nonce", "n-1"},
		{"without a nonce", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			form := authorizeForm()
			if tt.nonce != "" {
				form.Set("nonce", tt.nonce)
			}
			m := codeInPage.FindStringSubmatch(authorize(t, az, form).body)
			if m == nil {
				t.Fatal("no code in the page")
			}
			r := postForm(t, az, tokenURL, codeForm(m[1]))
			if got := idTokenClaims(t, r)["nonce"]; got != nonceClaim(tt.nonce) {
				t.Errorf("nonce = %v, want %q", got, tt.nonce)
			}
			refreshToken, _ := r.fields["refresh_token"].(string)
			r = postForm(t, az, tokenURL, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}, "scope": {scope}})
			if got := idTokenClaims(t, r)["nonce"]; got != nil {
				t.Errorf("nonce after a refresh = %v, want none", got)
			}
		})
	}
}

// nonceClaim returns the claim of a nonce: nil for none.
func nonceClaim(nonce string) any {
	if nonce == "" {
		return nil
	}
	return nonce
}

func idTokenClaims(t *testing.T, r response) jwt.MapClaims {
	t.Helper()
	idToken, _ := r.fields["id_token"].(string)
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(idToken, claims); err != nil {
		t.Fatalf("id token: %v in %s", err, r.body)
	}
	return claims
}

// An authorization code is valid for its client, with the verifier.
func TestCodeRefused(t *testing.T) {
	az := emulator.Start(t)
	az.Login(az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User}))
	for _, tt := range []struct{ name, param, value string }{
		{"another verifier", "code_verifier", "other"},
		{"another client", "client_id", "d"},
		{"another redirect URI", "redirect_uri", "http://localhost:2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			form := with(codeForm(newCode(t, az)), tt.param, tt.value)
			checkResponse(t, postForm(t, az, tokenURL, form), http.StatusBadRequest)
		})
	}
}

// An authorization code is valid once, and its refresh token any number of times.
func TestCodeAndRefreshToken(t *testing.T) {
	az := emulator.Start(t)
	az.Login(az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User}))
	form := codeForm(newCode(t, az))
	first := postForm(t, az, tokenURL, form)
	checkResponse(t, first, http.StatusOK)
	checkResponse(t, postForm(t, az, tokenURL, form), http.StatusBadRequest)
	refreshToken, _ := first.fields["refresh_token"].(string)
	if refreshToken == "" {
		t.Fatalf("no refresh token in %s", first.body)
	}
	for range 2 {
		r := postForm(t, az, tokenURL, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}, "scope": {scope}})
		checkResponse(t, r, http.StatusOK)
	}
}

// A device code is pending at the first poll, valid at the second and then no more.
func TestDeviceCode(t *testing.T) {
	az := emulator.Start(t)
	az.Login(az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User}))
	const authority = publicAuthority + "/organizations/oauth2/v2.0"
	r := postForm(t, az, authority+"/devicecode", url.Values{"client_id": {"c"}, "scope": {scope}})
	deviceCode, _ := r.fields["device_code"].(string)
	for i, wantStatus := range []int{400, 200, 400} {
		t.Run(fmt.Sprint("poll ", i+1), func(t *testing.T) {
			form := url.Values{"grant_type": {"device_code"}, "device_code": {deviceCode}, "client_id": {"c"}}
			checkResponse(t, postForm(t, az, authority+"/token", form), wantStatus)
		})
	}
}

// runProgram runs a program of the PATH.
func runProgram(t *testing.T, name string, args ...string) (stdout, stderr string, exitStatus int) {
	t.Helper()
	var out, errOut strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stdout = &out
	cmd.Stderr = &errOut
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// The programs of a workstation print tokens if a user is logged in, and fail otherwise
// as the real ones do. They refuse arguments that they do not support.
func TestPrograms(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the programs are shell scripts")
	}
	need.Program(t, "bash")
	az := emulator.Start(t)
	user := az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User})
	az.SetenvOn(t, emulator.Workstation, user)
	getToken := []string{"account", "get-access-token", "-o", "json", "--resource", emulator.Resource}
	for _, tt := range []struct {
		name       string
		program    string
		args       []string
		loggedIn   bool
		want       string // in the output
		wantStatus int
	}{
		{"az, logged out", "az", getToken, false, "Please run 'az login'", 1},
		{"az", "az", getToken, true, `"accessToken":"ey`, 0},
		{"az, another tenant", "az", append(getToken, "--tenant", "other"), true, "AADSTS90002", 1},
		{"az, another command", "az", []string{"vm", "delete"}, true, "ERROR", 2},
		{"az, no command", "az", nil, true, "ERROR", 2},
		{"azd, logged out", "azd", []string{"auth", "token", "--scope", "s"}, false, "azd auth login", 1},
		{"azd", "azd", []string{"auth", "token", "--scope", "s/.default"}, true, `"token":"ey`, 0},
		{"azd, another command", "azd", []string{"up"}, true, "ERROR", 2},
		{"pwsh, invalid encoding", "pwsh", []string{"-EncodedCommand", "!"}, true, "not properly encoded", 1},
		{"pwsh, another command", "pwsh", []string{"-EncodedCommand", "eAA="}, true, "not one that the emulator supports", 1},
		{"browser, another page", "xdg-open", []string{"https://example.com/"}, true, "opens Entra's sign-in page only", 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			az.Logout()
			if tt.loggedIn {
				az.Login(user)
			}
			stdout, stderr, status := runProgram(t, tt.program, tt.args...)
			if status != tt.wantStatus {
				t.Errorf("exit status = %d, want %d", status, tt.wantStatus)
			}
			output := stdout
			if tt.wantStatus != 0 {
				output = stderr
				if stdout != "" {
					t.Errorf("stdout = %q, want none", stdout)
				}
			}
			if !strings.Contains(output, tt.want) {
				t.Errorf("output = %q, want %q in it", output, tt.want)
			}
		})
	}
	t.Run("az, with a fault", func(t *testing.T) {
		az.Faults.FailTokens(1, http.StatusServiceUnavailable)
		stdout, stderr, status := runProgram(t, "az", getToken...)
		if status == 0 {
			t.Error("exit status = 0, want an error")
		}
		if stdout != "" {
			t.Errorf("stdout = %q, want none", stdout)
		}
		if want := "AADSTS90033"; !strings.Contains(stderr, want) {
			t.Errorf("stderr = %q, want %q in it", stderr, want)
		}
	})
}
