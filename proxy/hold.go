package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// hold reads a response whole and takes a coding of its content off: what the map
// reads is what is released. Both the bytes that come in and those that come out
// of them are bounded, so that a short answer cannot become an endless one (GW-02).
func (x *exchange) hold(res *http.Response) (Body, error) {
	defer func() { _ = res.Body.Close() }()
	limit := x.maxAnswer()
	if res.ContentLength > limit {
		return Body{}, errHeldTooLarge
	}
	in := &io.LimitedReader{R: res.Body, N: limit + 1}
	plain, err := decoded(res.Header, in)
	if err != nil {
		return Body{}, x.notHeld(err, in)
	}
	body, err := x.keep(io.LimitReader(plain, limit+1), res.ContentLength)
	if err != nil {
		return Body{}, x.notHeld(err, in)
	}
	if body.Len() > limit || in.N == 0 {
		return Body{}, errHeldTooLarge
	}
	nowPlain(res.Header)
	return body, nil
}

// maxAnswer is the longest response that can be held.
func (x *exchange) maxAnswer() int64 {
	if x.g.cfg.Spool == nil {
		return x.route.MaxHeld
	}
	return max(x.route.MaxHeld, x.route.MaxSpooled)
}

// keep puts a response where it waits: in memory, and in the spool once it is too
// long for that. announced is its length, where that is known.
func (x *exchange) keep(plain io.Reader, announced int64) (Body, error) {
	var b bytes.Buffer
	if limit := x.route.MaxHeld; announced <= limit {
		if announced > 0 {
			b.Grow(int(min(announced, growAtOnce)) + bytes.MinRead)
		}
		if _, err := b.ReadFrom(metered{io.LimitReader(plain, limit+1), x}); err != nil {
			return Body{}, err
		}
		if int64(b.Len()) <= limit {
			return Short(b.Bytes()), nil
		}
	}
	return x.spool(&b, plain)
}

// spool puts a response into the spool: what is in memory of it, and the rest.
func (x *exchange) spool(begun *bytes.Buffer, rest io.Reader) (Body, error) {
	switch {
	case x.g.cfg.Spool == nil:
		return Body{}, errHeldTooLarge
	case x.g.cfg.Space != nil && x.g.cfg.Space() >= ShortForAll:
		return Body{}, errNoSpaceForRest // what is left is for the record (GW-12)
	}
	file, err := x.g.cfg.Spool.Create()
	if err != nil {
		return Body{}, err
	}
	x.spooled = file
	size, err := io.Copy(file, begun)
	if err != nil {
		return Body{}, err
	}
	x.giveBack(size)
	*begun = bytes.Buffer{}
	more, err := io.Copy(file, rest)
	if err != nil {
		return Body{}, err
	}
	if err := file.Seal(); err != nil {
		return Body{}, err
	}
	return Long(file, size+more), nil
}

// notHeld is why a response could not be read or kept.
func (x *exchange) notHeld(err error, in *io.LimitedReader) error {
	for _, known := range [...]error{errBusy, errHeldTooLarge, errNoSpaceForRest, ErrSpoolFull, ErrSpool} {
		if errors.Is(err, known) {
			return known
		}
	}
	switch {
	case x.r.Context().Err() != nil:
		return errClientGone
	case in.N == 0:
		return errHeldTooLarge
	case broken(err):
		return errHeldUnreadable
	}
	x.fail(errTruncated)
	return x.failure
}

// released is a held response on its way to the client. What turns out to be
// damaged on the way ends there and then (GW-15).
type released struct {
	io.Reader
	x *exchange
}

// Read is part of io.Reader.
func (r released) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if errors.Is(err, ErrSpool) {
		r.x.fail(ErrSpool)
	}
	return n, err
}
