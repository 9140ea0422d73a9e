// Package neutral knows the words that accuse. What detection says of people is put
// as a question: "unexplained" is not "suspicious", and software never accuses.
//
// It is the one list for every text about an access: sentences, what detectors say
// of themselves, pages, letters, and what a site writes into its own templates.
package neutral

import "strings"

// Accuses returns the first part of a text that accuses somebody or judges what they
// did, "" when it has none.
func Accuses(text string) string {
	text = strings.ToLower(text)
	for _, word := range words() {
		if strings.Contains(text, word) {
			return word
		}
	}
	return ""
}

// words are beginnings of words, so that they are found in every form.
func words() []string {
	return []string{
		"abus", "accus", "anomal", "breach", "cheat", "crimin", "culprit", "guilt", "illegal", "illicit", "innocen", "intrud", "malicious", "misconduct", "misuse",
		"offence", "offend", "perpetrat", "pried", "prying", "snoop", "stole", "suspect", "suspicio", "theft", "thief", "unauthor", "unlawful", "violat", "wrongdo",
	}
}
