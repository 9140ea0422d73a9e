package proxy_test

import (
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap"
	"github.com/matron-epr/matron/proxy/spool"
)

// heap is how much more is live than at the beginning, at most.
type heap struct {
	begin uint64
	most  atomic.Uint64
}

// live is the least of a few looks: what others allocate while one of them lasts
// counts in it, and is gone in the next or waits for whoever looks.
func live() uint64 {
	least := uint64(math.MaxUint64)
	for range 4 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		least = min(least, m.HeapAlloc)
	}
	return least
}

func newHeap() *heap { return &heap{begin: live()} }

func (h *heap) look() {
	if now := live(); now > h.begin {
		for grown := now - h.begin; ; {
			if old := h.most.Load(); grown <= old || h.most.CompareAndSwap(old, grown) {
				return
			}
		}
	}
}

// stretch is a body of n bytes that is made while it is read. The heap is looked at
// now and then.
type stretch struct {
	left int64
	heap *heap
}

const lookEvery = 32 << 20 / slowdown

func (s *stretch) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), s.left))
	clear(p[:n])
	if s.left/lookEvery != (s.left-int64(n))/lookEvery {
		s.heap.look()
	}
	s.left -= int64(n)
	return n, nil
}

// TestLargeBodiesStreamInConstantMemory, up and down, where nothing in them tells
// whom they concern.
// hazard:GW-04 control:C-19
func TestLargeBodiesStreamInConstantMemory(t *testing.T) {
	const size, most = 256 << 20 / slowdown, 8 << 20
	for _, h2 := range []bool{false, true} {
		var received atomic.Int64
		var h *heap
		w := build(t, func(rw http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			received.Store(n + 1<<20) // which the kit has read
			if r.Method == http.MethodGet {
				_, _ = io.Copy(rw, &stretch{size, h})
			}
		}, func(c *proxy.Config) { c.Apps[0].MaxBody = size })
		for _, method := range []string{http.MethodGet, http.MethodPut} {
			h = newHeap()
			var body io.Reader
			if method == http.MethodPut {
				body = &stretch{size, h}
			}
			r, _ := http.NewRequestWithContext(t.Context(), method, w.url+"/patient/1", body)
			r.Header.Set("Cookie", "__Host-matron=ada")
			res, err := w.newClient(h2).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if err != nil || res.StatusCode != 200 || method == http.MethodGet && n != size || method == http.MethodPut && received.Load() != size {
				t.Errorf("%s over %s: %d, %d bytes down, %d up, %v", method, res.Proto, res.StatusCode, n, received.Load(), err)
			}
			if o := w.log.waitOutcome(); o.BytesIn+o.BytesOut != size {
				t.Errorf("%s: outcome %+v", method, o)
			}
			t.Logf("%s over %s: %d KiB of heap", method, res.Proto, h.most.Load()>>10)
			if h.most.Load() > most {
				t.Errorf("%s over %s: %d bytes of heap for a body of %d", method, res.Proto, h.most.Load(), int64(size))
			}
		}
	}
}

// bundle writes a Bundle of so many patients, each with a note of 64 KB, and
// returns the digest of what was written.
func bundle(to io.Writer, patients int, app string) []byte {
	digest := sha256.New()
	w := io.MultiWriter(to, digest)
	_, _ = fmt.Fprintf(w, `{"resourceType":"Bundle","type":"searchset","link":[{"relation":"next","url":"%s/fhir/Observation?page=2"}],"entry":[`, app)
	note := []byte(`"},"note":[{"text":"` + strings.Repeat("a note that nobody reads ", 2560) + `"}]}}`) // once: it is no garbage to be measured
	for i := range patients {
		if i > 0 {
			_, _ = io.WriteString(w, ",")
		}
		_, _ = fmt.Fprintf(w, `{"resource":{"resourceType":"Observation","id":"o%d","subject":{"reference":"Patient/p%d`, i, i)
		_, _ = w.Write(note)
	}
	_, _ = io.WriteString(w, `]}`)
	return digest.Sum(nil)
}

