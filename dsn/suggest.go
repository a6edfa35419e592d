package dsn

import "strings"

// suggest says which of the names was meant, or else lists them all.
func suggest(got string, names []string) string {
	best, least := "", 4 // further off than three edits is another word
	for _, n := range names {
		if d := distance(got, n); d < least {
			best, least = n, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "write one of " + strings.Join(names, ", ")
}

// distance counts the insertions, deletions and replacements that turn a into b
// (Wagner and Fischer, 1974).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
