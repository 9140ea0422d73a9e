package proxy

import (
	"bytes"
	"net/http"
	"strconv"
)

// framing follows the bytes of one HTTP/1 connection. Of a client it finds requests
// whose length two readers could understand in two ways, before net/http resolves the
// doubt silently: Content-Length together with Transfer-Encoding, a
// Transfer-Encoding in HTTP/1.0, folded header lines, lines that end in LF alone.
// Of an application it finds the end of an answer, as net/http does, which is
// less strict there. It never changes a byte.
// It is not safe for concurrent use; its connection is read by one goroutine at
// a time.
type framing struct {
	state     framingState
	left      int64  // bytes left of the body or the chunk
	line      []byte // the beginning of the current line, at most framingLine bytes
	cr        bool   // the last byte of the current line so far is CR
	started   bool   // the request line has been read
	http10    bool
	length    int64
	hasLength bool
	chunked   bool
	ambiguous bool // sticky: nothing after such a request can be relied on

	answer bool // the bytes are those of an application
	head   bool // and answer a HEAD
	status int
}

type framingState uint8

const (
	inHeader framingState = iota
	inBody
	inChunkSize
	inChunk
	inChunkEnd
	inTrailer
	unfollowed // an upgraded or an ambiguous connection, an answer that ends with it
	ended      // an answer, whole
)

const framingLine = 128

// feed follows the next bytes that were read and returns those beyond the end of
// an answer.
func (f *framing) feed(p []byte) []byte {
	for len(p) > 0 && f.state != unfollowed && f.state != ended {
		switch f.state {
		case inBody, inChunk:
			n := min(int64(len(p)), f.left)
			p, f.left = p[n:], f.left-n
			if f.left == 0 {
				f.afterBytes()
			}
		case inHeader, inChunkSize, inChunkEnd, inTrailer:
			p = f.feedLine(p)
		case unfollowed, ended:
		}
	}
	if f.state == ended {
		return p
	}
	return nil
}

// afterBytes moves on once a body or a chunk has been read.
func (f *framing) afterBytes() {
	if f.state == inChunk {
		f.state = inChunkEnd
		return
	}
	f.next()
}

// next gets ready for the next request, or ends the answer.
func (f *framing) next() {
	if f.answer {
		f.state = ended
		return
	}
	*f = framing{line: f.line[:0]}
}

// expect gets ready for an answer.
func (f *framing) expect(head bool) {
	*f = framing{line: f.line[:0], answer: true, head: head}
}

// feedLine takes what belongs to the current line and returns the rest.
func (f *framing) feedLine(p []byte) []byte {
	end := bytes.IndexByte(p, '\n')
	part, rest := p, []byte(nil)
	if end >= 0 {
		part, rest = p[:end], p[end+1:]
	}
	if room := f.room() - len(f.line); room > 0 {
		f.line = append(f.line, part[:min(room, len(part))]...)
	}
	if len(part) > 0 {
		f.cr = part[len(part)-1] == '\r'
	}
	if end < 0 {
		return nil
	}
	if !f.cr && !f.answer {
		f.doubt()
		return nil
	}
	f.cr = false
	line := bytes.TrimSuffix(f.line, []byte("\r"))
	f.line = f.line[:0]
	f.endOfLine(line)
	return rest
}

// room is how much of a line is kept: of a header line the name and a length, of
// a request line all, since the version ends it.
func (f *framing) room() int {
	if f.state == inHeader && !f.started {
		return 1 << 16
	}
	return framingLine
}

// endOfLine acts on a complete line.
func (f *framing) endOfLine(line []byte) {
	switch f.state {
	case inHeader:
		f.headerLine(line)
	case inChunkSize:
		f.chunkSize(line)
	case inChunkEnd:
		if len(line) > 0 {
			f.doubt()
			return
		}
		f.state = inChunkSize
	case inTrailer:
		if len(line) == 0 {
			f.next()
		}
	case inBody, inChunk, unfollowed, ended:
	}
}

// doubt gives up: the connection is ambiguous from here on.
func (f *framing) doubt() { f.ambiguous, f.state = true, unfollowed }

// headerLine reads the request line, a header line or the end of the header.
func (f *framing) headerLine(line []byte) {
	switch {
	case !f.started && f.answer:
		f.statusLine(line)
	case !f.started:
		f.started = len(line) > 0 // empty lines before a request are ignored
		f.http10 = bytes.HasSuffix(line, []byte(" HTTP/1.0"))
	case len(line) == 0 && f.answer:
		f.endOfAnswersHeader()
	case len(line) == 0:
		f.endOfHeader()
	case line[0] == ' ' || line[0] == '\t':
		f.folded()
	default:
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(bytes.TrimSpace(name), []byte("Content-Length")):
			f.contentLength(bytes.TrimSpace(value))
		case bytes.EqualFold(bytes.TrimSpace(name), []byte("Transfer-Encoding")):
			f.chunked = true
		}
	}
}

// statusLine reads the first line of an answer.
func (f *framing) statusLine(line []byte) {
	version, status, _ := bytes.Cut(line, []byte(" "))
	f.started, f.http10 = true, bytes.Equal(version, []byte("HTTP/1.0"))
	code, _, _ := bytes.Cut(bytes.TrimLeft(status, " "), []byte(" "))
	f.status, _ = strconv.Atoi(string(code)) // net/http refuses one that is none
}

// folded meets a line that goes on with the one before.
func (f *framing) folded() {
	if !f.answer {
		f.doubt()
	}
}

// contentLength reads a length: digits alone, and every time the same.
func (f *framing) contentLength(value []byte) {
	n := int64(0)
	for _, c := range value {
		if c < '0' || c > '9' || n > 1<<56 {
			f.doubt()
			return
		}
		n = n*10 + int64(c-'0')
	}
	if len(value) == 0 || len(value) > 20 || f.hasLength && (!f.answer || n != f.length) {
		f.doubt()
		return
	}
	f.hasLength, f.length = true, n
}

// endOfHeader decides what follows.
func (f *framing) endOfHeader() {
	switch {
	case f.chunked && (f.hasLength || f.http10):
		f.doubt()
	case f.chunked:
		f.state = inChunkSize
	case f.length > 0:
		f.state, f.left = inBody, f.length
	default:
		f.next()
	}
}

// endOfAnswersHeader decides what follows in an answer (RFC 9112, section 6.3).
func (f *framing) endOfAnswersHeader() {
	switch {
	case f.status == http.StatusSwitchingProtocols:
		f.state = unfollowed
	case f.status >= 100 && f.status < 200: // the answer is still to come
		f.expect(f.head)
	case f.head, bodiless(f.status):
		f.next()
	case f.chunked && !f.http10:
		f.state = inChunkSize
	case f.length > 0:
		f.state, f.left = inBody, f.length
	case f.hasLength:
		f.next()
	default: // it ends with the connection
		f.state = unfollowed
	}
}

// chunkSize reads the size of the next chunk; extensions are ignored.
func (f *framing) chunkSize(line []byte) {
	digits, _, _ := bytes.Cut(line, []byte(";"))
	digits = bytes.TrimRight(digits, " \t")
	n := int64(0)
	for _, c := range digits {
		if !isHex(c) || n > 1<<56 {
			f.doubt()
			return
		}
		n = n<<4 | int64(hexDigit(c))
	}
	switch {
	case len(digits) == 0 || len(digits) > 20:
		f.doubt()
	case n == 0:
		f.state = inTrailer
	default:
		f.state, f.left = inChunk, n
	}
}

func hexDigit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return (c | 0x20 - 'a') + 10
}
