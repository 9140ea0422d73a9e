package proxy_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// instantLog is an audit.Log that costs nothing, so that a benchmark measures
// the gateway alone.
type instantLog struct{}

func (instantLog) Append(context.Context, ...*audit.Record) (audit.Receipt, error) {
	return audit.Receipt{Source: "gw1", Seq: 1}, nil
}

func (instantLog) Add(...*audit.Record) error { return nil }

type pool struct{ sync.Pool }

func (p *pool) Get() []byte { return *p.Pool.Get().(*[]byte) }

func (p *pool) Put(b []byte) { p.Pool.Put(&b) }

// BenchmarkGateway compares the gateway, without journal and rules, to a bare
// httputil.ReverseProxy with a buffer pool in front of the same application. CPU
// time is that of the whole process, client and application included.
func BenchmarkGateway(b *testing.B) {
	page := make([]byte, 2047)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) }))
	defer app.Close()
	target, err := url.Parse(app.URL)
	if err != nil {
		b.Fatal(err)
	}
	bare := &httputil.ReverseProxy{
		Rewrite:    func(p *httputil.ProxyRequest) { p.SetURL(target); p.SetXForwarded() },
		Transport:  &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		BufferPool: &pool{sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}},
	}
	gateway, err := proxy.New(proxy.Config{
		Apps:       []proxy.App{{Name: "epr", Prefix: "/", Map: testMap{}, Upstream: target}},
		Identifier: &identifier{}, Decider: deciderFunc(allowAll), Limiter: limiterFunc(noLimit), Log: instantLog{},
		Logger: slog.New(slog.DiscardHandler), Now: now(), NoVoucher: true, SignInPath: "/sign-in",
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("direct", func(b *testing.B) { benchmark(b, nil, app.Listener.Addr().String()) })
	b.Run("bare", func(b *testing.B) { benchmark(b, bare, "") })
	b.Run("gateway", func(b *testing.B) { benchmark(b, gateway, "") })
}

func benchmark(b *testing.B, h http.Handler, addr string) {
	if h != nil {
		ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a benchmark's own listener
		if err != nil {
			b.Fatal(err)
		}
		srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
		go func() { _ = srv.Serve(ln) }()
		defer func() { _ = srv.Close() }()
		addr = ln.Addr().String()
	}
	client := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	defer client.CloseIdleConnections()
	b.ReportAllocs()
	before := cpuTime()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+addr+"/patient/1", nil)
			r.Header.Set("Cookie", "__Host-matron=ada")
			res, err := client.RoundTrip(r)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	})
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
