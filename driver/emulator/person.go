package emulator

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
)

// Login says who is signed in to az, azd and PowerShell, and who answers when the
// browser or a device code asks. Before it, nobody is and nobody does.
func (a *Azure) Login(id Identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.person = &id
}

// Logout undoes Login.
func (a *Azure) Logout() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.person = nil
}

func (a *Azure) loggedIn() (Identity, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.person == nil {
		return Identity{}, false
	}
	return *a.person, true
}

// pending is what a code or a refresh token stands for.
type pending struct {
	identity  Identity
	client    string
	redirect  string
	challenge string // of PKCE
	scope     string
	polls     int // of a device code
}

// promise keeps p under a new code.
func (a *Azure) promise(p *pending) (code string) {
	code = rand.Text()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending[code] = p
	return code
}

// redeem returns what a code stands for, and forgets it.
func (a *Azure) redeem(code string) *pending {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pending[code]
	delete(a.pending, code)
	return p
}

// page posts the answer back from within the browser, as response_mode=form_post has it.
var page = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html><head><title>Working...</title></head><body>
<form method="POST" name="hiddenform" action="{{.To}}">{{range $name, $value := .Fields}}
<input type="hidden" name="{{$name}}" value="{{$value}}">{{end}}
<noscript><p>Script is disabled. Click Submit to continue.</p><input type="submit" value="Submit"></noscript>
</form><script>document.forms[0].submit();</script></body></html>
`))

// serveAuthorize is the page at which a person signs in and consents.
func (a *Azure) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	to, err := url.Parse(q.Get("redirect_uri"))
	switch {
	case err != nil || to.Scheme != "http" || to.Hostname() != "localhost":
		http.Error(w, "AADSTS50011: The redirect URI specified in the request does not match the redirect URIs configured for the application.", http.StatusBadRequest)
		return
	case q.Get("response_type") != "code" || q.Get("response_mode") != "form_post" || q.Get("client_id") == "":
		http.Error(w, "AADSTS900144: The request must contain response_type=code, response_mode=form_post and a client_id.", http.StatusBadRequest)
		return
	case q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "":
		http.Error(w, "AADSTS501491: The size or the method of the code challenge parameter is invalid.", http.StatusBadRequest)
		return
	}
	fields := map[string]string{"state": q.Get("state")}
	if id, ok := a.loggedIn(); ok {
		fields["code"] = a.promise(&pending{identity: id, client: q.Get("client_id"), redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge")})
	} else {
		fields["error"] = "access_denied"
		fields["error_description"] = "AADSTS65004: User declined to consent to access the app."
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := page.Execute(w, map[string]any{"To": to.String(), "Fields": fields}); err != nil {
		panic(err) // the page is ours
	}
}

// grantCode gives a token for the code that the browser brought back, to the one
// who sent it out: only he has the verifier.
func (a *Azure) grantCode(w http.ResponseWriter, r *http.Request) {
	p := a.redeem(r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case p == nil || p.client != r.PostFormValue("client_id") || p.redirect != r.PostFormValue("redirect_uri"):
		a.refuse(w, http.StatusBadRequest, "invalid_grant", 70008, "The provided authorization code or refresh token has expired due to inactivity or is of another application.")
	case base64.RawURLEncoding.EncodeToString(sum[:]) != p.challenge:
		a.refuse(w, http.StatusBadRequest, "invalid_grant", 501481, "The Code_Verifier does not match the code_challenge supplied in the authorization request.")
	default:
		a.givePerson(w, r, p.identity, r.PostFormValue("scope"))
	}
}

// serveDeviceCode gives a code to be typed on another device. Whether somebody does
// is decided when it is asked for.
func (a *Azure) serveDeviceCode(w http.ResponseWriter, r *http.Request) {
	id, ok := a.loggedIn()
	p := &pending{identity: id, client: r.PostFormValue("client_id"), scope: r.PostFormValue("scope")}
	if !ok {
		p.client = ""
	}
	code, typed := a.promise(p), rand.Text()[:9]
	where := "https://" + r.Host + "/devicelogin"
	reply(w, http.StatusOK, map[string]any{"device_code": code, "user_code": typed, "verification_uri": where, "expires_in": 900, "interval": 1,
		"message": "To sign in, use a web browser to open the page " + where + " and enter the code " + typed + " to authenticate."})
}

// grantDevice lets the first poll wait, so that who asks must poll.
func (a *Azure) grantDevice(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("device_code")
	p := a.redeem(code)
	switch {
	case p == nil:
		a.refuse(w, http.StatusBadRequest, "invalid_grant", 70019, "Verification code expired.")
	case p.polls == 0:
		p.polls++
		a.mu.Lock()
		a.pending[code] = p
		a.mu.Unlock()
		a.refuse(w, http.StatusBadRequest, "authorization_pending", 70016, "OAuth 2.0 device flow error. Authorization is pending. Continue polling.")
	case p.client != r.PostFormValue("client_id"):
		a.refuse(w, http.StatusBadRequest, "authorization_declined", 70018, "The end user denied the authorization request.")
	default:
		a.givePerson(w, r, p.identity, p.scope)
	}
}

// grantRefresh gives a new token for an old refresh token, as often as asked.
func (a *Azure) grantRefresh(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	p := a.pending[r.PostFormValue("refresh_token")]
	a.mu.Unlock()
	if p == nil {
		a.refuse(w, http.StatusBadRequest, "invalid_grant", 700082, "The refresh token has expired due to inactivity.")
		return
	}
	a.givePerson(w, r, p.identity, r.PostFormValue("scope"))
}
