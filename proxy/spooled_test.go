package proxy_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// faultySpool fails on purpose: at the creation of a file, when one is written, when
// one is sealed, or from a place on when one is read for the second time.
type faultySpool struct {
	proxy.Spool
	create, write, seal, first, second error
}

var errOnPurpose = fmt.Errorf("on purpose: %w", proxy.ErrSpool)

func (s *faultySpool) Create() (proxy.SpoolFile, error) {
	if s.create != nil {
		return nil, s.create
	}
	f, err := s.Spool.Create()
	return &faultyFile{SpoolFile: f, s: s}, err
}

type faultyFile struct {
	proxy.SpoolFile
	s      *faultySpool
	passes int
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if f.s.write != nil {
		return 0, f.s.write
	}
	return f.SpoolFile.Write(p)
}

func (f *faultyFile) Seal() error { return errors.Join(f.SpoolFile.Seal(), f.s.seal) }

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 {
		f.passes++
	}
	if off >= 64<<10 && (f.passes == 1 && f.s.first != nil || f.passes == 2 && f.s.second != nil) {
		return 0, errOnPurpose
	}
	return f.SpoolFile.ReadAt(p, off)
}

// TestNothingOfALongResponseIsReleased that is not whole, not what it says, too long,
// or could not be kept.
func TestNothingOfALongResponseIsReleased(t *testing.T) {
	const most = 400_000
	long := lines(600, 200) // about 125 KB, and at most no more patients than may be shown
	zipped := packed(t, long, gzip.NewWriter)
	damaged := bytes.Clone(zipped)
	damaged[len(damaged)/2] ^= 0x40
	send := func(body []byte, header ...string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				rw.Header().Set(header[i], header[i+1])
			}
			_ = http.NewResponseController(rw).Flush()
			_, _ = rw.Write(body)
		}
	}
	for _, row := range []struct {
		name   string
		app    http.HandlerFunc
		spool  faultySpool
		space  proxy.Shortage
		status int
		code   string
	}{
		{name: "broken gzip", app: send(damaged, "Content-Encoding", "gzip"), status: 502, code: "response-not-understood"},
		{name: "not the coding that it says", app: send([]byte(long), "Content-Encoding", "deflate"), status: 502, code: "response-not-understood"},
		{name: "cut off gzip", app: send(zipped[:len(zipped)-9], "Content-Encoding", "gzip"), status: 502, code: "response-broken-off"},
		{name: "a bomb", app: send(packed(t, strings.Repeat(long, 100), zlib.NewWriter), "Content-Encoding", "deflate"), status: 502, code: "response-too-large"},
		{name: "shorter than announced", app: send([]byte(long), "Content-Length", "390000"), status: 502, code: "response-broken-off"},
		{name: "longer than announced", app: func(rw http.ResponseWriter, _ *http.Request) {
			c, b, _ := http.NewResponseController(rw).Hijack()
			_, _ = fmt.Fprintf(b, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", strings.LastIndex(long, "patient")+4, long)
			_, _ = b.Flush(), c.Close()
		}, status: 502, code: "response-not-understood"},
		{name: "longer than may be", app: send([]byte(strings.Repeat(long, 4))), status: 502, code: "response-too-large"},
		{name: "announced as longer than may be", app: send([]byte(long), "Content-Length", "400001"), status: 502, code: "response-too-large"},
		{name: "broken off", app: func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(rw, long)
			panic(http.ErrAbortHandler)
		}, status: 502, code: "response-broken-off"},
		{name: "no room left", spool: faultySpool{write: proxy.ErrSpoolFull}, status: 503, code: "spool-full"},
		{name: "no file", spool: faultySpool{create: errOnPurpose}, status: 503, code: "spool-failed"},
		{name: "disk broken", spool: faultySpool{write: errOnPurpose}, status: 503, code: "spool-failed"},
		{name: "not sealed", spool: faultySpool{seal: errOnPurpose}, status: 503, code: "spool-failed"},
		{name: "changed before it is read", spool: faultySpool{first: errOnPurpose}, status: 503, code: "spool-failed"},
		{name: "disk of the record nearly full", space: proxy.ShortForAll, status: 503, code: "disk-care-only"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.app == nil {
				row.app = send([]byte(long))
			}
			row.spool.Spool = newSpool(t)
			w := build(t, row.app, func(c *proxy.Config) {
				held := heldMap()
				held.classify = func(*http.Request, func() ([]byte, error)) (proxy.Access, error) {
					return proxy.Access{Rule: "search", Action: "search", Area: "notes", Kind: proxy.SearchKind, Hold: true, Vital: true, Deny: proxy.DenyOperationOutcome}, nil
				}
				c.Apps[0].Map, c.Apps[0].MaxHeld, c.Apps[0].MaxSpooled, c.Spool = held, 1000, most, &row.spool
				c.Space = func() proxy.Shortage { return row.space }
			})
			a := w.do("GET", "/search", "")
			if a.status != row.status || strings.Contains(a.body, "patient 0") || !strings.Contains(a.body, `"OperationOutcome"`) {
				t.Errorf("got %d %.300s", a.status, a.body)
			}
			if o := w.log.waitOutcome(); o.Error != row.code {
				t.Errorf("outcome %q, want %q", o.Error, row.code)
			}
			if p := w.log.kinds(audit.KindPatient); len(p) > 0 {
				t.Errorf("%d patients are recorded of an answer that nobody got", len(p))
			}
		})
	}
}

