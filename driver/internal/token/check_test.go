package token

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// What cannot be a token is not presented, wherever it came from.
func TestFormat(t *testing.T) {
	const given = "the given access token holds quotes, spaces or braces"
	rows := []struct {
		name, value, want string
		given             string // want of a source that was given the token; "" for the same
	}{
		{name: "empty", value: "", want: "the response holds no token", given: "no access token is given"},
		{name: "space", value: "a b", want: "holds characters that no token has", given: given},
		{name: "control character", value: "a\x01b", want: "holds characters that no token has"},
		{name: "delete", value: "a\x7f", want: "holds characters that no token has"},
		{name: "not ASCII", value: "ä", want: "holds characters that no token has"},
		{name: "too long", value: strings.Repeat("x", 65535), want: "has 65535 bytes, and PostgreSQL accepts 65534"},
		{name: "just short enough", value: strings.Repeat("x", 65534)},
		{name: "all kinds of characters", value: "~-._+/="},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			response := Response{Value: row.value, ExpiresOn: time.Now().Add(time.Hour)}
			c := cacheOf(&fakeFetcher{get: func(int, Request) (Response, error) { return response, nil }})
			_, err := await(t.Context(), c)
			wantError(t, err, row.want)
			if row.want != "" {
				wantHint(t, err, "check what answers the token request")
			}
			want := cmp.Or(row.given, row.want)
			path := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(path, []byte(row.value), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = await(t.Context(), &File{Path: path})
			wantError(t, err, want)
			_, err = await(t.Context(), &Static{Value: row.value})
			wantError(t, err, want)
		})
	}
}

// A URL without a host is not the audience of a scope without one.
func TestAudienceWithoutAHost(t *testing.T) {
	value := entratest.JWT(map[string]any{"aud": "https://"})
	_, err := await(t.Context(), &Static{Value: value, Scope: "123cd850-d9df-40bd-94d5-c9f07b7fa203/.default"})
	wantError(t, err, `the token is for the audience ["https://"]`)
}

// A token for something else is not presented. What cannot be judged is left to the server.
func TestAudience(t *testing.T) {
	const scope = "https://server.example/.default"
	rows := []struct {
		name string
		aud  any
		want string
	}{
		{"none", nil, ""},
		{"the scope's", "https://server.example", ""},
		{"the scope's in capitals, with a slash", "https://SERVER.example/", ""},
		{"Azure Database for PostgreSQL", "https://ossrdbms-aad.database.windows.net", ""},
		{"application ID", "123cd850-d9df-40bd-94d5-c9f07b7fa203", ""},
		{"one of several", []string{"https://vault.azure.net", "https://server.example"}, ""},
		{"not a string", 1, ""},
		{"another resource", "https://vault.azure.net", `the token is for the audience ["https://vault.azure.net"]`},
		{"several others", []string{"https://a.example", "https://b.example"}, `the token is for the audience ["https://a.example" "https://b.example"]`},
		{"a longer name", "https://server.example.evil.example", "the token is for the audience"},
		{"not a URL", "https://a b", "the token is for the audience"},
		{"no host", "https://", "the token is for the audience"},
	}
	t.Run("neither has a host", func(t *testing.T) {
		value := entratest.JWT(map[string]any{"aud": "https:///path"})
		_, err := await(t.Context(), &Static{Value: value, Scope: "123cd850-d9df-40bd-94d5-c9f07b7fa203/.default"})
		wantError(t, err, "the token is for the audience")
	})
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			claims := map[string]any{"oid": "o"}
			if row.aud != nil {
				claims["aud"] = row.aud
			}
			_, err := await(t.Context(), &Static{Value: entratest.JWT(claims), Scope: scope})
			wantError(t, err, row.want)
			if row.want != "" {
				wantHint(t, err, "request a token for")
			}
		})
	}
}
