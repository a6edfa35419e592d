package azure

import (
	_ "embed"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/dsn"
)

//go:embed confirmed.txt
var confirmedFile string

// A Confirmation is a claim that a run on Azure has confirmed.
type Confirmation struct {
	Claim   string // its ID
	Day     time.Time
	Version string // PostgreSQL's
	Issue   string // a URL
}

// Confirmations returns the rows of confirmed.txt.
func Confirmations() ([]Confirmation, error) { return parseConfirmations(confirmedFile) }

func parseConfirmations(text string) (all []Confirmation, err error) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 4 {
			return nil, fmt.Errorf("confirmed.txt: %q has %d fields, want 4", line, len(fields))
		}
		day, err := time.Parse(time.DateOnly, fields[1])
		if err != nil {
			return nil, fmt.Errorf("confirmed.txt: %q: %w", line, err)
		}
		if u, err := url.Parse(fields[3]); err != nil || u.Scheme != "https" {
			return nil, fmt.Errorf("confirmed.txt: %q does not end in an https URL", line)
		}
		all = append(all, Confirmation{fields[0], day, fields[2], fields[3]})
	}
	return all, nil
}

// sources are the places that may cite a claim.
type sources struct {
	rules  []hint.Rule
	clouds []dsn.Cloud
	pages  map[string]string // texts by path
}

// readSources reads the tables, and the pages that claims name, below root.
func readSources(root string) (sources, error) {
	s := sources{rules: hint.Rules(), clouds: dsn.Clouds(), pages: map[string]string{}}
	for _, c := range Claims() {
		for _, page := range c.Pages {
			b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(page.File)))
			if err != nil {
				return s, err
			}
			s.pages[page.File] = string(b)
		}
	}
	return s, nil
}

// check returns what is wrong with citations: a claim that is confirmed and not cited where
// it is relied on, or one that is cited and not confirmed, or not relied on there.
func (s sources) check(confirmed []Confirmation) (problems []string) {
	claims := map[string]Claim{}
	for _, c := range Claims() {
		claims[c.ID] = c
	}
	isConfirmed := map[string]bool{}
	for _, row := range confirmed {
		isConfirmed[row.Claim] = true
		c, ok := claims[row.Claim]
		if !ok {
			problems = append(problems, fmt.Sprintf("confirmed.txt names claim %q, which does not exist", row.Claim))
			continue
		}
		for _, where := range s.uncited(c) {
			problems = append(problems, fmt.Sprintf("claim %q is confirmed; write %q in %s", c.ID, Citation(c.ID), where))
		}
	}
	cite := func(where, text string, relies func(Claim) bool) {
		for _, m := range citation.FindAllStringSubmatch(text, -1) {
			c, ok := claims[m[1]]
			if !ok || !isConfirmed[m[1]] {
				problems = append(problems, fmt.Sprintf("%s cites claim %q, which confirmed.txt does not have", where, m[1]))
			} else if !relies(c) {
				problems = append(problems, fmt.Sprintf("%s cites claim %q, which does not name it", where, m[1]))
			}
		}
	}
	for _, r := range s.rules {
		cite("the hint for "+r.Text, string(r.Source), func(c Claim) bool {
			return slices.ContainsFunc(c.Hints, func(h Hint) bool { return h.names(r) })
		})
	}
	for _, row := range s.clouds {
		cite("cloud "+row.Name, row.Source, func(c Claim) bool { return slices.Contains(c.Clouds, row.Name) })
	}
	for _, file := range slices.Sorted(maps.Keys(s.pages)) {
		cite(file, s.pages[file], func(c Claim) bool {
			return slices.ContainsFunc(c.Pages, func(p Page) bool { return p.File == file })
		})
	}
	return problems
}

// uncited returns the places that rely on a claim and do not cite it. Of several rules with
// the same wording one is enough: the others may have another condition.
func (s sources) uncited(c Claim) (where []string) {
	want := Citation(c.ID)
	for _, h := range c.Hints {
		cites := func(r hint.Rule) bool { return h.names(r) && strings.Contains(string(r.Source), want) }
		if !slices.ContainsFunc(s.rules, cites) {
			where = append(where, fmt.Sprintf("the source of the hint for %q", h.Wording))
		}
	}
	for _, row := range s.clouds {
		if slices.Contains(c.Clouds, row.Name) && !strings.Contains(row.Source, want) {
			where = append(where, "the source of cloud "+row.Name)
		}
	}
	for _, page := range c.Pages {
		if !strings.Contains(s.pages[page.File], want) {
			where = append(where, page.File)
		}
	}
	return where
}
