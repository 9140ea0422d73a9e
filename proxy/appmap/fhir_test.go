package appmap

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// TestBundleIsBounded: a transaction of more entries than allowed is refused.
func TestBundleIsBounded(t *testing.T) {
	m, err := Builtin("fhir-r4")
	if err != nil {
		t.Fatal(err)
	}
	const one = `{"request":{"method":"GET","url":"Patient/1"}}`
	for n, want := range map[int]error{maxEntries: nil, maxEntries + 1: ErrMalformed} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://epr.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		body := `{"resourceType":"Bundle","type":"batch","entry":[` + one + strings.Repeat(","+one, n-1) + `]}`
		if trial := Try(m, Exchange{Request: r, RequestBody: []byte(body)}); !errors.Is(trial.Refused, want) {
			t.Errorf("%d entries: %v", n, trial.Refused)
		}
	}
}
