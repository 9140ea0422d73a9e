package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// serveUpstream answers every request with the same 2 KB FHIR resource of the
// patient asked for.
func serveUpstream(ctx context.Context, address, _ string) error {
	filler := strings.Repeat("x", 1900)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = w.Write([]byte(`{"resourceType":"Patient","id":"` + id + `","meta":{"versionId":"1"},"text":"` + filler + `"}`))
	})
	return serve(ctx, &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 10 * time.Second}, "", "")
}

// buffers is the pool that httputil.ReverseProxy wants for its copies.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte  { return *b.pool.Get().(*[]byte) }
func (b *buffers) Put(s []byte) { b.pool.Put(&s) }

// serveBare is the least that a Go reverse proxy can do: no identity, no
// decision, no record.
func serveBare(ctx context.Context, address, upstream, certificates string) error {
	to, err := url.Parse("http://" + upstream)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(to); r.SetXForwarded() },
		BufferPool: &buffers{pool: sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}},
		Transport:  &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
	}
	server := &http.Server{Addr: address, Handler: proxy, ReadHeaderTimeout: 10 * time.Second}
	return serve(ctx, server, certificates+"/cert.pem", certificates+"/key.pem")
}

func serve(ctx context.Context, s *http.Server, cert, key string) error {
	s.BaseContext = func(net.Listener) context.Context { return ctx }
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	var err error
	if cert == "" {
		err = s.ListenAndServe()
	} else {
		err = s.ListenAndServeTLS(cert, key)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// self is this program, for the processes that it starts.
func self() (string, error) { return os.Executable() }
