package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// requestSecrets lists the secrets in a request, plain and as a form encodes them. It
// gives the request a body of its own for this try: an HTTP client may go on reading
// when the response has arrived, and azcore rewinds one body for all tries.
func requestSecrets(r *http.Request) ([]string, error) {
	secrets := headerSecrets(r.Header)
	if r.Body == nil {
		return secrets, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	form, _ := url.ParseQuery(string(body)) // with an error it returns what it could read
	for _, name := range []string{"client_secret", "client_assertion", "assertion", "refresh_token", "code", "device_code", "code_verifier", "password"} {
		if v := form.Get(name); v != "" {
			secrets = append(secrets, v, url.QueryEscape(v))
		}
	}
	return secrets, nil
}

// headerSecrets lists the secrets in the headers of a request, plain and as JSON or a URL
// may write them. The credentials of an Authorization follow its scheme: Azure Arc's agent
// takes its key as Basic, without encoding it.
func headerSecrets(h http.Header) (secrets []string) {
	_, credentials, _ := strings.Cut(h.Get("Authorization"), " ")
	for _, v := range []string{credentials, h.Get("X-Identity-Header"), h.Get("Secret")} {
		v = strings.TrimSpace(v)
		if v == "" {
			continue
		}
		secrets = append(secrets, v, url.QueryEscape(v), strings.ReplaceAll(v, "/", `\/`))
		if b, err := base64.StdEncoding.DecodeString(v); err == nil {
			_, password, _ := strings.Cut(string(b), ":")
			secrets = append(secrets, string(b), password)
		}
	}
	return secrets
}

// responseSecrets lists the secrets in the body of a response.
func responseSecrets(body []byte) (secrets []string) {
	var fields map[string]any
	if json.Unmarshal(body, &fields) != nil {
		return nil
	}
	for _, name := range []string{"access_token", "refresh_token", "id_token", "oidcToken"} {
		if v, ok := fields[name].(string); ok {
			secrets = append(secrets, v)
		}
	}
	return secrets
}