func newSpool(t *testing.T) *spool.Spool {
	t.Helper()
	s, err := spool.New(spool.Config{Dir: t.TempDir(), Max: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// looking looks at the heap while a map reads.
type looking struct {
	proxy.Map
	heap **heap
}

func (m looking) Settle(a proxy.Access, res *http.Response, body proxy.Body) (proxy.Settlement, error) {
	if _, short := body.Bytes(); short {
		return proxy.Settlement{}, errors.New("the body is in memory")
	}
	return m.Map.Settle(a, res, proxy.Long(&lookingAt{body.Open(), *m.heap, 0}, body.Len()))
}

// lookingAt is read from its beginning on.
type lookingAt struct {
	io.Reader
	heap *heap
	n    int64
}

func (l *lookingAt) ReadAt(p []byte, off int64) (int, error) {
	if off != l.n {
		return 0, errors.New("read out of order")
	}
	n, err := io.ReadFull(l.Reader, p)
	if l.n/(lookEvery/4) != (l.n+int64(n))/(lookEvery/4) {
		l.heap.look()
	}
	l.n += int64(n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

// TestALongBundleIsReleasedOnceItsPatientsAreRecorded: 64 MiB of it wait outside of
// memory, plain or compressed, and nothing comes out while a record is missing.
func TestALongBundleIsReleasedOnceItsPatientsAreRecorded(t *testing.T) {
	const most = 16 << 20 // the records of the patients are a fifth of it
	m, err := appmap.Builtin("fhir-r4")
	if err != nil {
		t.Fatal(err)
	}
	var h *heap
	w := build(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/fhir+json")
		to := io.Writer(rw)
		if r.URL.Query().Get("code") == "gzip" {
			rw.Header().Set("Content-Encoding", "gzip")
			z, _ := gzip.NewWriterLevel(rw, gzip.BestSpeed)
			defer func() { _ = z.Close() }()
			to = z
		}
		patients, _ := strconv.Atoi(r.URL.Query().Get("_count"))
		bundle(to, patients, "http://"+r.Host)
	}, func(c *proxy.Config) {
		c.Apps[0].Map, c.Apps[0].Prefix, c.Apps[0].StripPrefix = looking{m, &h}, "/fhir", true
		u := *c.Apps[0].Upstream
		u.Path = "/fhir"
		c.Apps[0].Upstream, c.Apps[0].MaxHeld, c.Spool = &u, 1<<20, newSpool(t)
	})
	for _, row := range []struct {
		coding   string
		patients int
		h2       bool
		fault    fault
	}{{"none", 1000 / slowdown, false, noFault}, {"gzip", 30, true, noFault}, {"none", 30, true, lost}, {"none", 30, false, persistedButReportedFailed}} {
		want := bundle(io.Discard, row.patients, w.url)
		h = newHeap()
		w.log.mu.Lock()
		w.log.all, w.log.appends = nil, 0
		w.log.appendFault = func(n int, _ []*audit.Record) fault {
			if n == 1 {
				return noFault // the decision
			}
			h.look()
			return row.fault
		}
		w.log.mu.Unlock()
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/fhir/Observation?code="+row.coding+"&_count="+strconv.Itoa(row.patients), nil)
		r.Header.Set("Cookie", "__Host-matron=ada")
		res, err := w.newClient(row.h2).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if p := w.log.kinds(audit.KindPatient); row.fault == noFault && len(p) != row.patients {
			t.Errorf("%+v: %d patients are recorded when the answer begins", row, len(p))
		}
		digest, n := sha256.New(), int64(0)
		if row.fault != noFault {
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != 503 || strings.Contains(string(body), "Patient/p") || !strings.Contains(string(body), "OperationOutcome") {
				t.Errorf("%+v: %d and %.300s", row, res.StatusCode, body)
			}
		} else if n, err = copyLooking(digest, res.Body, h); err != nil || res.StatusCode != 200 || string(digest.Sum(nil)) != string(want) {
			t.Errorf("%+v: %d, %d bytes, %v: not what the application sent", row, res.StatusCode, n, err)
		}
		if row.fault == noFault && res.Header.Get("Content-Length") != strconv.FormatInt(n, 10) {
			t.Errorf("%+v: length %q", row, res.Header.Get("Content-Length"))
		}
		_ = res.Body.Close()
		if o := w.log.waitOutcome(); row.fault == noFault && (o.Error != "" || o.Results != uint64(row.patients)) || row.fault != noFault && o.Error != "not-recorded" {
			t.Errorf("%+v: outcome %+v", row, o)
		}
		t.Logf("%+v: %d KiB of heap for %d KiB", row, h.most.Load()>>10, n>>10)
		if h.most.Load() > most {
			t.Errorf("%+v: %d bytes of heap for %d", row, h.most.Load(), n)
		}
	}
}

func copyLooking(to hash.Hash, from io.Reader, h *heap) (n int64, err error) {
	for {
		m, err := io.CopyN(to, from, lookEvery/2)
		n += m
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		h.look()
	}
}
