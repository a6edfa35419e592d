package emulator

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

var (
	formAction = regexp.MustCompile(`<form[^>]* action="([^"]*)"`)
	formField  = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// browse is the browser: it opens the page of the sign-in and, as its script would,
// posts the form on it. Like a browser's its work goes on after the command ends.
func browse(a *Azure, args []string) (string, int) {
	u, err := url.Parse(strings.Join(args, " "))
	if err != nil || !strings.HasSuffix(u.Path, "/oauth2/v2.0/authorize") {
		return "this browser opens Entra's sign-in only", 4
	}
	a.browsing.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		a.follow(ctx, u) // who waits for the answer says that there was none
	})
	return "", 0
}

func (a *Azure) follow(ctx context.Context, u *url.URL) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	text := readAll(resp.Body)
	resp.Body.Close()
	action := formAction.FindStringSubmatch(text)
	if action == nil {
		return fmt.Errorf("no form, but %d: %s", resp.StatusCode, text)
	}
	form := url.Values{}
	for _, m := range formField.FindAllStringSubmatch(text, -1) {
		form.Set(m[1], html.UnescapeString(m[2]))
	}
	req, err = http.NewRequestWithContext(ctx, http.MethodPost, html.UnescapeString(action[1]), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if resp, err = a.client.Do(req); err != nil {
		return err
	}
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return resp.Body.Close()
}

// readAll reads up to a megabyte; what is cut short is short.
func readAll(r io.Reader) string {
	b, _ := io.ReadAll(io.LimitReader(r, 1<<20))
	return string(b)
}
