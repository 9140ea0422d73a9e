package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// accept refuses every request that two readers could understand in two ways,
// and every request that claims what only the gateway may say (hazards GW-07,
// GW-08, GW-18). It changes nothing.
func accept(r *http.Request) error {
	if !acceptedMethod(r.Method) {
		return errMethod
	}
	if err := acceptTarget(r); err != nil {
		return err
	}
	if err := acceptQuery(r.URL.RawQuery); err != nil {
		return err
	}
	for name, values := range r.Header {
		if err := acceptHeader(name); err != nil {
			return err
		}
		if len(values) > 1 && standsOnce(name) {
			return errRepeated
		}
	}
	for name := range r.Trailer {
		if err := acceptHeader(name); err != nil {
			return err
		}
	}
	if err := acceptConnection(r.Header["Connection"]); err != nil {
		return err
	}
	return acceptUpgrade(r)
}

// emptyAsSaid reports whether a body whose length is said to be nothing is nothing.
// HTTP/2 lets a client send one all the same, and nobody would read it before the
// request has been acted on.
func emptyAsSaid(r *http.Request) bool {
	if r.ProtoMajor != 2 || r.ContentLength != 0 || r.Body == nil {
		return true
	}
	n, err := r.Body.Read(make([]byte, 1))
	return n == 0 && errors.Is(err, io.EOF)
}

// acceptedMethod names the methods that reach an application. CONNECT and TRACE
// are never among them.
func acceptedMethod(m string) bool {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut,
		http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return true
	}
	return false
}

// acceptTarget decides on the request line as received: the origin form with
// one reading only, for the host that the connection is for. HTTP/2 carries what
// would end the request line of HTTP/1 too soon.
func acceptTarget(r *http.Request) error {
	raw, _, _ := strings.Cut(r.RequestURI, "?")
	if raw == "" || raw[0] != '/' || strings.ContainsAny(raw, `#\`) || breaksLine(r.RequestURI) {
		return errTarget
	}
	if host := r.Header["Host"]; len(host) == 1 && host[0] != r.Host || !acceptedHost(r) {
		return errTarget
	}
	if hasEncodedSlash(raw) || !canonicalPath(r.URL.Path) {
		return errTarget
	}
	return nil
}

// acceptedHost reports whether the host is a name or an address, with or without
// a port. HTTP/1.0, which health checks speak, need not name any.
func acceptedHost(r *http.Request) bool {
	for i := range len(r.Host) {
		switch c := r.Host[i]; {
		case isAlphanumeric(c), strings.IndexByte("-._:[]", c) >= 0:
		default:
			return false
		}
	}
	return r.Host != "" || r.ProtoMajor == 1
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// breaksLine reports whether a target holds what ends a target, or a line.
func breaksLine(target string) bool {
	for i := range len(target) {
		if target[i] <= ' ' || target[i] == 0x7f {
			return true
		}
	}
	return false
}

// hasEncodedSlash reports whether path hides a slash that some readers decode
// and others do not.
func hasEncodedSlash(path string) bool {
	for {
		i := strings.IndexByte(path, '%')
		if i < 0 || i+2 >= len(path) {
			return false
		}
		if path[i+1] == '2' && path[i+2]|0x20 == 'f' {
			return true
		}
		path = path[i+1:]
	}
}

// canonicalPath reports whether a decoded path has exactly one reading: it is
// absolute, without empty or dot segments, path parameters, backslashes,
// fragments, control characters or a second layer of percent-encoding.
func canonicalPath(path string) bool {
	if path == "" || path[0] != '/' || !utf8.ValidString(path) {
		return false
	}
	segment := 1
	for i := 1; i <= len(path); i++ {
		if i == len(path) || path[i] == '/' {
			s := path[segment:i]
			if s == "." || s == ".." || s == "" && i < len(path) {
				return false
			}
			segment = i + 1
			continue
		}
		switch c := path[i]; {
		case c < 0x20, c == 0x7f, c == '\\', c == ';', c == '#':
			return false
		case c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]):
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// acceptQuery refuses a query that cannot be parsed, since the map and the
// application would read different questions out of it, and one that asks for
// another method than the request line.
func acceptQuery(raw string) error {
	if strings.ContainsAny(raw, "#;") {
		return errTarget
	}
	if !strings.ContainsAny(raw, "%_") {
		return nil // nothing to decode and no "_method"
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return errTarget
	}
	for name := range values {
		if strings.EqualFold(name, "_method") {
			return errOverride
		}
	}
	return nil
}

// acceptHeader refuses what a header name alone gives away.
func acceptHeader(name string) error {
	switch {
	case claimsIdentity(name):
		return errIdentityHeader
	case overridesRequest(name):
		return errOverride
	case strings.IndexByte(name, '_') >= 0:
		return errHeaderName
	case name == "Http2-Settings":
		return errUpgrade
	}
	return nil
}

// standsOnce names the headers of which one reader would take the first and
// another the last.
func standsOnce(name string) bool {
	switch name {
	case "Authorization", "Content-Encoding", "Content-Length", "Content-Type", "Expect", "Host", "Origin":
		return true
	}
	return false
}

// acceptConnection refuses a Connection header that takes other headers away on
// the way: the map would read them, and the application would not.
func acceptConnection(lists []string) error {
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "", "close", "keep-alive", "upgrade", "te", "trailer":
			default:
				return errConnection
			}
		}
	}
	return nil
}

// headerLength is about how long the request header was on the wire.
func headerLength(r *http.Request) int {
	n := len(r.RequestURI) + len(r.Host)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	return n
}
