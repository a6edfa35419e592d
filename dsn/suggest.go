package dsn

import "strings"

// maxEdits is how many edits a misspelled word may be from the suggested one.
const maxEdits = 3

// suggest returns the hint of an error about an unknown word: the nearest of the known
// words, or all of them.
func suggest(unknown string, known []string) string {
	nearest := ""
	least := maxEdits + 1
	for _, word := range known {
		if d := distance(unknown, word); d < least {
			nearest = word
			least = d
		}
	}
	if nearest == "" {
		return "write one of " + strings.Join(known, ", ")
	}
	return "did you mean " + nearest + "?"
}

// distance returns the Levenshtein distance of a and b in bytes, by the algorithm of
// Wagner and Fischer (1974) with a single row.
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
			diagonal = row[j+1]
			row[j+1] = d
		}
	}
	return row[len(b)]
}
