package driver

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// An Error prints as its one line, in every form.
func TestErrorPrintsAsOneLine(t *testing.T) {
	e := &Error{Step: StepToken, Hint: "do that", Err: errors.New("a \"cause\"")}
	for _, form := range printedForms(e) {
		if form.name == "gob" {
			continue // which does not encode it
		}
		t.Run(form.name, func(t *testing.T) {
			want := e.Error()
			got := form.text
			switch form.name {
			case "%q", "JSON", "slog text", "slog JSON", "expvar":
				want = strings.Trim(strconv.Quote(want), `"`)
			case "%x", "%X":
				want = hex.EncodeToString([]byte(want))
				got = strings.ToLower(got)
			case "XML":
				want = strings.ReplaceAll(want, `"`, "&#34;")
			}
			if !strings.Contains(got, want) {
				t.Errorf("got %s, want %s in it", got, want)
			}
			for _, field := range []string{"Err:", `"Err"`} {
				if strings.Contains(got, field) {
					t.Errorf("got %s, want no field %s in it", got, field)
				}
			}
		})
	}
}

// An Error shows the first line of its cause. What follows may hold a secret.
func TestErrorPrintsTheFirstLineOnly(t *testing.T) {
	e := &Error{Step: StepToken, Err: fmt.Errorf("first\n%s", entratest.Marker), Hint: "do"}
	if got, want := e.Error(), "aadpostgres: token: first; do"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "err", e)
	checkNoSecret(t, "slog", log.String())
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	checkNoSecret(t, "JSON", string(b))
}

// An error of a token request that is not azidentity's does not become one.
func TestErrorKeepsItsType(t *testing.T) {
	err := errContext{}.explainToken(fmt.Errorf("first line\n%s", entratest.Marker))
	var failed *azidentity.AuthenticationFailedError
	if errors.As(err, &failed) {
		t.Errorf("errors.As(%v, %T) = true, want false", err, failed)
	}
	if want := "first line"; !strings.Contains(err.Error(), want) {
		t.Errorf("explainToken() = %v, want %q in it", err, want)
	}
}
