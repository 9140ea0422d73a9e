package transfer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/hazardlog"
)

// seal makes a signed note of three things: a line that names the format, a line of
// JSON, and the sums of its parts, by which a reader can tell what was altered.
func seal(format string, body any, signer note.Signer) ([]byte, error) {
	line, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	list, err := sums(line)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	signed, err := note.Sign(&note.Note{Text: format + "\n" + string(line) + "\n" + list}, signer)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return signed, nil
}

// unseal checks a signed note with the public key of who is said to have made it,
// and reads its line of JSON into body. The error wraps ErrRefused and says what was
// altered, or which key signed.
func unseal(format string, pack []byte, key note.Verifier, body any) error {
	n, err := note.Open(pack, note.VerifierList(key))
	var unverified *note.UnverifiedNoteError
	switch {
	case errors.As(err, &unverified):
		return fmt.Errorf("%w: it is not signed by %s: %s", ErrRefused, keyName(key.Name(), key.KeyHash()), signers(unverified.Note))
	case err != nil:
		return fmt.Errorf("%w: the signature of %s does not fit: %s", ErrRefused, keyName(key.Name(), key.KeyHash()), altered(format, pack))
	case len(n.UnverifiedSigs) > 0:
		return fmt.Errorf("%w: somebody added a signature that is not %s's: %s", ErrRefused, key.Name(), signers(n))
	case !canonical(n.Sigs):
		return fmt.Errorf("%w: the signature of %s is not written as it was made, so that a byte of it was altered", ErrRefused, key.Name())
	}
	first, rest, _ := strings.Cut(n.Text, "\n")
	if first != format {
		return fmt.Errorf("%w: %s signed something else than %q: it begins with %q", ErrRefused, key.Name(), format, brief(first))
	}
	line, list, _ := strings.Cut(rest, "\n")
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(body); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if want, err := sums([]byte(line)); err != nil || want != list {
		return fmt.Errorf("%w: %s signed sums that are not those of what it says", ErrRefused, key.Name())
	}
	return nil
}

// keyName is how people tell keys apart: a name and the hash that is part of the key.
func keyName(name string, hash uint32) string { return fmt.Sprintf("%s+%08x", name, hash) }

func signers(n *note.Note) string {
	names := make([]string, len(n.UnverifiedSigs))
	for i, s := range n.UnverifiedSigs {
		names[i] = keyName(s.Name, s.Hash)
	}
	return "signed by " + strings.Join(names, ", ") + ", which is another key"
}

// canonical reports whether signatures are written in the one way that they are made:
// lenient base64 (RFC 4648 section 3.5) ignores the last bits of their last letters.
func canonical(sigs []note.Signature) bool {
	return !slices.ContainsFunc(sigs, func(s note.Signature) bool {
		_, err := base64.StdEncoding.Strict().DecodeString(s.Base64)
		return err != nil
	})
}

// span is one part of a line of JSON: what it is called, and which bytes it is, from
// the end of the part before.
type span struct {
	name     string
	from, to int
}

// spans cuts an object into its fields: those of "content" again into theirs, and
// lists into their entries, which are called by their ids.
func spans(line []byte, at int, in string) (list []span, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("it is no object"), err)
	}
	for d.More() {
		from := at + int(d.InputOffset())
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := fmt.Sprint(key)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		to := at + int(d.InputOffset())
		var inner []span
		switch {
		case in == "" && name == "content":
			inner, err = spans(value, to-len(value), name)
		case value[0] == '[':
			inner, err = entries(value, from, to, name)
		default:
			inner = []span{{name, from, to}}
		}
		if err != nil {
			return nil, err
		}
		list = append(list, inner...)
	}
	_, err = d.Token()
	return list, err
}

