package appmap

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// searchset is an answer of entries Observations, each about one of ten patients
// and with a note of so many sentences.
func searchset(entries, sentences int) []byte {
	note := strings.Repeat("Haemoglobin within the range of the last three samples. ", sentences)
	var b strings.Builder
	b.WriteString(`{"resourceType":"Bundle","type":"searchset","total":100,"entry":[`)
	for i := range entries {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"fullUrl":"https://epr.example/fhir/Observation/o%[1]d","search":{"mode":"match"},"resource":{
			"resourceType":"Observation","id":"o%[1]d","meta":{"versionId":"1","lastUpdated":"2026-11-03T09:30:00.000Z"},
			"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory"}]}],
			"code":{"coding":[{"system":"http://loinc.org","code":"718-7","display":"Hemoglobin"}],"text":"Hb"},
			"subject":{"reference":"Patient/p%[2]d"},"encounter":{"reference":"Encounter/e%[2]d"},"effectiveDateTime":"2026-11-03T09:00:00Z",
			"performer":[{"reference":"Practitioner/x"}],"valueQuantity":{"value":%[1]d.5,"unit":"g/L","system":"http://unitsofmeasure.org","code":"g/L"},
			"referenceRange":[{"low":{"value":130},"high":{"value":170}}],
			"component":[{"code":{"text":"a"},"valueQuantity":{"value":1}},{"code":{"text":"b"},"valueQuantity":{"value":2}}],
			"note":[{"text":%[3]q}]}}`, i, i%10, note)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

// BenchmarkSettleBundle attributes answers of about 500 KB.
// The metric "x-decode" is the time that this takes in parts of the time that
// encoding/json takes to decode the same bytes once, in the same run.
func BenchmarkSettleBundle(b *testing.B) {
	m, err := Builtin("fhir-r4")
	if err != nil {
		b.Fatal(err)
	}
	for _, row := range []struct {
		name      string
		entries   uint64
		sentences int
	}{{"100 entries", 100, 71}, {"without long texts", 500, 0}} {
		b.Run(row.name, func(b *testing.B) { benchmarkSettle(b, m, row.entries, searchset(int(row.entries), row.sentences)) })
	}
}

func benchmarkSettle(b *testing.B, m *Map, entries uint64, body []byte) {
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "https://epr.example/Observation?code=x", nil)
	if err != nil {
		b.Fatal(err)
	}
	a := proxy.Access{Rule: "fhir-search", Area: "results", Certainty: audit.Unknown, Hold: true}
	res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {fhirType}}, Request: r}
	var settling, decoding time.Duration
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		began := time.Now()
		s, err := m.Settle(a, res, proxy.Short(body))
		settling += time.Since(began)
		if err != nil || len(s.Patients) != 10 || s.Results != entries {
			b.Fatal(s, err)
		}
		b.StopTimer()
		began = time.Now()
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			b.Fatal(err)
		}
		decoding += time.Since(began)
		b.StartTimer()
	}
	b.ReportMetric(float64(settling)/float64(decoding), "x-decode")
	b.ReportMetric(float64(len(body))*float64(b.N)/settling.Seconds()/1e6, "MB/s-settled")
}

// BenchmarkClassifyRead classifies the read of one patient by its address.
func BenchmarkClassifyRead(b *testing.B) {
	m, err := Builtin("fhir-r4")
	if err != nil {
		b.Fatal(err)
	}
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "https://epr.example/Patient/p1", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		a, err := m.Classify(r, nil)
		if err != nil || len(a.Patients) != 1 || a.Certainty != audit.Authoritative {
			b.Fatal(a, err)
		}
	}
}
