package appmap

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// exchange is one request while it is classified. Parts are read when a rule
// asks for them. It is used by one goroutine.
type exchange struct {
	m        *Map
	rule     *rule
	method   string
	segments []string
	room     [12]string // of segments
	rawQuery string
	header   http.Header
	host     string
	fetch    func() ([]byte, error)
	turn     *turn // in a followed session, nil for none

	query   url.Values // nil until parsed
	form    url.Values // nil until parsed
	raw     []byte
	have    bool // raw has been fetched
	doc     any  // of the body
	hasDoc  bool
	entry   *entries // the Bundle that this exchange is an entry of, nil for none
	address string   // its full URL there
}

func malformed(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrMalformed)...)
}

// refuse implements reader.
func (x *exchange) refuse(why string) error { return malformed("%s", why) }

// checkPath refuses paths that an application could take for another one. The
// gateway refuses them too; a map does not rely on it.
func checkPath(u *url.URL) error {
	if !strings.HasPrefix(u.Path, "/") || !utf8.ValidString(u.Path) || strings.ContainsAny(u.Path, ";\\\x00") {
		return malformed("path has a character that it must not have")
	}
	if strings.Contains(u.Path, "//") {
		return malformed("path has an empty segment")
	}
	if u.RawPath != "" && strings.Contains(strings.ToLower(u.RawPath), "%2f") {
		return malformed("path has an encoded slash")
	}
	if !strings.Contains(u.Path, "/.") {
		return nil
	}
	for _, part := range strings.Split(u.Path, "/") {
		if part == "." || part == ".." {
			return malformed("path has a dot segment")
		}
	}
	return nil
}

// read implements reader.
func (x *exchange) read(s *source) ([]string, error) {
	switch s.kind {
	case fromPath:
		i := x.rule.pattern.index(s.name)
		if i < 0 {
			return nil, nil
		}
		return []string{x.segments[i]}, nil
	case fromHeader:
		return distinct(x.header.Values(s.name)), nil
	case fromQuery:
		q, err := x.params()
		return distinct(q[s.name]), err
	case fromForm:
		f, err := x.formBody()
		return distinct(f[s.name]), err
	case fromJSON:
		doc, err := x.json()
		if err != nil {
			return nil, err
		}
		return s.pointer.texts(nil, doc), nil
	case fromDICOM:
		return x.dicom()
	case fromContent:
		return distinct([]string{mediaType(x.header)}), nil
	}
	return nil, nil
}

// dicom returns the PatientIDs of an upload. An object that names nobody, or no
// DICOM at all, is refused: it would be stored for a patient that no record names.
func (x *exchange) dicom() ([]string, error) {
	body, err := x.body()
	if err != nil {
		return nil, err
	}
	ids, err := dicomPatientIDs(x.header.Get("Content-Type"), bytes.NewReader(body))
	if err != nil {
		return nil, malformed("body: %w", err)
	}
	if len(ids.texts) == 0 || ids.nameless > 0 {
		return nil, malformed("body holds no DICOM object that names its patient")
	}
	return ids.texts, nil
}

func distinct(texts []string) []string {
	if len(texts) < 2 {
		return texts
	}
	var list []string
	seen := make(map[string]bool, len(texts))
	for _, t := range texts {
		if !seen[t] {
			seen[t], list = true, append(list, t)
		}
	}
	return list
}

// params returns the query parameters. What cannot be parsed is an error, since
// dropping it could drop the patient.
func (x *exchange) params() (url.Values, error) {
	if x.query == nil {
		q, err := url.ParseQuery(x.rawQuery)
		if err != nil {
			return nil, malformed("query string")
		}
		x.query = q
	}
	return x.query, nil
}

// formBody returns the fields of an application/x-www-form-urlencoded body.
func (x *exchange) formBody() (url.Values, error) {
	if x.form != nil {
		return x.form, nil
	}
	if mediaType(x.header) != "application/x-www-form-urlencoded" {
		return nil, nil
	}
	body, err := x.body()
	if err != nil {
		return nil, err
	}
	f, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, malformed("form body")
	}
	x.form = f
	return f, nil
}

// body returns the request body as it is meant; an encoded one is refused, since
// it would be read in two ways.
func (x *exchange) body() ([]byte, error) {
	if x.have {
		return x.raw, nil
	}
	encoding := x.header.Get("Content-Encoding")
	packed := encoding == "gzip" && x.m.tables["options"][gzipOption] == "read"
	if encoding != "" && encoding != "identity" && !packed || len(x.header.Values("Content-Encoding")) > 1 {
		return nil, malformed("an encoded body cannot be read")
	}
	if x.fetch == nil {
		return nil, nil
	}
	body, err := x.fetch()
	if err != nil {
		return nil, fmt.Errorf("read request body: %w", err)
	}
	if packed {
		if body, err = unpack(body); err != nil {
			return nil, err
		}
	}
	x.raw, x.have = body, true
	return body, nil
}

func (x *exchange) json() (any, error) {
	if x.hasDoc {
		return x.doc, nil
	}
	body, err := x.body()
	if err != nil {
		return nil, err
	}
	doc, err := parseJSON(body)
	if err != nil {
		return nil, malformed("body: %w", err)
	}
	x.doc, x.hasDoc = doc, true
	return doc, nil
}

// mediaType returns the type of a body in lower case, "" when there is none, when
// it cannot be read, or when its text is in another encoding than UTF-8: what the
// map reads is not what an application would.
func mediaType(h http.Header) string {
	if len(h.Values("Content-Type")) != 1 {
		return ""
	}
	t, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	switch strings.ToLower(params["charset"]) {
	case "", "utf-8", "utf8", "us-ascii":
		return t
	}
	return ""
}

func isJSONType(t string) bool {
	return t == "application/json" || t == "text/json" || strings.HasSuffix(t, "+json")
}
