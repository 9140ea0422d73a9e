package gateway

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// check is one line of /readyz.
type check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Note string `json:"note,omitempty"`
}

// readiness asks the two questions that matter: can it decide, and can it
// durably record? ClickHouse is not among them, since care does not wait for it,
// nor is a collector of copies.
func (g *Gateway) readiness() (ready bool, checks []check) {
	record := check{Name: "record", OK: true, Note: recordNote(g.journal.Stats())}
	if err := g.journal.Healthy(); err != nil {
		record = check{Name: "record", Note: "the journal cannot make records durable: see the log"}
	}
	decide := check{Name: "decide", OK: g.policy.Revision() != "", Note: "policy " + g.policy.Revision()}
	index := check{Name: "index (not required)", OK: g.office.ready(), Note: g.office.note()}
	proof := check{Name: "checkpoints (not required)", OK: true}
	if g.journal.Stats().Unsigned != nil {
		proof = check{Name: proof.Name, Note: "no checkpoints are signed, the record cannot be proved: see the log"}
	}
	return record.OK && decide.OK, append([]check{record, decide, index, proof, g.care.check(), g.modesCheck(), g.limitsCheck()}, g.machineChecks()...)
}

// adminHandler serves health, readiness and metrics. It asks nobody to sign in:
// the configuration keeps it on loopback.
func (g *Gateway) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		ready, checks := g.readiness()
		status := http.StatusOK
		if !ready {
			status = http.StatusServiceUnavailable
		}
		writeJSON(w, status, map[string]any{"ready": ready, "checks": checks})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(g.metrics.registry, promhttp.HandlerOpts{}))
	return mux
}

func (g *Gateway) adminServer() *http.Server {
	return &http.Server{
		Addr: g.cfg.Admin.Address, Handler: g.adminHandler(),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
