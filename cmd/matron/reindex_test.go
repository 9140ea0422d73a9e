package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit/clickhouse"
)

// TestReindex rebuilds the index beside a running gateway, then with the gateway
// stopped and the engine's data gone altogether.
func TestReindex(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = w.Write([]byte(`{"resourceType":"Patient","id":"P1"}`))
	}))
	t.Cleanup(app.Close)
	s := newSite(t, fmt.Sprintf("- {name: fhir, prefix: /fhir, upstream: %q, map: fhir-r4}\nclickhouse: {library: %q}\n", app.URL, absolute(t, libchdb)))
	s.start()
	nurse := s.as("nurse")
	read := func() {
		t.Helper()
		if status, body := s.send(nurse, http.MethodGet, "/fhir/Patient/P1", "", nil); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
	}
	read()
	s.accesses(1, "who", "--patient", "P1")
	reindex := func() clickhouse.Rebuilt {
		t.Helper()
		var done clickhouse.Rebuilt
		if err := json.Unmarshal([]byte(s.run("audit", "reindex", "-c", s.config, "--json")), &done); err != nil {
			t.Fatal(err)
		}
		if !done.Replaced || done.First != 1 || done.Inserted != done.Last {
			t.Errorf("did %+v", done)
		}
		return done
	}
	reindex()
	read()
	s.accesses(2, "who", "--patient", "P1")
	s.stop()
	if err := os.RemoveAll(filepath.Join(s.dir, "data", "clickhouse", "data")); err != nil {
		t.Fatal(err)
	}
	if got, want := reindex().Last, uint64(len(s.records())); got != want {
		t.Errorf("%d records are in the index, the journal has %d", got, want)
	}
	if out := s.run("audit", "reindex", "-c", s.config); !strings.Contains(out, "each once") {
		t.Errorf("it says %q", out)
	}
	s.start()
	s.accesses(2, "who", "--patient", "P1")
	s.stop()
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
