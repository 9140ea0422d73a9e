package staff

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/html"
)

// maxAnswer bounds what is read of one response.
const maxAnswer = 8 << 20

// web is the network as everybody shares it; each browser has its own cookies.
type web struct{ transport *http.Transport }

func newWeb(ca *x509.CertPool) *web {
	return &web{&http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: ca, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second,
		ResponseHeaderTimeout: 45 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
	}}
}

func (w *web) close() { w.transport.CloseIdleConnections() }

// browser returns a client that keeps cookies and follows no redirect by itself,
// so that every request is counted.
func (w *web) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		jar = nil // cannot happen: cookiejar.New fails for no options
	}
	return &http.Client{
		Transport: w.transport, Jar: jar, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask is one request to send.
type ask struct {
	method string
	url    *url.URL
	body   string
	header map[string]string
}

// answer is what came back; status 0 is nothing.
type answer struct {
	status int
	header http.Header
	body   []byte
	url    *url.URL
}

// send sends a request and counts it. Once begun it is finished even when ctx
// ends, so that nothing is in flight that nobody waits for.
func send(ctx context.Context, client *http.Client, cfg Config, c *counter, a ask) answer {
	var attempts atomic.Uint64
	ctx = httptrace.WithClientTrace(context.WithoutCancel(ctx), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { attempts.Add(1) },
	})
	class := cfg.classify(a.url)
	out, err := exchange(ctx, client, a)
	if err != nil && out.status == 0 {
		c.exchange(class, attempts.Load(), 0)
		return out
	}
	c.exchange(class, attempts.Load(), out.status)
	return out
}

func exchange(ctx context.Context, client *http.Client, a ask) (answer, error) {
	out := answer{url: a.url}
	var body io.Reader
	if a.body != "" {
		body = strings.NewReader(a.body)
	}
	req, err := http.NewRequestWithContext(ctx, a.method, a.url.String(), body)
	if err != nil {
		return out, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("User-Agent", "matron-demo-staff/1")
	for k, v := range a.header {
		req.Header.Set(k, v)
	}
	res, err := client.Do(req)
	if err != nil {
		return out, fmt.Errorf("send request: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	out.status, out.header = res.StatusCode, res.Header
	out.body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return out, fmt.Errorf("read answer: %w", err)
	}
	return out, nil
}

// location is where a redirect leads; ok is false for any other answer.
func (a answer) location() (*url.URL, bool) {
	if a.status < 300 || a.status > 399 || a.header.Get("Location") == "" {
		return nil, false
	}
	to, err := a.url.Parse(a.header.Get("Location"))
	return to, err == nil
}

// form is a form on a page.
type form struct {
	action *url.URL
	fields url.Values // hidden fields
}

var errNoForm = errors.New("no form on the page")

// findForm reads the first form with method post.
func (a answer) findForm() (form, error) {
	doc, err := html.Parse(strings.NewReader(string(a.body)))
	if err != nil {
		return form{}, fmt.Errorf("read page: %w", err)
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" || !strings.EqualFold(attribute(n, "method"), "post") {
			continue
		}
		action, err := a.url.Parse(attribute(n, "action"))
		if err != nil {
			return form{}, fmt.Errorf("read form: %w", err)
		}
		f := form{action: action, fields: url.Values{}}
		for in := range n.Descendants() {
			if in.Type == html.ElementNode && in.Data == "input" && attribute(in, "type") == "hidden" {
				f.fields.Add(attribute(in, "name"), attribute(in, "value"))
			}
		}
		return f, nil
	}
	return form{}, errNoForm
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
