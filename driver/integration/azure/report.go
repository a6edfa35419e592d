package azure

import (
	"fmt"
	"runtime"
	"strings"
)

// A Report is what a run found. It has no secret, and names no host, person or identity.
type Report struct {
	Target  string // Azure or emulator
	Server  string // PostgreSQL's version
	Day     string // of the run, in UTC, as 2026-11-25
	Results []Result
}

// dynamic returns all texts that come from the run, not from the table of claims.
func (r *Report) dynamic() []string {
	texts := []string{r.Server}
	for _, result := range r.Results {
		texts = append(texts, result.Why...)
		texts = append(texts, result.Seen...)
	}
	return texts
}

// Count returns how many claims have a verdict.
func (r *Report) Count(v Verdict) (n int) {
	for _, result := range r.Results {
		if result.Verdict == v {
			n++
		}
	}
	return n
}

// Markdown returns the report as the text of an issue.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# What was tried on %s\n\n", r.Target)
	fmt.Fprintf(&b, "Target: **%s**, PostgreSQL %s, %s, client on %s.\n", r.Target, r.Server, r.Day, runtime.GOOS)
	if r.Target != "Azure" {
		fmt.Fprintf(&b, "This report says how the %s behaves. It confirms nothing about Azure.\n", r.Target)
	}
	fmt.Fprintf(&b, "%d claims: %d confirmed, %d contradicted, %d not tried. Placeholders in angle brackets stand for names.\n",
		len(r.Results), r.Count(Confirmed), r.Count(Contradicted), r.Count(NotTried))
	for _, section := range []struct {
		verdict Verdict
		title   string
		columns string
	}{
		{Contradicted, "Contradicted", "claim | was | why"},
		{Confirmed, "Confirmed", "claim | was"},
		{NotTried, "Not tried", "claim | was | why"},
	} {
		if r.Count(section.verdict) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n| ID | %s |\n|%s\n", section.title, section.columns, strings.Repeat("---|", 2+strings.Count(section.columns, "|")))
		for _, result := range r.Results {
			if result.Verdict != section.verdict {
				continue
			}
			cells := []string{"`" + result.Claim.ID + "`", result.Claim.Text, string(result.Claim.Standing)}
			if section.verdict != Confirmed {
				cells = append(cells, strings.Join(result.Why, "; "))
			}
			for i := range cells {
				cells[i] = cell(cells[i])
			}
			fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
		}
	}
	b.WriteString("\n## Seen, verbatim\n\n```text\n")
	for _, result := range r.Results {
		for _, text := range result.Seen {
			fmt.Fprintf(&b, "%s: %s\n", result.Claim.ID, strings.ReplaceAll(text, "```", "'''"))
		}
	}
	b.WriteString("```\n")
	b.WriteString(r.record())
	return b.String()
}

// record returns the lines for confirmed.txt. Only Azure confirms.
func (r *Report) record() string {
	if r.Target != "Azure" || r.Count(Confirmed) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n## Lines for driver/integration/azure/confirmed.txt\n\nReplace LINK by the address of this issue.\n\n```text\n")
	major := "0"
	if fields := strings.Fields(r.Server); len(fields) > 0 {
		major = fields[0]
	}
	for _, result := range r.Results {
		if result.Verdict == Confirmed {
			fmt.Fprintf(&b, "%s %s %s LINK\n", result.Claim.ID, r.Day, major)
		}
	}
	b.WriteString("```\n")
	return b.String()
}

// cell makes a text a cell of a table: a bar would end it, and an angle bracket begin HTML.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;").Replace(s)
}

// IDs returns the IDs of the claims that have a verdict, in order.
func (r *Report) IDs(v Verdict) (ids []string) {
	for _, result := range r.Results {
		if result.Verdict == v {
			ids = append(ids, result.Claim.ID)
		}
	}
	return ids
}
