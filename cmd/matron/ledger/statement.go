package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit/merkle"
)

// MaxReason bounds the reason of a statement in characters.
const MaxReason = 400

// Ahead is how far a statement may lie in the future of the gateway's clock: beyond
// that the clock was put back since, and how long ago it was made is not known.
const Ahead = time.Minute

// Signature is what one person has signed.
type Signature struct {
	By   string `json:"by"`
	Note string `json:"note"` // signed note, golang.org/x/mod/sumdb/note
}

// Text is what somebody signs: the format, the log that it is for and what is said, a
// line each. JSON escapes line ends, so that a reason cannot look like another line.
func Text(format, origin string, said any) string {
	line, err := json.Marshal(said)
	if err != nil {
		return "" // a time beyond the year 9999; note.Sign refuses it
	}
	return format + "\n" + origin + "\n" + string(line) + "\n"
}

// Said reads what a statement says, whoever signed it.
func (s Signature) Said(into any) error {
	lines := strings.Split(s.Note, "\n")
	if len(lines) < 4 {
		return errors.New("too short")
	}
	return json.Unmarshal([]byte(lines[2]), into)
}

// Sign signs a text.
func Sign(text string, signer note.Signer) (string, error) {
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return string(signed), nil
}

// Person is somebody whose signature counts.
type Person struct {
	Name string
	Key  note.Verifier
}

// People are those whom one setting of the configuration names.
type People struct {
	Setting string // e.g. "bypass.people"
	List    []Person
}

// key is the key of somebody.
func (p People) key(name string) (note.Verifier, error) {
	i := slices.IndexFunc(p.List, func(p Person) bool { return p.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("%s is not among %s of the configuration", name, p.Setting)
	}
	return p.List[i].Key, nil
}

// Holds makes sure that a key is that of somebody who may sign.
func (p People) Holds(name string, signer note.Signer) error {
	key, err := p.key(name)
	if err != nil {
		return err
	}
	if key.KeyHash() != signer.KeyHash() || key.Name() != signer.Name() {
		return fmt.Errorf("the key is not the one that %s names for %s", p.Setting, name)
	}
	return nil
}

// Verify checks that somebody has signed exactly text, and returns their key.
func (p People) Verify(s Signature, text string) (note.Verifier, error) {
	key, err := p.key(s.By)
	if err != nil {
		return nil, err
	}
	n, err := note.Open([]byte(s.Note), note.VerifierList(key))
	switch {
	case err != nil:
		return nil, errors.New("the signature is not valid")
	case len(n.Sigs) != 1 || !merkle.CanonicalSignature(n.Sigs[0]):
		return nil, errors.New("it does not have one signature")
	case n.Text != text:
		return nil, errors.New("what was signed is something else")
	}
	return key, nil
}

// CheckReason refuses a reason that cannot be shown; say is what a good one says.
func CheckReason(reason, say string) error {
	switch {
	case strings.TrimSpace(reason) == "":
		return fmt.Errorf("a reason is needed: say %s", say)
	case utf8.RuneCountInString(strings.TrimSpace(reason)) > MaxReason:
		return fmt.Errorf("the reason is longer than %d characters", MaxReason)
	case !utf8.ValidString(reason) || strings.ContainsFunc(reason, unicode.IsControl):
		return errors.New("the reason must be one line of plain text")
	case holdsLongNumber(reason):
		return errors.New("the reason holds a long number: name no patient in it, since it is shown on pages")
	}
	return nil
}

// holdsLongNumber reports whether a text holds eight digits in a row, spaces and dashes
// left out, which may be the number of a patient.
func holdsLongNumber(text string) bool {
	digits := 0
	for _, r := range text {
		switch {
		case unicode.IsDigit(r):
			digits++
		case r != ' ' && r != '-':
			digits = 0
		}
		if digits >= 8 {
			return true
		}
	}
	return false
}

// CheckLength refuses what would last too short, less than is worth a signature, or
// too long.
func CheckLength(d, longest time.Duration) error {
	const shortest = time.Minute
	if d < shortest || d > longest {
		return fmt.Errorf("it must last from %s to %s, not %s", shortest, longest, d)
	}
	return nil
}
