package intake

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// ErrFile says that a file cannot be read for what it is, or not further.
var ErrFile = errors.New("cannot be taken in")

// maxWindow bounds what a compressed file may ask for (zstd --long=27).
const maxWindow = 128 << 20

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

// Opened is a file whose compression and byte order mark are off.
type Opened struct {
	*bufio.Reader
	Close func()
}

// Open looks at the beginning of a file and decompresses it when that is
// needed, whatever its name says.
func Open(r io.Reader, read *atomic.Int64) (*Opened, error) {
	in := bufio.NewReaderSize(counter{r, read}, 1<<20)
	o := &Opened{in, func() {}}
	if head, _ := in.Peek(4); bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		dec, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFile, err)
		}
		o = &Opened{bufio.NewReaderSize(dec, 1<<20), dec.Close}
	}
	head, err := o.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		o.Close()
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	switch {
	case bytes.Equal(head, []byte("\xef\xbb\xbf")):
		_, _ = o.Discard(len(head))
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		o.Close()
		return nil, fmt.Errorf("%w: it is UTF-16: save it as UTF-8", ErrFile)
	}
	return o, nil
}
