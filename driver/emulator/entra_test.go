package emulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// A response is an HTTP response that was read.
type response struct {
	status int
	body   string
	fields map[string]any // of a JSON body
}

// publicAuthority is the host of the public cloud, which Client resolves to the emulator.
const publicAuthority = "https://login.microsoftonline.com"

func postForm(t *testing.T, az *emulator.Azure, url string, form url.Values) response {
	t.Helper()
	return doRequest(t, az, "POST", url, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

// doRequest sends a request with headers, each a name and a value.
func doRequest(t *testing.T, az *emulator.Azure, method, url, body string, headers ...string) response {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
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
	r := response{status: resp.StatusCode, body: string(b)}
	json.Unmarshal(b, &r.fields) // pages are not JSON
	return r
}

// with returns a copy of form with the changes, each a name and a value.
func with(form url.Values, changes ...string) url.Values {
	changed := url.Values{}
	for name, values := range form {
		changed[name] = values
	}
	for i := 0; i < len(changes); i += 2 {
		changed.Set(changes[i], changes[i+1])
	}
	return changed
}

const (
	tokenPath   = "/" + emulator.TenantID + "/oauth2/v2.0/token"
	tokenURL    = publicAuthority + tokenPath
	scope       = emulator.Resource + "/.default openid offline_access profile"
	govResource = "https://ossrdbms-aad.database.usgovcloudapi.net"
)

// Each grant type issues tokens, and refuses requests with Entra's codes.
func TestGrants(t *testing.T) {
	az := emulator.Start(t)
	app := az.Add(emulator.Identity{Name: "app 2", Kind: emulator.ServicePrincipal, Secret: "right"})
	other := az.Add(emulator.Identity{Name: "app 3", Kind: emulator.ServicePrincipal})
	user := az.Add(emulator.Identity{Name: "me@contoso.com", Kind: emulator.User})
	secret := url.Values{"grant_type": {"client_credentials"}, "client_id": {app.ClientID}, "client_secret": {"right"}, "scope": {scope}}
	assertion := func(token string) url.Values {
		form := with(secret, "client_assertion", token, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Del("client_secret")
		return form
	}
	set := func(claim string, v any) func(map[string]any) { return func(c map[string]any) { c[claim] = v } }

	// checkRecorded checks that the latest recorded request is that of a response.
	checkRecorded := func(t *testing.T, form url.Values, r response) {
		t.Helper()
		requests := az.Requests()
		last := requests[len(requests)-1]
		if last.Status != r.status {
			t.Errorf("recorded status = %d, want %d", last.Status, r.status)
		}
		if got, want := last.Form.Get("grant_type"), form.Get("grant_type"); got != want {
			t.Errorf("recorded grant_type = %q, want %q", got, want)
		}
	}

	for _, tt := range []struct {
		name, url string
		form      url.Values
	}{
		{"secret", tokenURL, secret},
		{"Cosmos DB's resource", tokenURL, with(secret, "scope", "https://token.postgres.cosmos.azure.com/.default")},
		{"resource with a slash at the end", tokenURL, with(secret, "scope", emulator.Resource+"//.default")},
		{"government cloud", "https://login.microsoftonline.us" + tokenPath, with(secret, "scope", govResource+"/.default")},
		{"federated", tokenURL, assertion(az.FederatedToken(app, nil))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := postForm(t, az, tt.url, tt.form)
			if r.status != http.StatusOK {
				t.Errorf("status = %d, want %d: %s", r.status, http.StatusOK, r.body)
			}
			if token, _ := r.fields["access_token"].(string); strings.Count(token, ".") != 2 {
				t.Errorf("access_token = %q, want a JWT", token)
			}
			checkRecorded(t, tt.form, r)
		})
	}
	for _, tt := range []struct {
		name, url string
		form      url.Values
		want      string // AADSTS code and the start of the text
	}{
		{"wrong secret", tokenURL, with(secret, "client_secret", "wrong"), "AADSTS7000215"},
		{"no secret", tokenURL, with(secret, "client_id", other.ClientID, "client_secret", ""), "AADSTS7000215"},
		{"unknown application", tokenURL, with(secret, "client_id", "none"), "AADSTS700016"},
		{"user as an application", tokenURL, with(secret, "client_id", user.ClientID), "AADSTS700016"},
		{"unknown tenant", publicAuthority + "/other/oauth2/v2.0/token", secret, "AADSTS90002: Tenant 'other' not found"},
		{"application without a tenant", publicAuthority + "/organizations/oauth2/v2.0/token", secret, "AADSTS90002"},
		{"unknown grant type", tokenURL, with(secret, "grant_type", "password"), "AADSTS70003"},
		{"resource of another cloud", tokenURL, with(secret, "scope", govResource+"/.default"), "AADSTS500011"},
		{"no resource", tokenURL, with(secret, "scope", "openid"), "AADSTS500011"},
		{"federated token of another application", tokenURL, assertion(az.FederatedToken(other, nil)), "AADSTS700213"},
		{"federated token with another audience", tokenURL, assertion(az.FederatedToken(app, set("aud", "x"))), "AADSTS700212"},
		{"federated token, expired", tokenURL, assertion(az.FederatedToken(app, set("exp", time.Now().Add(-time.Hour).Unix()))), "AADSTS700024"},
		{"federated token with an invalid signature", tokenURL, assertion(az.FederatedToken(app, nil) + "x"), "AADSTS50013"},
		{"access token as an assertion", tokenURL, assertion(az.Token(app, nil)), "AADSTS700027"},
		{"no assertion type", tokenURL, with(assertion(az.FederatedToken(app, nil)), "client_assertion_type", ""), "AADSTS900144"},
		{"assertion that is not a JWT", tokenURL, assertion("x"), "AADSTS50027"},
		{"unknown authorization code", tokenURL, url.Values{"grant_type": {"authorization_code"}, "code": {"none"}, "scope": {scope}}, "AADSTS70008"},
		{"unknown device code", tokenURL, url.Values{"grant_type": {"device_code"}, "device_code": {"none"}}, "AADSTS70019"},
		{"unknown refresh token", tokenURL, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"none"}, "scope": {scope}}, "AADSTS700082"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := postForm(t, az, tt.url, tt.form)
			if r.status < 400 {
				t.Errorf("status = %d, want an error", r.status)
			}
			if !strings.Contains(r.body, tt.want) {
				t.Errorf("body = %s, want %q in it", r.body, tt.want)
			}
			if r.fields["access_token"] != nil {
				t.Errorf("body = %s, want no access_token", r.body)
			}
			checkRecorded(t, tt.form, r)
		})
	}
}
