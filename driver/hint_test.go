package driver

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write TROUBLESHOOTING.md anew")

// wordings are texts that r must be found by.
func (r row) wordings() (texts []string) {
	for w := range strings.SplitSeq(r.text, "|") {
		texts = append(texts, strings.ReplaceAll(w, "*", " ... "))
	}
	return texts
}

// Each row is found by each of its wordings, in any case: none hides another. What
// is not documented and was not seen says "check". All braces are filled.
func TestHints(t *testing.T) {
	steps := []string{StepDSN, StepCredential, StepToken, StepNetwork, StepTLS, StepSignIn, StepRole}
	for i, r := range hints {
		if !slices.Contains(steps, r.step) || plain(r.text) != r.text || strings.ToLower(r.text) != r.text {
			t.Errorf("row %q is not written as texts are matched", r.text)
		}
		for _, text := range r.wordings() {
			if found := find(strings.ToUpper(text), r.step); found != &hints[i] {
				t.Errorf("%s: %q finds the row %+v", r.step, text, found)
			}
		}
		if (r.standing == reported || r.standing == inferred) && !strings.Contains(r.hint, "check") {
			t.Errorf("%q is %s, and its hint does not say check: %s", r.text, r.standing, r.hint)
		}
		for _, s := range []situation{{}, {role: "r", host: "h.example", claims: claims{AppID: "a"}, target: target{serverType: "single"}}, {target: target{serverType: "cosmos"}}} {
			if text := s.fill(r.hint, errors.New("x"), "x"); strings.ContainsAny(text, "{}") || strings.TrimSpace(text) == "" {
				t.Errorf("%q: %q", r.hint, text)
			}
		}
	}
}

// The page of hints that people read is the table that the code reads.
func TestTroubleshooting(t *testing.T) {
	titles := []struct{ step, title string }{{StepCredential, "credential: making what asks for tokens"}, {StepToken, "token: asking for one"},
		{StepNetwork, "network"}, {StepTLS, "tls"}, {StepSignIn, "sign-in: the server's refusals"}, {StepRole, "role: making one (aadpostgres role)"}}
	var b strings.Builder
	b.WriteString("# When a sign-in fails\n\nAn error is one line, `aadpostgres: <step>: <cause>; <what to do>`. Find the step, then words of the cause: case does not matter, `...` stands for anything,\n" +
		"and what is in brackets is not in the text but known to the driver. `aadpostgres doctor` finds the step for you. This page is the table that the driver itself reads.\n")
	brace := regexp.MustCompile(`\{(\w+)\}`)
	named := map[string]string{"create": "<SQL that makes the role>", "rebind": "<SQL that relabels the role>", "bare": "<role without @server>", "suffix": "@<server>", "self": "<the identity's name>",
		"selfOr": "", "roleName": "<role>", "names": "<names>", "age": "<age>", "audience": "<key that follows from the resource>", "clock": "<so much> ahead of or behind"}
	for _, section := range titles {
		fmt.Fprintf(&b, "\n## %s\n\n| the cause has | what to do | known |\n|---|---|---|\n", section.title)
		for _, r := range hints {
			if r.step != section.step {
				continue
			}
			hint := brace.ReplaceAllStringFunc(r.hint, func(s string) string {
				if name, ok := named[s[1:len(s)-1]]; ok {
					return name
				}
				return "<" + s[1:len(s)-1] + ">"
			})
			texts := r.wordings()
			for i := range texts {
				texts[i] = strings.TrimSpace(strings.ReplaceAll(texts[i], " ... [", " ["))
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.Join(texts, "` or `"), strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(hint), r.standing)
		}
	}
	const file = "TROUBLESHOOTING.md"
	was, err := os.ReadFile(file)
	switch {
	case err == nil && string(was) == b.String():
	case !*update:
		t.Errorf("%s is not the table of hints; write it with go test -run TestTroubleshooting ./driver -update", file)
	default:
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
}
