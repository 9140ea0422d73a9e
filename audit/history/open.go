package history

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/matron-epr/matron/audit/intake"
)

// Format is what a file is written in.
type Format string

// The formats.
const (
	Accesses Format = "accesses" // one JSON object a line
	FHIR     Format = "fhir"     // one AuditEvent, or Bundle of them, a line
	CSV      Format = "csv"      // with a heading and a mapping
)

const peekBytes = 64 << 10

// guess says what a file is written in.
func guess(o *intake.Opened) (Format, error) {
	head, err := o.Peek(peekBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("%w: %w", intake.ErrFile, err)
	}
	head = bytes.TrimLeft(head, " \t\r\n")
	line, rest, _ := bytes.Cut(head, []byte("\n"))
	line = bytes.TrimRight(line, " \t\r")
	switch {
	case len(head) == 0:
		return Accesses, nil // nothing, whatever it is
	case head[0] != '{' && head[0] != '[':
		return CSV, nil
	case len(rest) > 0 && len(line) > 0 && line[len(line)-1] != '}':
		return "", fmt.Errorf("%w: it is one JSON document over several lines: write one object a line, for example with \"jq -c .\"; "+
			"if only its first line is broken, name the format", intake.ErrFile)
	case regexp.MustCompile(`^\{(?s:.{0,1000}?)"resourceType"\s*:`).Match(line):
		return FHIR, nil
	}
	return Accesses, nil
}
