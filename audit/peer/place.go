package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/matron-epr/matron/audit/journal"
)

// Config says which gateway keeps segments for this one.
type Config struct {
	Name    string        // in the other's certificate, and in logs
	Address string        // host:port
	TLS     *tls.Config   // of Files.TLS
	Timeout time.Duration // of one call; 0 means 10 s
}

// Place is another gateway as a place of the journal.
type Place struct {
	name   string
	base   string
	client *http.Client
}

var _ journal.Place = (*Place)(nil)

// New makes a place; it connects when it is used.
func New(c Config) (*Place, error) {
	if !isName(c.Name) || c.Address == "" || c.TLS == nil {
		return nil, fmt.Errorf("peer %q: name, address and certificate are needed", c.Name)
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	t := c.TLS.Clone()
	t.ServerName = c.Name // the certificate must have this name, whatever the address
	return &Place{name: c.Name, base: "https://" + c.Address + root, client: &http.Client{
		Timeout:       c.Timeout,
		Transport:     &http.Transport{TLSClientConfig: t, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Name implements journal.Place.
func (p *Place) Name() string { return "peer " + p.name }

// call sends one request and returns the answer's body and its size field.
func (p *Place) call(method, path string, query url.Values, body []byte) (answer []byte, size int64, err error) {
	r, err := http.NewRequestWithContext(context.Background(), method, p.base+path+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	response, err := p.client.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return nil, 0, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, 0, refused(response.StatusCode, answer)
	}
	size, _ = strconv.ParseInt(response.Header.Get(sizeField), 10, 64)
	return answer, size, nil
}

// refused turns an answer into the error that the journal knows.
func refused(status int, answer []byte) error {
	text := strings.TrimSpace(string(answer[:min(len(answer), 300)]))
	switch status {
	case http.StatusNotFound:
		return fmt.Errorf("%s: %w", text, fs.ErrNotExist)
	case http.StatusInsufficientStorage:
		return fmt.Errorf("%s: %w", text, syscall.ENOSPC)
	}
	return fmt.Errorf("answer %d: %s", status, text)
}

func (p *Place) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s: %w", p.Name(), what, err)
}

// Open implements journal.Place.
func (p *Place) Open(_ string, used bool) error {
	if used {
		_, err := p.List() // not found when the other gateway was set up anew
		return err
	}
	_, _, err := p.call(http.MethodPost, "/source", nil, nil)
	return p.failed("open", err)
}

// List implements journal.Place.
func (p *Place) List() ([]string, error) {
	answer, _, err := p.call(http.MethodGet, "/files", nil, nil)
	var names []string
	if err == nil {
		err = json.Unmarshal(answer, &names)
	}
	return names, p.failed("list", err)
}

// Create implements journal.Place.
func (p *Place) Create(name string, head []byte, size int64) (journal.File, error) {
	_, _, err := p.call(http.MethodPut, "/files/"+name, url.Values{"size": {strconv.FormatInt(size, 10)}}, head)
	if err != nil {
		return nil, p.failed("create "+name, err)
	}
	return &file{place: p, name: name}, nil
}

// View implements journal.Place.
func (p *Place) View(name string) (journal.View, int64, error) {
	v := view{place: p, name: name}
	_, size, err := v.read(0, 0)
	if err != nil {
		return nil, 0, p.failed("view "+name, err)
	}
	return v, size, nil
}

// Remove implements journal.Place.
func (p *Place) Remove(name string) error {
	_, _, err := p.call(http.MethodDelete, "/files/"+name, nil, nil)
	return p.failed("remove "+name, err)
}

// Probe implements journal.Place.
func (p *Place) Probe(size int64) error {
	_, _, err := p.call(http.MethodPost, "/probe", url.Values{"size": {strconv.FormatInt(size, 10)}}, nil)
	return p.failed("probe", err)
}

// Close implements journal.Place.
func (p *Place) Close() error {
	p.client.CloseIdleConnections()
	return nil
}

// file is a segment that is written to.
type file struct {
	place *Place
	name  string
}

// WriteAt implements journal.File. The other gateway has synced what it answers
// for.
func (f *file) WriteAt(b []byte, off int64) (int, error) {
	for done := 0; done < len(b); {
		part := b[done:min(len(b), done+maxBody)]
		at := url.Values{"offset": {strconv.FormatInt(off+int64(done), 10)}}
		if _, _, err := f.place.call(http.MethodPatch, "/files/"+f.name, at, part); err != nil {
			return done, f.place.failed("append to "+f.name, err)
		}
		done += len(part)
	}
	return len(b), nil
}

// Sync implements journal.File: WriteAt has seen to it.
func (*file) Sync() error { return nil }

// Truncate implements journal.File: no room is reserved, so that the size is
// right, and nothing more follows.
func (f *file) Truncate(size int64) error {
	_, _, err := f.place.call(http.MethodPost, "/files/"+f.name+"/seal", url.Values{"size": {strconv.FormatInt(size, 10)}}, nil)
	return f.place.failed("seal "+f.name, err)
}

// Close implements journal.File.
func (*file) Close() error { return nil }

// view is a segment that is read.
type view struct {
	place *Place
	name  string
}

func (v view) read(off, length int64) ([]byte, int64, error) {
	return v.place.call(http.MethodGet, "/files/"+v.name,
		url.Values{"offset": {strconv.FormatInt(off, 10)}, "length": {strconv.FormatInt(length, 10)}}, nil)
}

// ReadAt implements journal.View.
func (v view) ReadAt(b []byte, off int64) (int, error) {
	for done := 0; done < len(b); {
		answer, size, err := v.read(off+int64(done), min(int64(len(b)-done), maxBody))
		if err != nil {
			return done, v.place.failed("read "+v.name, err)
		}
		if len(answer) > len(b)-done {
			return done, v.place.failed("read "+v.name, errors.New("more was answered than asked for"))
		}
		done += copy(b[done:], answer)
		if done < len(b) && off+int64(done) >= size {
			return done, io.EOF
		}
		if len(answer) == 0 && done < len(b) {
			return done, v.place.failed("read "+v.name, io.ErrUnexpectedEOF)
		}
	}
	return len(b), nil
}

// Close implements journal.View.
func (view) Close() error { return nil }
