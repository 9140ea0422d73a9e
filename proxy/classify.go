package proxy

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/matron-epr/matron/audit"
)

// classify asks the application's map what the request does to whom.
func (x *exchange) classify() error {
	if x.r.ContentLength > x.route.MaxBody {
		return errBodyTooLarge
	}
	x.boundBody()
	a, err := x.reader().Classify(x.r, x.readBody)
	if err != nil {
		if cause := x.bodyError(); cause != nil {
			return cause
		}
		x.access = Access{Deny: a.Deny, Because: a.Because, Reply: a.Reply, Reason: err.Error()}
		x.g.cfg.Logger.LogAttrs(x.r.Context(), slog.LevelWarn, "request does not fit the map",
			slog.String("request", x.id), slog.String("app", x.route.Name), slog.Any("error", err))
		return errUnclassifiable
	}
	if a.Rule == "" { // unmapped: nothing else in it can be relied on
		a = Access{Certainty: audit.Unknown, Deny: a.Deny, Reply: a.Reply, Reason: a.Reason, Redact: a.Redact, Detail: bodyKind(x.r.Header)}
	}
	if a.Certainty == "" {
		a.Certainty = audit.Unknown
	}
	if err := recordable(&a); err != nil {
		return err
	}
	x.access = a
	return x.open()
}

// bodyKind is the media type of the body of an unmapped request, for whoever writes
// a map: one of those that forms and interfaces use, nothing that a client made up.
func bodyKind(h http.Header) []string {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch kind = strings.ToLower(strings.TrimSpace(kind)); kind {
	case "application/json", "application/fhir+json", "application/x-www-form-urlencoded", "multipart/form-data",
		"application/xml", "text/xml", "application/soap+xml", "text/plain":
		return []string{"content=" + kind}
	}
	return nil
}

// requestBody counts what is read of a request body and notes why reading
// failed. An application may answer before it has read it all: net/http then still
// reads while the exchange ends.
type requestBody struct {
	io.ReadCloser
	n   atomic.Int64
	err atomic.Pointer[error] // nil while reading goes well
}

// fail notes why the body could not be read.
func (b *requestBody) fail(err error) { b.err.Store(&err) }

// failure is why the body could not be read, nil if it could.
func (b *requestBody) failure() error {
	if err := b.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Read is part of io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		b.fail(err)
	}
	return n, err
}

// boundBody makes the request body fail once it is longer than the application
// allows. A request without a body is left alone.
func (x *exchange) boundBody() {
	if x.r.Body == nil || x.r.Body == http.NoBody {
		return
	}
	x.body = &requestBody{ReadCloser: http.MaxBytesReader(x.w, x.r.Body, x.route.MaxBody)}
	x.r.Body = x.body
}

// readBody reads the body whole for the map and leaves it readable for the
// application, byte for byte. It is bounded by what may be held in memory.
func (x *exchange) readBody() ([]byte, error) {
	if x.body == nil {
		return nil, nil
	}
	whole, err := io.ReadAll(metered{io.LimitReader(x.body, x.route.MaxRead+1), x})
	if err != nil {
		x.body.fail(err)
		return nil, err
	}
	if int64(len(whole)) > x.route.MaxRead {
		x.body.fail(&http.MaxBytesError{Limit: x.route.MaxRead})
		return nil, errBodyTooLarge
	}
	x.whole = whole
	x.r.Body = io.NopCloser(bytes.NewReader(whole))
	x.r.ContentLength, x.r.TransferEncoding = int64(len(whole)), nil
	return whole, nil
}

// bodyError says why the request body could not be read, nil if it could.
func (x *exchange) bodyError() error {
	if x.body == nil {
		return nil
	}
	err := x.body.failure()
	if err == nil {
		return nil
	}
	if errors.Is(err, errBusy) {
		return errBusy
	}
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return errBodyTooLarge
	}
	if x.r.Context().Err() != nil {
		return errClientGone
	}
	return errBody
}
