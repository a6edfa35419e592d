package credential

import (
	"cmp"
	"errors"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// An outcome is what one credential of a request said.
type outcome struct {
	mode     dsn.Mode       // "" if unknown
	text     string         // of its error, all lines
	response *http.Response // the refusal, or nil
	absent   bool           // this environment lacks the credential: it could not have worked
}

// outcomes lists what the credentials said, in the order in which they were asked. azidentity's
// lists put the texts of all into one error.
func outcomes(failures []failure, err error) []outcome {
	if failures == nil {
		return outcomesOf("", err)
	}
	var list []outcome
	for _, f := range failures {
		_, lacking := f.TokenCredential.(unavailable)
		for _, o := range outcomesOf(f.mode, f.err) {
			o.absent = o.absent || lacking
			list = append(list, o)
		}
	}
	return list
}

func outcomesOf(mode dsn.Mode, err error) []outcome {
	if mode == "" && strings.HasPrefix(err.Error(), "DefaultAzureCredential: ") {
		mode = dsn.Default // the program's own
	}
	text := shorten(err.Error())
	texts := attempts(text)
	if texts == nil {
		texts = []string{text}
	}
	var list []outcome
	for _, text := range texts {
		list = append(list, outcome{mode: modeOf(text, mode), text: text, absent: isAbsence(text)})
	}
	var failed *azidentity.AuthenticationFailedError
	if errors.As(err, &failed) {
		list[len(list)-1].response = failed.RawResponse
		list[len(list)-1].absent = false
	}
	return list
}

// decisive returns the outcome that the reader can do something about: that of the
// credential that ended the list, or else of the first one that the environment has. It is
// nil if it has none of them.
func decisive(list []outcome, err error) *outcome {
	if len(list) == 1 || errors.As(err, new(*azidentity.AuthenticationFailedError)) {
		return &list[len(list)-1]
	}
	for i := range list {
		if !list[i].absent {
			return &list[i]
		}
	}
	return nil
}

// reason says in one line why the credential failed: for a person, so in the words of Entra
// or of the tool, if there are any. With named the credential's name stands in front.
func (o outcome) reason(named bool) string {
	name := o.name()
	if toolOf(o.mode) != nil {
		if output := readOutput(o.body()); len(output) > 0 {
			return strings.TrimPrefix(name+": ", ": ") + output.reason()
		}
	}
	line := ownRefusal(redact.FirstLine(o.text), named)
	if begins := o.begins(); begins != "" && named {
		line = name + strings.TrimPrefix(line, begins)
	}
	if o.response != nil {
		return refusal(line, o.response, named)
	}
	if !named || name == "" || strings.HasPrefix(line, name) {
		return line
	}
	return name + ": " + line
}

// name returns what the credential is called in its error, or else its mode.
func (o outcome) name() string {
	name := o.begins()
	if name != "" && o.mode == dsn.Environment {
		return "EnvironmentCredential" // which asks another one
	}
	return cmp.Or(name, string(o.mode))
}

// begins returns the name of azidentity's that the text begins with, or "".
func (o outcome) begins() string {
	for _, m := range modes {
		if strings.HasPrefix(o.text, m.name) {
			return m.name
		}
	}
	return ""
}

// body returns the text without the credential's name and the link to azidentity's guide.
func (o outcome) body() string {
	text := withoutGuide(o.text)
	if rest, ok := strings.CutPrefix(text, o.begins()); ok && o.begins() != "" {
		return strings.TrimPrefix(strings.TrimPrefix(rest, ".GetToken()"), ": ")
	}
	return text
}

// withoutGuide removes the link to azidentity's guide.
func withoutGuide(text string) string {
	if i := strings.LastIndex(text, "To troubleshoot, visit https://aka.ms/"); i >= 0 {
		text = strings.TrimRight(text[:i], " ")
		return strings.TrimSuffix(text, ".")
	}
	return text
}

// detail returns the text that a hint is found by.
func (o outcome) detail() string {
	text := o.text
	if toolOf(o.mode) != nil {
		if output := readOutput(o.body()); len(output) > 0 {
			text = strings.Join(output, "\n")
		}
	}
	return o.reason(true) + "\n" + text
}
