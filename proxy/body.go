package proxy

import (
	"bytes"
	"io"
)

// Body is a held response as a Map reads it: in memory while it is short, in the
// Spool beyond that. It can be read from its beginning as often as needed. The zero
// value is empty.
type Body struct {
	short   []byte
	spooled io.ReaderAt // nil while the body is in memory
	size    int64
}

// Short is a body in memory.
func Short(b []byte) Body { return Body{short: b, size: int64(len(b))} }

// Long is a body that is not in memory.
func Long(spooled io.ReaderAt, size int64) Body { return Body{spooled: spooled, size: size} }

// Len is how many bytes it has.
func (b Body) Len() int64 { return b.size }

// Bytes is the whole body, where it is in memory.
func (b Body) Bytes() (whole []byte, ok bool) { return b.short, b.spooled == nil }

// Open reads the body from its beginning. An error other than io.EOF means that
// what was spooled is damaged: nothing of it may be released.
func (b Body) Open() io.Reader { return b.part(0, b.size) }

// part reads the bytes from one place to another.
func (b Body) part(from, to int64) io.Reader {
	if b.spooled == nil {
		return bytes.NewReader(b.short[from:to])
	}
	return io.NewSectionReader(b.spooled, from, to-from)
}

// edit is a change of a held response before it is released: text in place of the
// bytes from one place to another.
type edit struct {
	from, to int64
	text     []byte
}

// edited is a body with changes in the order of their places, and its length. It
// is read as it is sent, so that a spooled one needs no memory either.
func (b Body) edited(edits []edit) (io.Reader, int64, error) {
	if len(edits) == 0 {
		return b.Open(), b.size, nil
	}
	parts, size, done := make([]io.Reader, 0, 2*len(edits)+1), b.size, int64(0)
	for _, e := range edits {
		if e.from < done || e.to < e.from || e.to > b.size {
			return nil, 0, errHeldUnreadable
		}
		parts = append(parts, b.part(done, e.from), bytes.NewReader(e.text))
		size += int64(len(e.text)) - (e.to - e.from)
		done = e.to
	}
	return io.MultiReader(append(parts, b.part(done, b.size))...), size, nil
}
