package staff

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"

	"golang.org/x/time/rate"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// maxHops bounds the redirects of one navigation.
const maxHops = 12

// worker is one person at one browser. Only one goroutine uses it.
type worker struct {
	*crew
	person  hospital.Staff
	rng     *rand.Rand
	browser *http.Client
	limit   *rate.Limiter
	lost    bool // the session or the gateway is gone
}

func (c *crew) newWorker(p hospital.Staff, rng *rand.Rand, limit *rate.Limiter) *worker {
	return &worker{crew: c, person: p, rng: rng, browser: c.web.browser(), limit: limit}
}

func (w *worker) at(path string) *url.URL {
	u, err := url.Parse(w.cfg.Gateway + path)
	if err != nil {
		return &url.URL{}
	}
	return u
}

// send sends one request to an application or a dashboard, when its turn comes.
func (w *worker) send(ctx context.Context, a ask) answer {
	if w.lost || w.limit.Wait(ctx) != nil {
		return answer{}
	}
	out := send(ctx, w.browser, w.cfg, w.counter, a)
	if out.status == 0 || out.status == http.StatusUnauthorized {
		w.lost = true
	}
	return out
}

// page opens a page as a browser does.
func (w *worker) page(ctx context.Context, path string) {
	w.send(ctx, ask{method: http.MethodGet, url: w.at(path), header: navigation("same-origin")})
}

// submit posts a form as a browser does.
func (w *worker) submit(ctx context.Context, path string, values url.Values) {
	header := navigation("same-origin")
	header["Content-Type"] = "application/x-www-form-urlencoded"
	header["Origin"] = w.cfg.Gateway
	w.send(ctx, ask{method: http.MethodPost, url: w.at(path), body: values.Encode(), header: header})
}

func navigation(site string) map[string]string {
	return map[string]string{
		"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": site,
	}
}

// fetch asks the FHIR interface as a page's script does.
func (w *worker) fetch(ctx context.Context, path string) answer {
	return w.send(ctx, ask{method: http.MethodGet, url: w.at(w.cfg.FHIR + path), header: script("")})
}

// post writes to the FHIR interface as a page's script does.
func (w *worker) post(ctx context.Context, method, path, media, body string, more map[string]string) {
	header := script(media)
	header["Origin"] = w.cfg.Gateway
	for k, v := range more {
		header[k] = v
	}
	w.send(ctx, ask{method: method, url: w.at(w.cfg.FHIR + path), body: body, header: header})
}

func script(media string) map[string]string {
	h := map[string]string{
		"Accept": "application/fhir+json", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "same-origin",
	}
	if media != "" {
		h["Content-Type"] = media
	}
	return h
}

// home is where somebody starts their day.
func (w *worker) home() string {
	switch w.person.Role() {
	case hospital.PrivacyOfficer, hospital.SecurityAnalyst, hospital.SafetyOfficer, hospital.SystemAdministrator:
		if len(w.cfg.Dashboards) > 0 {
			return w.cfg.Dashboards[0]
		}
	}
	return w.cfg.UI + "/patients"
}

// signIn opens the first page of the day and follows where it leads, through the
// sign-in form and back.
func (w *worker) signIn(ctx context.Context) bool {
	target, method, body := w.at(w.home()), http.MethodGet, ""
	chosen := false
	for range maxHops {
		if ctx.Err() != nil || (w.cfg.classify(target) != Provider && w.limit.Wait(ctx) != nil) {
			return false
		}
		header := navigation("none")
		if method == http.MethodPost {
			header["Content-Type"] = "application/x-www-form-urlencoded"
			header["Origin"] = target.Scheme + "://" + target.Host
			header["Sec-Fetch-Site"] = "same-origin"
		}
		got := send(ctx, w.browser, w.cfg, w.counter, ask{method: method, url: target, body: body, header: header})
		if to, ok := got.location(); ok {
			target, method, body = to, http.MethodGet, ""
			continue
		}
		if w.cfg.classify(target) != Provider || chosen {
			return w.arrived(ctx, got, chosen)
		}
		f, err := got.findForm()
		if err != nil {
			return w.arrived(ctx, got, false)
		}
		f.fields.Set("person", w.person.Person)
		target, method, body, chosen = f.action, http.MethodPost, f.fields.Encode(), true
	}
	return false
}

// arrived says whether the page at the end of the way is the one asked for. A
// role that may not see the page is signed in all the same.
func (w *worker) arrived(ctx context.Context, got answer, chosen bool) bool {
	ok := chosen && w.cfg.classify(got.url) != Provider && w.cfg.classify(got.url) != SignIn &&
		(got.status == http.StatusOK || got.status == http.StatusForbidden)
	if !ok {
		w.cfg.Log.WarnContext(ctx, "simulated sign-in did not arrive", slog.Int("status", got.status), slog.String("class", string(w.cfg.classify(got.url))))
		return false
	}
	w.counter.signedIn()
	return true
}

// leave signs some people out; the others just walk away, as people do.
func (w *worker) leave(ctx context.Context) {
	if w.cfg.SignOut == "" || w.lost || ctx.Err() != nil || w.rng.IntN(2) == 0 {
		return
	}
	header := navigation("same-origin")
	header["Origin"] = w.cfg.Gateway
	header["Content-Type"] = "application/x-www-form-urlencoded"
	target, method, body := w.at(w.cfg.SignOut), http.MethodPost, ""
	for range maxHops {
		got := send(ctx, w.browser, w.cfg, w.counter, ask{method: method, url: target, body: body, header: header})
		to, ok := got.location()
		if !ok || w.cfg.classify(to) == Application || w.cfg.classify(to) == Dashboard {
			return
		}
		target, method, header = to, http.MethodGet, navigation("same-site")
	}
}
