package emulator_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// asked is what an authority of the public cloud answered.
type response struct {
	status int
	text   string
	fields map[string]any
}

func postForm(t *testing.T, az *emulator.Azure, target string, form url.Values, header ...string) response {
	t.Helper()
	return doRequest(t, az, "POST", target, form.Encode(), header...)
}

func doRequest(t *testing.T, az *emulator.Azure, method, target, body string, header ...string) response {
	t.Helper()
	if strings.HasPrefix(target, "/") {
		target = "https://login.microsoftonline.com" + target
	}
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := az.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := response{status: resp.StatusCode, text: string(b)}
	json.Unmarshal(b, &a.fields)
	return a
}

const (
	tokenPath = "/" + emulator.TenantID + "/oauth2/v2.0/token"
	scope     = emulator.Resource + "/.default openid offline_access profile"
)

// Each grant gives a token to who may have one, and says in Entra's codes why
// somebody else may not.
func TestGrants(t *testing.T) {
	az := emulator.Start(t)
	app := az.Add(emulator.Identity{Name: "app 2", Kind: emulator.ServicePrincipal, Secret: "right"})
	other := az.Add(emulator.Identity{Name: "app 3", Kind: emulator.ServicePrincipal})
	person := az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User})
	secret := func(kv ...string) url.Values {
		v := url.Values{"grant_type": {"client_credentials"}, "client_id": {app.ClientID}, "client_secret": {"right"}, "scope": {scope}}
		for i := 0; i < len(kv); i += 2 {
			v.Set(kv[i], kv[i+1])
		}
		return v
	}
	federated := func(assertion string, kv ...string) url.Values {
		v := secret(append([]string{"client_assertion", assertion, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, kv...)...)
		v.Del("client_secret")
		return v
	}
	set := func(claim string, v any) func(map[string]any) { return func(c map[string]any) { c[claim] = v } }
	for _, tt := range []struct {
		name, path string
		form       url.Values
		want       string // AADSTS code and part of the text; none: a token
	}{
		{"secret", tokenPath, secret(), ""},
		{"wrong secret", tokenPath, secret("client_secret", "wrong"), "AADSTS7000215"},
		{"no secret", tokenPath, secret("client_id", other.ClientID, "client_secret", ""), "AADSTS7000215"},
		{"unknown application", tokenPath, secret("client_id", "none"), "AADSTS700016"},
		{"a person as an application", tokenPath, secret("client_id", person.ClientID), "AADSTS700016"},
		{"unknown tenant", "/other/oauth2/v2.0/token", secret(), "AADSTS90002: Tenant 'other' not found"},
		{"an application of no tenant", "/organizations/oauth2/v2.0/token", secret(), "AADSTS90002"},
		{"unknown grant", tokenPath, secret("grant_type", "password"), "AADSTS70003"},
		{"another cloud's resource", tokenPath, secret("scope", "https://ossrdbms-aad.database.usgovcloudapi.net/.default"), "AADSTS500011"},
		{"no resource", tokenPath, secret("scope", "openid"), "AADSTS500011"},
		{"Cosmos DB's resource", tokenPath, secret("scope", "https://token.postgres.cosmos.azure.com/.default"), ""},
		{"a resource that ends in a slash", tokenPath, secret("scope", emulator.Resource+"//.default"), ""},
		{"government", "https://login.microsoftonline.us" + tokenPath, secret("scope", "https://ossrdbms-aad.database.usgovcloudapi.net/.default"), ""},
		{"federated", tokenPath, federated(az.FederatedToken(app, nil)), ""},
		{"federated, another's", tokenPath, federated(az.FederatedToken(other, nil)), "AADSTS700213"},
		{"federated, another audience", tokenPath, federated(az.FederatedToken(app, set("aud", "x"))), "AADSTS700212"},
		{"federated, expired", tokenPath, federated(az.FederatedToken(app, set("exp", time.Now().Add(-time.Hour).Unix()))), "AADSTS700024"},
		{"federated, spoiled", tokenPath, federated(az.FederatedToken(app, nil) + "x"), "AADSTS50013"},
		{"an access token as an assertion", tokenPath, federated(az.Token(app, nil)), "AADSTS700027"},
		{"no assertion type", tokenPath, federated(az.FederatedToken(app, nil), "client_assertion_type", ""), "AADSTS900144"},
		{"no JWT", tokenPath, federated("x"), "AADSTS50027"},
		{"no code", tokenPath, url.Values{"grant_type": {"authorization_code"}, "code": {"none"}, "scope": {scope}}, "AADSTS70008"},
		{"no device code", tokenPath, url.Values{"grant_type": {"device_code"}, "device_code": {"none"}}, "AADSTS70019"},
		{"no refresh token", tokenPath, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"none"}, "scope": {scope}}, "AADSTS700082"},
	} {
		a := postForm(t, az, tt.path, tt.form)
		token, _ := a.fields["access_token"].(string)
		if tt.want == "" && (a.status != http.StatusOK || strings.Count(token, ".") != 2) || tt.want != "" && (a.status < 400 || !strings.Contains(a.text, tt.want) || token != "") {
			t.Errorf("%s: %d %s, want %q", tt.name, a.status, a.text, tt.want)
		}
		requests := az.Requests()
		if last := requests[len(requests)-1]; last.Status != a.status || last.Form.Get("grant_type") != tt.form.Get("grant_type") {
			t.Errorf("%s: recorded as %+v", tt.name, last)
		}
	}
}

