package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/matron-epr/matron/audit/engine"
)

// TestClickHouseByAddress ships to a server that is not the gateway's own, over
// HTTP and over the native protocol, with user, password and database.
func TestClickHouseByAddress(t *testing.T) {
	t.Parallel()
	server, err := engine.Start(t.Context(), engine.Config{
		Dir: t.TempDir(), Library: libchdb, Executable: binary(t), Args: []string{engineChildName},
		Native: true, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = w.Write([]byte(`{"resourceType":"Patient","id":"P1"}`))
	}))
	t.Cleanup(app.Close)
	for protocol, address := range map[string]string{"http": server.Addr(), "native": server.NativeAddr()} {
		t.Run(protocol, func(t *testing.T) {
			s := newSite(t, fmt.Sprintf(`- {name: fhir, prefix: /fhir, upstream: %q, map: fhir-r4}
clickhouse:
  address: [%q]
  protocol: %s
  database: records_%s
  user: %s
  password_file: clickhouse.secret
`, app.URL, address, protocol, protocol, server.User()))
			s.write("clickhouse.secret", server.Password())
			s.start()
			if status, body := s.send(s.as("nurse"), http.MethodGet, "/fhir/Patient/P1", "", nil); status != http.StatusOK {
				t.Fatalf("%d %s", status, body)
			}
			got := s.accesses(1, "who", "--patient", "P1")
			if len(got) != 1 || got[0].Action != "read" || got[0].Status != http.StatusOK {
				t.Errorf("accesses %+v, want one read", got)
			}
			s.stop()
		})
	}
}

// libchdb is where "make deps" puts the engine.
const libchdb = "../../node_modules/@chdb/lib-linux-x64-gnu/libchdb.so"
