package staff

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// machine is the API client: it looks patients up by NHS number and files
// results, with an access token instead of a session.
func (c *crew) machine(ctx context.Context, rng *rand.Rand) {
	w := c.newWorker(hospital.Staff{}, rng, c.pace)
	var token string
	var until time.Time
	for ctx.Err() == nil {
		if w.lost || !c.cfg.Now().Before(until) {
			w.lost = false
			var life time.Duration
			if token, life = w.token(ctx); token == "" {
				idle(ctx, 5*time.Second)
				continue
			}
			until = c.cfg.Now().Add(life / 2)
		}
		w.file(ctx, token)
		idle(ctx, 2*time.Second)
	}
}

// token gets an access token by the client credentials grant.
func (w *worker) token(ctx context.Context) (token string, life time.Duration) {
	target, err := url.Parse(w.cfg.TokenURL)
	if err != nil {
		return "", 0
	}
	credentials := url.QueryEscape(w.cfg.ClientID) + ":" + url.QueryEscape(w.cfg.ClientSecret)
	got := send(ctx, w.browser, w.cfg, w.counter, ask{
		method: http.MethodPost, url: target, body: "grant_type=client_credentials",
		header: map[string]string{
			"Content-Type":  "application/x-www-form-urlencoded",
			"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials)),
		},
	})
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if got.status != http.StatusOK || json.Unmarshal(got.body, &answer) != nil {
		w.cfg.Log.WarnContext(ctx, "simulated API client got no token", slog.Int("status", got.status))
		return "", 0
	}
	return answer.AccessToken, time.Duration(answer.ExpiresIn) * time.Second
}

// file finds a patient and files a result for them.
func (w *worker) file(ctx context.Context, token string) {
	p := w.anybody()
	header := map[string]string{"Accept": fhirJSON, "Authorization": "Bearer " + token}
	w.send(ctx, ask{method: http.MethodGet, url: w.at(w.cfg.FHIR + "/Patient?identifier=" + p.NHSNumber), header: header})
	data, err := json.Marshal(w.pulse(p.ID))
	if err != nil {
		return
	}
	header["Content-Type"] = fhirJSON
	w.send(ctx, ask{method: http.MethodPost, url: w.at(w.cfg.FHIR + "/Observation"), body: string(data), header: header})
}
