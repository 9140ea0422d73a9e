package appmap

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"regexp"
	"strings"

	"golang.org/x/tools/txtar"
)

// Recorded is one exchange of a recording, with the name that it has there.
type Recorded struct {
	Name string // "" for one in plain HTTP
	Exchange
}

// Recording is what a file of exchanges holds.
type Recording struct {
	Map, Base string // that the file says it is for, "" when it does not
	Exchanges []Recorded
}

// ReadExchanges reads a .txtar file of NAME.request and NAME.response, or one
// exchange in plain HTTP: a request, and the response after it if there was one.
// Lines may end with or without a carriage return. Its error wraps ErrRecording
// and names the part that cannot be read.
func ReadExchanges(src []byte) (*Recording, error) {
	archive := txtar.Parse(src)
	if len(archive.Files) == 0 {
		request, response := cutExchange(src)
		e, err := readExchange(request, response)
		if err != nil {
			return nil, err
		}
		return &Recording{Exchanges: []Recorded{{"", e}}}, nil
	}
	rec := &Recording{}
	rec.settings(string(archive.Comment))
	texts := map[string][]byte{}
	for _, f := range archive.Files {
		if _, twice := texts[f.Name]; twice {
			return nil, fmt.Errorf("%s is there twice: %w", f.Name, ErrRecording)
		}
		texts[f.Name] = f.Data
	}
	for _, f := range archive.Files {
		name, ok := strings.CutSuffix(f.Name, ".request")
		if !ok {
			continue
		}
		e, err := readExchange(f.Data, texts[name+".response"])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		rec.Exchanges = append(rec.Exchanges, Recorded{name, e})
	}
	if len(rec.Exchanges) == 0 {
		return nil, fmt.Errorf("no part is called NAME.request: %w", ErrRecording)
	}
	return rec, nil
}

// settings reads the lines "map: NAME" and "base: PATH" before the first part.
func (rec *Recording) settings(comment string) {
	for line := range strings.Lines(comment) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "map":
			rec.Map = strings.TrimSpace(value)
		case "base":
			rec.Base = strings.TrimSpace(value)
		}
	}
}

// cutExchange parts a request from the response that follows it.
func cutExchange(src []byte) (request, response []byte) {
	at := regexp.MustCompile(`(?m)^HTTP/[0-9.]+ [0-9]{3}`).FindIndex(src)
	if at == nil || at[0] == 0 {
		return src, nil
	}
	return src[:at[0]], src[at[0]:]
}

func readExchange(request, response []byte) (Exchange, error) {
	head, body := cutMessage(request)
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil {
		return Exchange{}, fmt.Errorf("request: write for example GET /Patient/1 HTTP/1.1, header lines, an empty line and the body: %w: %w", err, ErrRecording)
	}
	e := Exchange{Request: r}
	if e.RequestBody, err = bodyOf(body, r.ContentLength, r.TransferEncoding); err != nil {
		return Exchange{}, fmt.Errorf("request: %w", err)
	}
	if response == nil {
		return e, nil
	}
	head, body = cutMessage(response)
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(head)), r)
	if err != nil {
		return Exchange{}, fmt.Errorf("response: write for example HTTP/1.1 200 OK, header lines, an empty line and the body: %w: %w", err, ErrRecording)
	}
	_ = res.Body.Close()
	e.Response = res
	if e.ResponseBody, err = bodyOf(body, res.ContentLength, res.TransferEncoding); err != nil {
		return Exchange{}, fmt.Errorf("response: %w", err)
	}
	return e, nil
}

// cutMessage parts the head of a message from its body.
func cutMessage(text []byte) (head string, body []byte) {
	at := regexp.MustCompile(`\r?\n\r?\n`).FindIndex(text)
	h := text
	if at != nil {
		h, body = text[:at[0]], text[at[1]:]
	}
	lines := strings.Split(strings.TrimSuffix(strings.ReplaceAll(string(h), "\r\n", "\n"), "\n"), "\n")
	return strings.Join(lines, "\r\n") + "\r\n\r\n", body
}

// bodyOf returns a body as it was framed. Without framing it is the rest of the
// text, less the line feed that the text ends with.
func bodyOf(text []byte, length int64, encodings []string) ([]byte, error) {
	switch {
	case len(encodings) > 0:
		body, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(text)))
		if err != nil {
			return nil, fmt.Errorf("chunked body: %w: %w", err, ErrRecording)
		}
		return body, nil
	case length > int64(len(text)):
		return nil, fmt.Errorf("the body has %d bytes where Content-Length says %d: %w", len(text), length, ErrRecording)
	case length > 0:
		return text[:length], nil
	}
	return bytes.TrimSuffix(text, []byte("\n")), nil
}
