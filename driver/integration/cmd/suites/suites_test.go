package main

import (
	"os"
	"path"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

func TestCompare(t *testing.T) {
	for _, tt := range []struct {
		name      string
		pgx, ours string // test=action
		want      string // test=pgx/ours
	}{
		{"equal", "A=pass B=fail C=skip", "A=pass B=fail C=skip", ""},
		{"failed", "A=pass B=pass", "A=pass B=fail", "B=pass/fail"},
		{"passed instead", "A=fail", "A=pass", "A=fail/pass"},
		{"skipped", "A=pass", "A=skip", "A=pass/skip"},
		{"missing", "A=pass", "", "A=pass/"},
		{"ended early", "A=pass", "A=", "A=pass/"},
		{"a subtest", "A=pass A/x=pass A/y=pass", "A=fail A/x=fail A/y=pass", "A/x=pass/fail"},
		{"a subtest of a subtest", "A=pass A/x=pass A/x/1=pass", "A=fail A/x=fail A/x/1=fail", "A/x/1=pass/fail"},
		{"failed before its subtests", "A=pass A/x=pass", "A=fail", "A=pass/fail"},
		{"a subtest is missing", "A=pass A/x=pass", "A=pass", "A/x=pass/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, d := range compare(resultsOf(tt.pgx), resultsOf(tt.ours)) {
				got = append(got, d.test.name+"="+d.pgx+"/"+d.ours)
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("differences = %q, want %q", got, tt.want)
			}
		})
	}
}

// resultsOf reads test=action, separated by spaces.
func resultsOf(s string) map[testID]result {
	results := map[testID]result{}
	for field := range strings.FieldsSeq(s) {
		name, action, _ := strings.Cut(field, "=")
		results[testID{"p", name}] = result{action: action}
	}
	return results
}

func TestConfirm(t *testing.T) {
	x := difference{test: testID{"p", "A/x"}, pgx: "pass", ours: "fail"}
	y := difference{test: testID{"p", "A/y"}, pgx: "pass", ours: "fail"}
	explained := x
	explained.reason = "because"
	for _, tt := range []struct {
		name                string
		first, again        []difference
		confirmed, unstable []difference
	}{
		{"again", []difference{x}, []difference{x}, []difference{x}, nil},
		{"another subtest of the same test", []difference{x}, []difference{y}, []difference{x}, nil},
		{"not again", []difference{x, y}, nil, nil, []difference{x, y}},
		{"explained", []difference{explained}, nil, []difference{explained}, nil},
		{"again only what is explained", []difference{y}, []difference{explained}, nil, []difference{y}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			confirmed, unstable := confirm(tt.first, tt.again)
			if !reflect.DeepEqual(confirmed, tt.confirmed) {
				t.Errorf("confirmed = %v, want %v", confirmed, tt.confirmed)
			}
			if !reflect.DeepEqual(unstable, tt.unstable) {
				t.Errorf("unstable = %v, want %v", unstable, tt.unstable)
			}
		})
	}
}

func TestReadEvents(t *testing.T) {
	results := map[testID]result{}
	err := readEvents(results, "p", []byte(`{"Action":"start"}
{"Action":"run","Test":"A"}
{"Action":"output","Test":"A","Output":"one\n"}
{"Action":"output","Test":"A","Output":"two\n"}
{"Action":"fail","Test":"A"}
{"Action":"run","Test":"B"}
{"Action":"fail"}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[testID]result{{"p", "A"}: {"fail", "one\ntwo\n"}, {"p", "B"}: {}}
	if !reflect.DeepEqual(results, want) {
		t.Errorf("results = %v, want %v", results, want)
	}
}

// Every exception is for a suite, and says why.
func TestExceptions(t *testing.T) {
	exceptions, err := parseExceptions(exceptionsText)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range exceptions {
		if _, err := selectSuites([]string{e.suite}); err != nil {
			t.Error(err)
		}
	}
	for _, line := range []string{"pgx-stdlib", "pgx-stdlib .*", "pgx-stdlib ( reason"} {
		if _, err := parseExceptions(line); err == nil {
			t.Errorf("parseExceptions(%q) succeeded, want an error", line)
		}
	}
	differences := []difference{
		{test: testID{"p", "TestA"}, pgx: "pass", ours: "fail"},
		{test: testID{"p", "TestAB"}, pgx: "pass", ours: "fail"},
		{test: testID{"p", "TestA"}, pgx: "pass"},
	}
	explain("s", differences, []exception{{"s", regexp.MustCompile(`^(?:p\.TestA)$`), "because"}, {"other", regexp.MustCompile(".*"), "no"}})
	if differences[0].reason != "because" {
		t.Errorf("reason of TestA = %q, want because", differences[0].reason)
	}
	if differences[1].reason != "" {
		t.Errorf("reason of TestAB = %q, want none", differences[1].reason)
	}
	if differences[2].reason != "" {
		t.Errorf("reason of a TestA that did not end = %q, want none", differences[2].reason)
	}
}

// The table of suites is well-formed: its patterns compile, and their packages come from
// one place.
func TestSuites(t *testing.T) {
	for _, s := range suites {
		t.Run(s.name, func(t *testing.T) {
			if (s.repo == "") != (s.folder == "") {
				t.Errorf("repo %q and folder %q, want both or neither", s.repo, s.folder)
			}
			if len(s.packages) == 0 {
				t.Error("no packages, want one at least")
			}
			for _, e := range s.edits {
				if _, err := regexp.Compile(e.old); err != nil {
					t.Error(err)
				}
				if _, err := path.Match(e.files, ""); err != nil {
					t.Errorf("%s: %v", e.files, err)
				}
			}
		})
	}
}

// A suite has the version that the other tests of this module use.
func TestVersions(t *testing.T) {
	const gomod = "../../go.mod"
	b, err := os.ReadFile(gomod)
	if err != nil {
		t.Fatal(err)
	}
	f, err := modfile.ParseLax(gomod, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, require := range f.Require {
		for _, s := range suites {
			// The tests of gorm, for example, are a module within gorm's repository.
			inside := s.module == require.Mod.Path || (s.repo != "" && strings.HasPrefix(s.module, require.Mod.Path+"/"))
			if inside && s.version != require.Mod.Version {
				t.Errorf("version of %s = %s, want %s as in %s", s.name, s.version, require.Mod.Version, gomod)
			}
		}
	}
}

func TestEdit(t *testing.T) {
	e := edit{"*_test.go", `sql\.Open\(`, "through.Open(", "sql.Open"}
	got := e.replace("// Copyright\n\npackage p // a comment\n\nimport \"database/sql\"\n\nvar db, _ = sql.Open(\"pgx\", \"\")\n", regexp.MustCompile(e.old))
	want := "// Copyright\n\npackage p // a comment\n\nimport \"" + throughModule + "\"\n\n\nimport \"database/sql\"\n\nvar db, _ = through.Open(\"pgx\", \"\")\n\nvar _ = sql.Open\n"
	if got != want {
		t.Errorf("replace = %q, want %q", got, want)
	}
	if err := e.apply(t.TempDir()); err == nil || !strings.Contains(err.Error(), "does not contain") {
		t.Errorf("apply in an empty folder: %v, want that nothing matches", err)
	}
}
