package staff

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Enter signs one person in through the gateway's code flow, as a browser
// does, and returns a client that carries the session. landing is a path of the
// gateway to end on.
func Enter(ctx context.Context, gateway string, roots *x509.CertPool, person, landing string) (*http.Client, error) {
	client := newWeb(roots).browser()
	client.CheckRedirect = nil // the standard library follows and counts nothing
	_, at, err := Choose(ctx, client, gateway+"/.matron/sign-in?return="+url.QueryEscape(landing), person)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(at.String(), gateway+landing) {
		return nil, fmt.Errorf("sign in: ended at %s and not at %s", at.Redacted(), landing)
	}
	return client, nil
}

// Choose follows an address that leads to the sign-in service, chooses a person there,
// and returns the page where that ends and its address.
func Choose(ctx context.Context, client *http.Client, address, person string) (page string, at *url.URL, err error) {
	page, at, err = visit(ctx, client, http.MethodGet, address, nil)
	if err != nil {
		return "", nil, err
	}
	attempt := regexp.MustCompile(`name="id" value="([^"]+)"`).FindStringSubmatch(page)
	if attempt == nil {
		return "", nil, fmt.Errorf("sign in: %s is not the page of the sign-in service", at)
	}
	form := url.Values{"id": {attempt[1]}, "person": {person}}
	return visit(ctx, client, http.MethodPost, at.ResolveReference(&url.URL{Path: "/sign-in"}).String(), strings.NewReader(form.Encode()))
}

func visit(ctx context.Context, c *http.Client, method, address string, body io.Reader) (string, *url.URL, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return "", nil, err
	}
	r.Header.Set("Accept", "text/html")
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := c.Do(r)
	if err != nil {
		return "", nil, fmt.Errorf("sign in: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return string(text), res.Request.URL, err
}