// TestWhatIsDamagedOnItsWayOutIsBrokenOff: nothing that was changed comes out, and the
// answer does not look whole.
func TestWhatIsDamagedOnItsWayOutIsBrokenOff(t *testing.T) {
	long := lines(4_000, 60)
	w := build(t, say(long), func(c *proxy.Config) {
		c.Apps[0].Map, c.Apps[0].MaxHeld = heldMap(), 1000
		c.Spool = &faultySpool{Spool: newSpool(t), second: errOnPurpose}
	})
	a := w.do("GET", "/search", "")
	if a.err == nil || len(a.body) == len(long) || !strings.HasPrefix(long, a.body) {
		t.Errorf("got %d bytes of %d, %v", len(a.body), len(long), a.err)
	}
	if o := w.log.waitOutcome(); o.Error != "spool-failed" || o.Outcome != audit.SeriousFailure {
		t.Errorf("outcome %+v", o)
	}
}

// TestHeadOfALongResponseSaysItsLength and sends nothing of it.
func TestHeadOfALongResponseSaysItsLength(t *testing.T) {
	long := lines(1_000, 0)
	w := build(t, say(long), func(c *proxy.Config) {
		c.Apps[0].Map, c.Apps[0].MaxHeld, c.Spool = heldMap(), 1000, newSpool(t)
	})
	a := w.do("HEAD", "/search", "")
	if a.status != 200 || a.body != "" || a.header.Get("Content-Length") != fmt.Sprint(len(long)) || len(w.log.kinds(audit.KindPatient)) != 1000 {
		t.Errorf("got %d %v, %d patients", a.status, a.header, len(w.log.kinds(audit.KindPatient)))
	}
}

// TestALongAnswerOfAStranger: a part of it that is too long to be read makes it
// unknown: refused where that is enforced, marked where it is not, and the outcome
// says why.
func TestALongAnswerOfAStranger(t *testing.T) {
	for _, mode := range []proxy.Mode{proxy.Enforce, proxy.Observe} {
		w := build(t, say(lines(1_000, 0)), func(c *proxy.Config) {
			m := heldMap()
			m.stream = func(io.Reader) (proxy.Settlement, error) {
				return proxy.Settlement{Certainty: audit.Unknown, Stranger: true, Reason: "too long to be read"}, nil
			}
			c.Apps[0].Map, c.Apps[0].MaxHeld, c.Spool, c.Apps[0].Mode = m, 1000, newSpool(t), mode
		})
		a := w.do("GET", "/search", "")
		o := w.log.waitOutcome()
		p := w.log.kinds(audit.KindPatient)
		if len(o.Detail) != 1 || o.Detail[0] != "why=too long to be read" || len(p) != 1 || p[0].Certainty != audit.Unknown {
			t.Errorf("%s: outcome %+v, %+v", mode, o, p)
		}
		if mode == proxy.Enforce && (a.status != 403 || o.Error != "patient-unknown") || mode == proxy.Observe && (a.status != 200 || !p[0].WouldDeny) {
			t.Errorf("%s: got %d, %+v", mode, a.status, p)
		}
	}
}
