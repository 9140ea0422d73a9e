package history

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// Format is what a file is written in.
type Format string

// The formats.
const (
	Accesses Format = "accesses" // one JSON object a line
	FHIR     Format = "fhir"     // one AuditEvent, or Bundle of them, a line
	CSV      Format = "csv"      // with a heading and a mapping
)

// ErrFile says that a file cannot be read for what it is, or not further.
var ErrFile = errors.New("cannot be taken in")

const (
	peekBytes = 64 << 10
	// maxWindow bounds what a compressed file may ask for (zstd --long=27).
	maxWindow = 128 << 20
)

// counter counts what is read, for the progress.
type counter struct {
	r io.Reader
	n *atomic.Int64
}

func (c counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// opened is a file whose compression and byte order mark are off.
type opened struct {
	*bufio.Reader
	close func()
}

// open looks at the beginning of a file and decompresses it when that is
// needed, whatever its name says.
func open(r io.Reader, read *atomic.Int64) (opened, error) {
	in := bufio.NewReaderSize(counter{r, read}, 1<<20)
	o := opened{in, func() {}}
	if head, _ := in.Peek(4); bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		dec, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return o, fmt.Errorf("%w: %w", ErrFile, err)
		}
		o = opened{bufio.NewReaderSize(dec, 1<<20), dec.Close}
	}
	head, err := o.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		o.close()
		return o, fmt.Errorf("%w: %w", ErrFile, err)
	}
	switch {
	case bytes.Equal(head, []byte("\xef\xbb\xbf")):
		_, _ = o.Discard(len(head))
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		o.close()
		return o, fmt.Errorf("%w: it is UTF-16: save it as UTF-8", ErrFile)
	}
	return o, nil
}

// guess says what a file is written in.
func (o opened) guess() (Format, error) {
	head, err := o.Peek(peekBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("%w: %w", ErrFile, err)
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
			"if only its first line is broken, name the format", ErrFile)
	case regexp.MustCompile(`^\{(?s:.{0,1000}?)"resourceType"\s*:`).Match(line):
		return FHIR, nil
	}
	return Accesses, nil
}