// A code is good once, for who asked for it, with the verifier.
func TestCodes(t *testing.T) {
	az := emulator.Start(t)
	person := az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User})
	sum := sha256.Sum256([]byte("verifier"))
	query := url.Values{"client_id": {"c"}, "response_type": {"code"}, "response_mode": {"form_post"}, "redirect_uri": {"http://localhost:1"},
		"state": {`"s`}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
	authorize := func(kv ...string) response {
		q, _ := url.ParseQuery(query.Encode())
		for i := 0; i < len(kv); i += 2 {
			q.Set(kv[i], kv[i+1])
		}
		return doRequest(t, az, "GET", "/organizations/oauth2/v2.0/authorize?"+q.Encode(), "")
	}
	if a := authorize(); a.status != http.StatusOK || !strings.Contains(a.text, "access_denied") || !strings.Contains(a.text, "&#34;s") {
		t.Errorf("nobody is there: %+v", a)
	}
	az.Login(person)
	for _, bad := range [][]string{{"redirect_uri", "https://evil.example"}, {"redirect_uri", "http://localhost.evil.example"}, {"response_mode", "query"}, {"code_challenge_method", "plain"}, {"code_challenge", ""}, {"client_id", ""}} {
		if a := authorize(bad...); a.status != http.StatusBadRequest {
			t.Errorf("%v: %+v", bad, a)
		}
	}
	code := func() string {
		m := regexp.MustCompile(`name="code" value="([^"]+)"`).FindStringSubmatch(authorize().text)
		if m == nil {
			t.Fatal("no code")
		}
		return m[1]
	}
	redeem := func(code string, kv ...string) response {
		v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "client_id": {"c"}, "redirect_uri": {"http://localhost:1"}, "code_verifier": {"verifier"}, "scope": {scope}}
		for i := 0; i < len(kv); i += 2 {
			v.Set(kv[i], kv[i+1])
		}
		return postForm(t, az, tokenPath, v)
	}
	for _, bad := range [][]string{{"code_verifier", "other"}, {"client_id", "d"}, {"redirect_uri", "http://localhost:2"}} {
		if a := redeem(code(), bad...); a.status != http.StatusBadRequest {
			t.Errorf("%v: %+v", bad, a)
		}
	}
	once := code()
	first, again := redeem(once), redeem(once)
	refresh, _ := first.fields["refresh_token"].(string)
	if first.status != http.StatusOK || again.status != http.StatusBadRequest || refresh == "" {
		t.Fatalf("%+v, then %+v", first, again)
	}
	for range 2 {
		if a := postForm(t, az, tokenPath, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "scope": {scope}}); a.status != http.StatusOK {
			t.Errorf("refresh: %+v", a)
		}
	}
	device := postForm(t, az, "/organizations/oauth2/v2.0/devicecode", url.Values{"client_id": {"c"}, "scope": {scope}})
	typed, _ := device.fields["device_code"].(string)
	for i, want := range []int{400, 200, 400} { // pending, given, spent
		if a := postForm(t, az, "/organizations/oauth2/v2.0/token", url.Values{"grant_type": {"device_code"}, "device_code": {typed}, "client_id": {"c"}}); a.status != want {
			t.Errorf("poll %d: %+v", i, a)
		}
	}
}

