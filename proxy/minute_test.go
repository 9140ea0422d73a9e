package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// deadlines is a client's end whose time-outs can be seen.
type deadlines struct {
	*httptest.ResponseRecorder
	read, write time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error  { d.read = t; return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }

// TestStreamsAreReviewedEachMinute: rules may look at the clock. What does not say
// how long it is counts as a stream once it has lasted that long, and no time-out
// of the server ends what has no end.
func TestStreamsAreReviewedEachMinute(t *testing.T) {
	for name, row := range map[string]struct {
		kind    string
		endless bool
	}{"events": {"text/event-stream", true}, "no length": {"application/x-ndjson", false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newLog(t)
				transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					go func() {
						_, _ = http.ReadRequest(bufio.NewReader(far))
						_, _ = io.WriteString(far, "HTTP/1.1 200 OK\r\nContent-Type: "+row.kind+"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
						_, _ = io.Copy(io.Discard, far)
					}()
					return near, nil
				}}
				began := time.Now()
				w := &world{t: t, log: log, ids: &identifier{}, logged: &lockedBuilder{}, glass: newGlass()}
				cfg := w.config(&url.URL{Scheme: "http", Host: "epr.test"})
				cfg.Apps[0].Transport, cfg.Apps[0].Timeout = transport, time.Hour
				cfg.Decider = deciderFunc(func(q policy.Request) policy.Decision {
					if q.Time.Sub(began) < 90*time.Second {
						return allowAll(q)
					}
					return denyAll(q)
				})
				g, err := proxy.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- g.Run(ctx) }()
				r := httptest.NewRequestWithContext(context.WithValue(ctx, http.ServerContextKey, &http.Server{}), http.MethodGet, "/patient/1", nil)
				r.Header.Set("Cookie", "__Host-matron=ada")
				client := &deadlines{httptest.NewRecorder(), began, began}
				func() {
					defer func() {
						if err, ok := recover().(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
							t.Errorf("ended with %v, want a broken connection", err)
						}
					}()
					g.ServeHTTP(client, r)
				}()
				if took := time.Since(began); took != 2*time.Minute {
					t.Errorf("ended after %v, want the second review", took)
				}
				if row.endless != (client.read.IsZero() && client.write.IsZero()) {
					t.Errorf("time-outs %v and %v", client.read, client.write)
				}
				if o := log.waitOutcome(); o.Error != "no-longer-allowed" || w.ids.touched != 1 {
					t.Errorf("outcome %+v, %d touches", o, w.ids.touched)
				}
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
				transport.CloseIdleConnections()
			})
		})
	}
}
