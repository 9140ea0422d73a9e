package proxy

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"
)

// decoded reads the content of a response whose header names one coding of RFC
// 9110, section 8.4.1: gzip or deflate. An application may send one although a
// plain answer was asked for. Other codings, and one upon another, are
// errHeldUnreadable. The caller bounds what is read in and what comes out of it.
func decoded(h http.Header, body io.Reader) (io.Reader, error) {
	coding := strings.ToLower(strings.TrimSpace(strings.Join(h["Content-Encoding"], ",")))
	if coding == "" || coding == "identity" {
		return body, nil
	}
	in := bufio.NewReader(body)
	if _, err := in.Peek(1); errors.Is(err, io.EOF) { // no content is encoded in no way
		return in, nil
	}
	switch coding {
	case "gzip", "x-gzip":
		return gzip.NewReader(in)
	case "deflate":
		return zlib.NewReader(in)
	}
	return nil, errHeldUnreadable
}

// broken reports whether err is that of content which does not follow its coding.
func broken(err error) bool {
	for _, e := range [...]error{errHeldUnreadable, gzip.ErrHeader, gzip.ErrChecksum, zlib.ErrHeader, zlib.ErrChecksum, zlib.ErrDictionary} {
		if errors.Is(err, e) {
			return true
		}
	}
	corrupt := flate.CorruptInputError(0)
	return errors.As(err, &corrupt)
}

// nowPlain makes the header say that the content is not encoded any more. What
// is true of the encoded bytes alone goes: digests, and the strength of an entity
// tag (RFC 9110, section 8.8.1).
func nowPlain(h http.Header) {
	if len(h["Content-Encoding"]) == 0 {
		return
	}
	for _, name := range [...]string{"Content-Encoding", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
		delete(h, name)
	}
	if tag := h.Get("Etag"); strings.HasPrefix(tag, `"`) {
		h.Set("Etag", "W/"+tag)
	}
}