// The endpoints of hosts know their own programs only.
func TestHosts(t *testing.T) {
	az := emulator.Start(t)
	id := az.Add(emulator.Identity{Name: "hosted"})
	env := func(h emulator.Host, id emulator.Identity) map[string]string {
		list, err := az.Environ(h, id)
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]string{}
		for _, kv := range list {
			k, v, _ := strings.Cut(kv, "=")
			m[k] = v
		}
		return m
	}
	const imds = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=" + emulator.Resource
	site, ml, shell, pipe := env(emulator.AppService, id), env(emulator.MachineLearning, id), env(emulator.CloudShell, emulator.Identity{}), env(emulator.Pipelines, id)
	for _, tt := range []struct {
		name, method, target string
		header               []string
		status               int
		counts               int64
	}{
		{"metadata service", "GET", imds, []string{"Metadata", "true"}, 200, 1},
		{"metadata service, client", "GET", imds + "&client_id=" + id.ClientID, []string{"Metadata", "true"}, 200, 1},
		{"metadata service, stranger", "GET", imds + "&client_id=x", []string{"Metadata", "true"}, 400, 1},
		{"metadata service, probe", "GET", "http://169.254.169.254/metadata/identity/oauth2/token", nil, 400, 0},
		{"app service", "GET", site["IDENTITY_ENDPOINT"] + "?resource=r", []string{"X-IDENTITY-HEADER", site["IDENTITY_HEADER"]}, 200, 1},
		{"app service, stranger", "GET", site["IDENTITY_ENDPOINT"] + "?resource=r&object_id=x", []string{"X-IDENTITY-HEADER", site["IDENTITY_HEADER"]}, 400, 1},
		{"app service, wrong header", "GET", site["IDENTITY_ENDPOINT"] + "?resource=r", []string{"X-IDENTITY-HEADER", "x"}, 401, 1},
		{"machine learning", "GET", ml["MSI_ENDPOINT"] + "?resource=r&clientid=" + id.ClientID, []string{"Secret", ml["MSI_SECRET"]}, 200, 1},
		{"machine learning, wrong secret", "GET", ml["MSI_ENDPOINT"] + "?resource=r", nil, 401, 1},
		{"cloud shell", "POST", shell["MSI_ENDPOINT"] + "?resource=r", []string{"Metadata", "true"}, 200, 1},
		{"cloud shell, no header", "POST", shell["MSI_ENDPOINT"], nil, 400, 1},
		{"pipeline", "POST", pipe["SYSTEM_OIDCREQUESTURI"] + "?serviceConnectionId=" + id.ServiceConnectionID, []string{"Authorization", "Bearer " + pipe["SYSTEM_ACCESSTOKEN"]}, 200, 0},
		{"pipeline, other connection", "POST", pipe["SYSTEM_OIDCREQUESTURI"] + "?serviceConnectionId=x", []string{"Authorization", "Bearer " + pipe["SYSTEM_ACCESSTOKEN"]}, 404, 0},
		{"pipeline, stranger", "POST", pipe["SYSTEM_OIDCREQUESTURI"] + "?serviceConnectionId=" + id.ServiceConnectionID, nil, 401, 0},
	} {
		before := az.Counts().Requests
		if a := doRequest(t, az, tt.method, tt.target, "", tt.header...); a.status != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.name, a.status, a.text, tt.status)
		}
		if n := az.Counts().Requests - before; n != tt.counts {
			t.Errorf("%s: counted %d", tt.name, n)
		}
	}
	if b, err := os.ReadFile(env(emulator.Kubernetes, id)["AZURE_FEDERATED_TOKEN_FILE"]); err != nil || strings.Count(string(b), ".") != 2 {
		t.Errorf("federated token %q, %v", b, err)
	}
	if _, err := az.Client().Get("https://example.com"); err == nil || !strings.Contains(err.Error(), "does not serve example.com") {
		t.Errorf("the client reaches the world: %v", err)
	}
}

// The programs answer as theirs do, logged in and out, and refuse what they do not
// stand for.
func TestPrograms(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the programs are shell scripts")
	}
	az := emulator.Start(t)
	person := az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User})
	az.SetenvOn(t, emulator.Workstation, person)
	run := func(name string, args ...string) (string, string, int) {
		var out, fails strings.Builder
		cmd := exec.Command(name, args...)
		cmd.Stdout, cmd.Stderr = &out, &fails
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return out.String(), fails.String(), cmd.ProcessState.ExitCode()
	}
	token := []string{"account", "get-access-token", "-o", "json", "--resource", emulator.Resource}
	for _, tt := range []struct {
		name     string
		args     []string
		loggedIn bool
		want     string // on standard output, or on the other
		exit     int
	}{
		{"az", token, false, "Please run 'az login'", 1},
		{"az", token, true, `"accessToken":"ey`, 0},
		{"az", append(token, "--tenant", "other"), true, "AADSTS90002", 1},
		{"az", []string{"vm", "delete"}, true, "ERROR", 2},
		{"az", nil, true, "ERROR", 2},
		{"azd", []string{"auth", "token", "--scope", "s"}, false, "azd auth login", 1},
		{"azd", []string{"auth", "token", "--scope", "s/.default"}, true, `"token":"ey`, 0},
		{"azd", []string{"up"}, true, "ERROR", 2},
		{"pwsh", []string{"-EncodedCommand", "!"}, true, "not properly encoded", 1},
		{"pwsh", []string{"-EncodedCommand", "eAA="}, true, "not one that the emulator supports", 1},
		{"xdg-open", []string{"https://example.com/"}, true, "opens Entra's sign-in page only", 4},
	} {
		if az.Logout(); tt.loggedIn {
			az.Login(person)
		}
		out, fails, exit := run(tt.name, tt.args...)
		if exit != tt.exit || exit == 0 && !strings.Contains(out, tt.want) || exit != 0 && (!strings.Contains(fails, tt.want) || out != "") {
			t.Errorf("%s %q: %q, %q, %d", tt.name, tt.args, out, fails, exit)
		}
	}
	az.Faults.FailTokens(1, http.StatusServiceUnavailable)
	if out, fails, exit := run("az", token...); exit == 0 || out != "" || !strings.Contains(fails, "AADSTS90033") {
		t.Errorf("a fault: %q, %q, %d", out, fails, exit)
	}
}