// entries cuts a list into its entries. One that is empty, or of which an entry has no
// id, is one part.
func entries(value json.RawMessage, from, to int, name string) (list []span, err error) {
	d := json.NewDecoder(bytes.NewReader(value))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	start := from
	for d.More() {
		var entry json.RawMessage
		if err := d.Decode(&entry); err != nil {
			return nil, err
		}
		var named struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(entry, &named) != nil || named.ID == "" {
			return []span{{name, from, to}}, nil
		}
		end := to - len(value) + int(d.InputOffset())
		list = append(list, span{name + " " + named.ID, start, end})
		start = end
	}
	if len(list) == 0 {
		list = []span{{name, from, to}}
	}
	return list, nil
}

// sums lists the SHA-256 of every part of a line, of the whole line, and of the list
// itself.
func sums(line []byte) (string, error) {
	list, err := spans(line, 0, "")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, s := range append(list, span{whole, 0, len(line)}) {
		_, _ = fmt.Fprintf(&b, "%s  %s\n", hazardlog.Hash(line[s.from:s.to]), s.name)
	}
	_, _ = fmt.Fprintf(&b, "%s  %s\n", hazardlog.Hash([]byte(b.String())), listed)
	return b.String(), nil
}

// The last two lines of sums.
const (
	whole  = "all of it"
	listed = "this list"
)

// altered says which bytes of a note were altered whose signature does not fit, as far
// as its sums tell. Whoever alters all of them alike is not found by them: they explain
// a refusal and are no ground to believe anything. Bytes are counted from 1.
func altered(format string, pack []byte) string {
	cut := bytes.LastIndex(pack, []byte("\n\n"))
	if cut < 0 {
		return "nothing in it is a signature: it was cut off, or is no pack"
	}
	text, signature := pack[:cut+1], where("its signature", cut+2, len(pack))
	head, rest, _ := bytes.Cut(text, []byte("\n"))
	if string(head) != format {
		return where("the line that names its format", 0, len(head)) + " was altered"
	}
	at := len(head) + 1
	line, list, _ := bytes.Cut(rest, []byte("\n"))
	listAt := at + len(line) + 1
	given, intact := readSums(list)
	switch {
	case !intact && json.Valid(line):
		return where("the list of its sums", listAt, len(text)) + " was altered"
	case !intact:
		return where("what it says, or the list of its sums,", at, len(text)) + " was altered"
	}
	var syntax *json.SyntaxError
	if err := json.Unmarshal(line, new(json.RawMessage)); errors.As(err, &syntax) {
		return fmt.Sprintf("it cannot be read from byte %d of %d on, so that it was altered there or before: %v", at+int(syntax.Offset), len(pack), err)
	}
	found, err := spans(line, at, "")
	if err != nil {
		return where("what it says", at, at+len(line)) + " was altered: " + err.Error()
	}
	var wrong []string
	for _, s := range found {
		if given[s.name] != hazardlog.Hash(pack[s.from:s.to]) {
			wrong = append(wrong, where(s.name, s.from, s.to))
		}
	}
	switch {
	case len(wrong) > 3:
		return fmt.Sprintf("%s and %d more parts were altered", strings.Join(wrong[:3], ", "), len(wrong)-3)
	case len(wrong) > 0:
		return strings.Join(wrong, ", ") + " was altered"
	case given[whole] != hazardlog.Hash(line):
		return where("what stands between the parts", at, at+len(line)) + " was altered"
	}
	return signature + " was altered, or all of it was written anew by somebody else"
}

// where names bytes from (from 0) up to to, which is not among them.
func where(name string, from, to int) string {
	return fmt.Sprintf("%s (bytes %d to %d)", name, from+1, to)
}

// readSums reads what sums wrote, and whether the list agrees with its own sum.
func readSums(list []byte) (given map[string]string, intact bool) {
	given = map[string]string{}
	body, last, ok := cutLast(strings.TrimSuffix(string(list), "\n"))
	for line := range strings.Lines(body) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		given[name] = sum
	}
	return given, ok && last == hazardlog.Hash([]byte(body))+"  "+listed
}

// cutLast cuts off the last line.
func cutLast(text string) (before, last string, ok bool) {
	i := strings.LastIndexByte(text, '\n')
	return text[:i+1], text[i+1:], i >= 0
}

// brief is the beginning of a line of somebody else.
func brief(line string) string { return line[:min(len(line), 40)] }
