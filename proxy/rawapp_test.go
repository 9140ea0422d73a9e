package proxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// rawApp is an application that keeps every byte it is sent and reads it in the
// strictest way there is: one spelling of everything, nothing optional. What it
// cannot read so is no canonical request.
type rawApp struct {
	answer func(request string) string // the whole response; nil for "ok"

	mu       sync.Mutex
	requests []string // request line, sorted out of its header, and body
	headers  []string
	broken   []error // of bytes that are no canonical request
}

// serve listens until the test ends and returns where.
func (a *rawApp) serve(t *testing.T) *url.URL {
	t.Helper()
	return listening(t, a.read)
}

// listening serves every connection until the test ends, and returns where.
func listening(t *testing.T, serve func(net.Conn)) *url.URL {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's own listener
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ending := make(chan struct{})
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			served := make(chan struct{})
			wg.Go(func() {
				defer close(served)
				serve(c)
			})
			wg.Go(func() {
				select {
				case <-served:
				case <-ending:
				}
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		close(ending)
		_ = ln.Close()
		wg.Wait()
	})
	return &url.URL{Scheme: "http", Host: ln.Addr().String()}
}

// read takes requests off a connection until it ends.
func (a *rawApp) read(c net.Conn) {
	var have []byte
	piece := make([]byte, 4096)
	for {
		n, err := c.Read(piece)
		have = append(have, piece[:n]...)
		for len(have) > 0 {
			r, rest, bad := canonicalRequest(have)
			if errors.Is(bad, io.ErrUnexpectedEOF) {
				break
			}
			a.mu.Lock()
			if bad != nil {
				a.broken = append(a.broken, fmt.Errorf("%w in %q", bad, have))
				a.mu.Unlock()
				return
			}
			a.requests, a.headers = append(a.requests, r.line+" "+r.body), append(a.headers, r.header)
			a.mu.Unlock()
			have = rest
			response := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
			if a.answer != nil {
				response = a.answer(r.line)
			}
			_, _ = io.WriteString(c, response)
		}
		if err != nil {
			return // what is left was broken off: no request
		}
	}
}

// canonical is a request as read.
type canonical struct{ line, header, body string }

var (
	requestLine = regexp.MustCompile(`^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) /[!-~]* HTTP/1\.1$`)
	headerLine  = regexp.MustCompile(`^([A-Za-z0-9-]+): ([^\x00-\x1f\x7f]*)$`)
	chunkLine   = regexp.MustCompile(`^[0-9a-f]{1,8}$`)
)

// canonicalRequest reads one request and returns what follows it;
// io.ErrUnexpectedEOF says that it has not ended yet.
func canonicalRequest(b []byte) (canonical, []byte, error) {
	head, rest, ended := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ended {
		return canonical{}, nil, io.ErrUnexpectedEOF
	}
	lines := strings.Split(string(head), "\r\n")
	if !requestLine.MatchString(lines[0]) {
		return canonical{}, nil, errors.New("request line")
	}
	r := canonical{line: strings.TrimSuffix(lines[0], " HTTP/1.1"), header: strings.Join(lines[1:], "\n") + "\n"}
	seen := map[string]string{}
	for _, line := range lines[1:] {
		m := headerLine.FindStringSubmatch(line)
		if m == nil {
			return canonical{}, nil, errors.New("header line")
		}
		name := strings.ToLower(m[1])
		if _, twice := seen[name]; twice && (name == "host" || name == "content-length" || name == "transfer-encoding") {
			return canonical{}, nil, errors.New("header twice")
		}
		seen[name] = m[2]
	}
	length, sized := seen["content-length"]
	coding, coded := seen["transfer-encoding"]
	_, named := seen["host"]
	_, trailer := seen["trailer"]
	_, expects := seen["expect"]
	switch {
	case !named, trailer, expects, sized && coded, coded && coding != "chunked":
		return canonical{}, nil, errors.New("framing")
	case coded:
		return chunked(r, rest)
	case !sized:
		return r, rest, nil
	}
	n, err := strconv.ParseUint(length, 10, 31)
	if err != nil || strconv.FormatUint(n, 10) != length {
		return canonical{}, nil, errors.New("length")
	}
	if uint64(len(rest)) < n {
		return canonical{}, nil, io.ErrUnexpectedEOF
	}
	r.body = string(rest[:n])
	return r, rest[n:], nil
}

// chunked reads a body in chunks without extensions or trailers.
func chunked(r canonical, b []byte) (canonical, []byte, error) {
	for {
		size, rest, ended := bytes.Cut(b, []byte("\r\n"))
		if !ended {
			return canonical{}, nil, io.ErrUnexpectedEOF
		}
		if !chunkLine.Match(size) {
			return canonical{}, nil, errors.New("chunk size")
		}
		n, _ := strconv.ParseUint(string(size), 16, 32)
		if uint64(len(rest)) < n+2 {
			return canonical{}, nil, io.ErrUnexpectedEOF
		}
		if string(rest[n:n+2]) != "\r\n" {
			return canonical{}, nil, errors.New("end of chunk")
		}
		r.body += string(rest[:n])
		if b = rest[n+2:]; n == 0 {
			return r, b, nil
		}
	}
}

// got returns the requests that arrived whole.
func (a *rawApp) got() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.requests...)
}

// check fails the test if anything arrived that is no canonical request, or more
// requests than were allowed in the record.
func (a *rawApp) check(w *world) {
	w.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, err := range a.broken {
		w.t.Errorf("the application was sent: %v", err)
	}
	allowed := 0
	for _, d := range w.log.kinds("decision") {
		if d.Effect == "allow" {
			allowed++
		}
	}
	if len(a.requests) > allowed {
		w.t.Errorf("%d requests arrived, %d were decided", len(a.requests), allowed)
	}
}
