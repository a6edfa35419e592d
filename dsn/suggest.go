package dsn

import (
	"slices"
	"strings"
)

// maxEdits is how many edits a misspelled word may be from the suggested one.
const maxEdits = 3

// suggest returns the hint of an error about an unknown word: the nearest of the known
// words, or all of them.
func suggest(unknown string, known []string) string {
	nearest := nearestTo(unknown, known, maxEdits)
	if nearest == "" {
		return "write one of " + strings.Join(known, ", ")
	}
	return "did you mean " + nearest + "?"
}

// nearestTo returns the known word that is the fewest edits from a word, or "" if that is
// more than limit.
func nearestTo(unknown string, known []string, limit int) string {
	nearest := ""
	least := limit + 1
	for _, word := range known {
		if d := distance(unknown, word); d < least {
			nearest = word
			least = d
		}
	}
	return nearest
}

// nearly reports whether a word is so like one of the known words that it can be no
// secret: at most a third of it differs. Only then an error quotes it.
func nearly(unknown string, known []string) bool {
	unknown = strings.ToLower(unknown)
	return slices.ContainsFunc(known, func(word string) bool { return 3*distance(unknown, word) <= len(unknown) })
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
