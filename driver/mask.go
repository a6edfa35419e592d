package driver

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Whoever is shown a secret may say it again, in an error that ends up in a log:
// a proxy that quotes the request, a server that logs what it refuses.

const masked = "xxxxx"

// mask takes tokens out of what somebody said who has seen them, and secrets. What is
// too short to be one would be found in any text.
func mask(said []byte, secrets []string) []byte {
	for _, s := range secrets {
		if len(s) >= 6 {
			said = bytes.ReplaceAll(said, []byte(s), []byte(masked))
		}
	}
	return jot.ReplaceAll(said, []byte(masked))
}

// hush is err, or its words alone where it holds what mask takes out: what wraps and
// what is wrapped are printed too.
func hush(err error, secrets ...string) error {
	said := []byte(err.Error())
	if kept := mask(said, secrets); !bytes.Equal(kept, said) {
		return errors.New(string(kept))
	}
	return err
}

// brought lists the secrets in an answer.
func brought(b []byte) (secrets []string) {
	var fields map[string]any
	if json.Unmarshal(b, &fields) != nil {
		return nil
	}
	for _, name := range []string{"access_token", "refresh_token", "id_token", "oidcToken"} {
		if v, ok := fields[name].(string); ok {
			secrets = append(secrets, v)
		}
	}
	return secrets
}

// sent lists the secrets in a request, as they are and as a form has them. The request
// gets a body of its own for this try: an HTTP client may read on when the answer is
// there already, and azcore rewinds one body for all tries.
func sent(r *http.Request) (secrets []string, err error) {
	secrets = append(secrets, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), r.Header.Get("X-Identity-Header"), r.Header.Get("Secret"))
	if r.Body == nil {
		return secrets, nil
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	r.Body, _ = r.GetBody()
	form, _ := url.ParseQuery(string(b)) // what there is of one
	for _, name := range []string{"client_secret", "client_assertion", "assertion", "refresh_token", "code", "device_code", "code_verifier", "password"} {
		if v := form.Get(name); v != "" {
			secrets = append(secrets, v, url.QueryEscape(v))
		}
	}
	return secrets, nil
}

// jot is what tokens and assertions look like: a JWT, or the head of one.
var jot = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*`)
