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

// openBrowser is the program xdg-open. It opens the sign-in page and follows the redirect
// in the response, or posts the form on the page, as the page's script would. Like a browser, it continues after the command ends.
func openBrowser(a *Azure, args []string) (string, int) {
	u, err := url.Parse(strings.Join(args, " "))
	if err != nil || !strings.HasSuffix(u.Path, "/oauth2/v2.0/authorize") {
		return "this browser opens Entra's sign-in page only", 4
	}
	a.browserWG.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		a.submitSignIn(ctx, u) // if it fails, the client that waits for the code times out
	})
	return "", 0
}

func (a *Azure) submitSignIn(ctx context.Context, u *url.URL) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	page := readAll(resp.Body)
	resp.Body.Close()
	if resp.Request.URL.Host != u.Host { // the client's redirect URI has answered
		return nil
	}
	action := formAction.FindStringSubmatch(page)
	if action == nil {
		return fmt.Errorf("no form in the response with status %d: %s", resp.StatusCode, page)
	}
	form := url.Values{}
	for _, m := range formField.FindAllStringSubmatch(page, -1) {
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
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody))
	return resp.Body.Close()
}

// readAll reads at most maxBody. It returns what it has read before an error.
func readAll(r io.Reader) string {
	b, _ := io.ReadAll(io.LimitReader(r, maxBody))
	return string(b)
}
