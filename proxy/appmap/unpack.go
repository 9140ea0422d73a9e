package appmap

import (
	"bytes"
	"compress/gzip"
	"io"
)

const (
	// gzipOption is the option of a map whose application reads bodies in gzip: its
	// clients send what is long in no other way. Without it such a body is refused,
	// since an application that does not unpack it would read another text.
	gzipOption = "gzip-bodies"
	// maxUnpacked bounds what one body may become.
	maxUnpacked = 8 << 20
)

// unpack reads a body in gzip: one member and nothing after it, so that every
// reader finds the same text.
func unpack(body []byte) ([]byte, error) {
	rest := bytes.NewReader(body)
	z, err := gzip.NewReader(rest)
	if err != nil {
		return nil, malformed("body: not in gzip")
	}
	z.Multistream(false)
	whole, err := io.ReadAll(io.LimitReader(z, maxUnpacked))
	switch { // the end of the member is read only where the whole text was
	case err != nil:
		return nil, malformed("body: not in gzip")
	case rest.Len() > 0:
		return nil, malformed("body: too long once it is unpacked, or something follows the gzip")
	}
	return whole, nil
}
