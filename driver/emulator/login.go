package emulator

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"maps"
	"net/http"
	"net/url"
)

// Login makes id the user who is logged in to az, azd and PowerShell, and who signs in
// when a browser or a device code is used. Until Login is called, nobody is logged
// in: the programs return an error, and Entra declines sign-ins.
func (a *Azure) Login(id Identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.loggedInUser = &id
}

// Logout reverts [Azure.Login].
func (a *Azure) Logout() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.loggedInUser = nil
}

func (a *Azure) loggedIn() (Identity, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.loggedInUser == nil {
		return Identity{}, false
	}
	return *a.loggedInUser, true
}

// A pendingGrant is what an authorization code, a device code or a refresh token was
// issued for.
type pendingGrant struct {
	identity  Identity
	client    string
	redirect  string
	challenge string // of PKCE
	nonce     string // that the id token repeats
	scope     string
	polls     int // of a device code
}

// newCode stores p under a new code.
func (a *Azure) newCode(p *pendingGrant) (code string) {
	code = rand.Text()
	a.storeCode(code, p)
	return code
}

func (a *Azure) storeCode(code string, p *pendingGrant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pendingGrants[code] = p
}

// redeemCode returns what a code was issued for, or nil, and makes the code invalid.
func (a *Azure) redeemCode(code string) *pendingGrant {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pendingGrants[code]
	delete(a.pendingGrants, code)
	return p
}

// formPost is the page whose script posts the response from within the browser, as
// response_mode=form_post defines it.
var formPost = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html><head><title>Working...</title></head><body>
<form method="POST" name="hiddenform" action="{{.To}}">{{range $name, $values := .Fields}}
<input type="hidden" name="{{$name}}" value="{{index $values 0}}">{{end}}
<noscript><p>Script is disabled. Click Submit to continue.</p><input type="submit" value="Submit"></noscript>
</form><script>document.forms[0].submit();</script></body></html>
`))

// serveAuthorize is the authorization endpoint. The user who is logged in consents.
func (a *Azure) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	redirect, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || redirect.Scheme != "http" || redirect.Hostname() != "localhost" {
		http.Error(w, "AADSTS50011: The redirect URI specified in the request does not match the redirect URIs configured for the application.", http.StatusBadRequest)
		return
	}
	if q.Get("response_type") != "code" || q.Get("client_id") == "" {
		http.Error(w, "AADSTS900144: The request must contain response_type=code and a client_id.", http.StatusBadRequest)
		return
	}
	respond := responseModes[cmp.Or(q.Get("response_mode"), "query")]
	if respond == nil {
		http.Error(w, "AADSTS90023: The 'response_mode' is not one of query, fragment and form_post.", http.StatusBadRequest)
		return
	}
	if q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" {
		http.Error(w, "AADSTS501491: The size or the method of the code challenge parameter is invalid.", http.StatusBadRequest)
		return
	}
	fields := url.Values{}
	if id, ok := a.loggedIn(); ok {
		fields.Set("code", a.newCode(&pendingGrant{identity: id, client: q.Get("client_id"), redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"), nonce: q.Get("nonce")}))
	} else {
		fields.Set("error", "access_denied")
		fields.Set("error_description", "AADSTS65004: User declined to consent to access the app.")
	}
	if q.Has("state") {
		fields.Set("state", q.Get("state"))
	}
	respond(w, redirect, fields)
}

// responseModes are the ways in which a response reaches the client's redirect URI.
var responseModes = map[string]func(w http.ResponseWriter, to *url.URL, fields url.Values){
	"query": func(w http.ResponseWriter, to *url.URL, fields url.Values) {
		query := to.Query()
		maps.Copy(query, fields)
		u := *to
		u.RawQuery = query.Encode()
		redirectTo(w, u.String())
	},
	"fragment": func(w http.ResponseWriter, to *url.URL, fields url.Values) {
		u := *to
		u.Fragment = ""
		redirectTo(w, u.String()+"#"+fields.Encode())
	},
	"form_post": func(w http.ResponseWriter, to *url.URL, fields url.Values) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if err := formPost.Execute(w, map[string]any{"To": to.String(), "Fields": fields}); err != nil {
			panic(err) // the template is a constant and w a buffer
		}
	},
}

func redirectTo(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusFound)
}

// grantCode exchanges an authorization code for a token. Only the client that requested
// the code has the verifier.
func (a *Azure) grantCode(w http.ResponseWriter, r *http.Request) {
	p := a.redeemCode(r.PostFormValue("code"))
	if p == nil || p.client != r.PostFormValue("client_id") || p.redirect != r.PostFormValue("redirect_uri") {
		a.writeError(w, http.StatusBadRequest, "invalid_grant", 70008, "The provided authorization code or refresh token has expired due to inactivity or is of another application.")
		return
	}
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if base64.RawURLEncoding.EncodeToString(sum[:]) != p.challenge {
		a.writeError(w, http.StatusBadRequest, "invalid_grant", 501481, "The Code_Verifier does not match the code_challenge supplied in the authorization request.")
		return
	}
	a.writeUserTokens(w, r, p, r.PostFormValue("scope"))
}

// serveDeviceCode is the device authorization endpoint. The user code is accepted if a
// user is logged in now.
func (a *Azure) serveDeviceCode(w http.ResponseWriter, r *http.Request) {
	p := &pendingGrant{scope: r.PostFormValue("scope")}
	if id, ok := a.loggedIn(); ok {
		p.identity = id
		p.client = r.PostFormValue("client_id")
	}
	deviceCode := a.newCode(p)
	userCode := rand.Text()[:9]
	uri := "https://" + r.Host + "/devicelogin"
	writeJSON(w, http.StatusOK, map[string]any{
		"device_code":      deviceCode,
		"user_code":        userCode,
		"verification_uri": uri,
		"expires_in":       900,
		"interval":         1,
		"message":          "To sign in, use a web browser to open the page " + uri + " and enter the code " + userCode + " to authenticate.",
	})
}

// grantDevice exchanges a device code for a token. It answers the first poll with
// authorization_pending, so that a client that does not poll fails.
func (a *Azure) grantDevice(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("device_code")
	p := a.redeemCode(code)
	if p == nil {
		a.writeError(w, http.StatusBadRequest, "invalid_grant", 70019, "Verification code expired.")
		return
	}
	if p.polls == 0 {
		p.polls++
		a.storeCode(code, p)
		a.writeError(w, http.StatusBadRequest, "authorization_pending", 70016, "OAuth 2.0 device flow error. Authorization is pending. Continue polling.")
		return
	}
	if p.client != r.PostFormValue("client_id") {
		a.writeError(w, http.StatusBadRequest, "authorization_declined", 70018, "The end user denied the authorization request.")
		return
	}
	a.writeUserTokens(w, r, p, p.scope)
}

// grantRefresh exchanges a refresh token for an access token. A refresh token can be used
// any number of times.
func (a *Azure) grantRefresh(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	p := a.pendingGrants[r.PostFormValue("refresh_token")]
	a.mu.Unlock()
	if p == nil {
		a.writeError(w, http.StatusBadRequest, "invalid_grant", 700082, "The refresh token has expired due to inactivity.")
		return
	}
	a.writeUserTokens(w, r, p, r.PostFormValue("scope"))
}
