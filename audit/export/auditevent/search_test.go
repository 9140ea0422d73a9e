package auditevent_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit/export/auditevent"
)

func london(t *testing.T) *time.Location {
	t.Helper()
	l, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestParseSearch(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.UTC()
	}
	type search = auditevent.Search
	for query, want := range map[string]search{
		"":                                   {Count: 50},
		"patient=Patient/P1&_count=10":       {Patient: "P1", Count: 10},
		"patient=P1&_format=json":            {Patient: "P1", Count: 50},
		"agent=S0007&_sort=-date":            {Person: "S0007", Count: 50},
		"agent=Practitioner/S0007":           {Person: "S0007", Count: 50},
		"_count=999999":                      {Count: 1000},
		"date=2026-11-25":                    {From: at("2026-11-25T00:00:00Z"), To: at("2026-11-26T00:00:00Z"), Count: 50},
		"date=2026-06":                       {From: at("2026-05-31T23:00:00Z"), To: at("2026-06-30T23:00:00Z"), Count: 50}, // summer time
		"date=ge2026-11-25":                  {From: at("2026-11-25T00:00:00Z"), Count: 50},
		"date=gt2026-11-25":                  {From: at("2026-11-26T00:00:00Z"), Count: 50},
		"date=lt2026-11-25":                  {To: at("2026-11-25T00:00:00Z"), Count: 50},
		"date=le2026-11-25":                  {To: at("2026-11-26T00:00:00Z"), Count: 50},
		"date=ge2026-11-01&date=lt2027":      {From: at("2026-11-01T00:00:00Z"), To: at("2027-01-01T00:00:00Z"), Count: 50},
		"date=ge2025&date=ge2026":            {From: at("2026-01-01T00:00:00Z"), Count: 50},
		"date=2026-11-25T10:00:00Z":          {From: at("2026-11-25T10:00:00Z"), To: at("2026-11-25T10:00:01Z"), Count: 50},
		"date=lt2026-11-25T10:00:00.25Z":     {To: at("2026-11-25T10:00:00.25Z"), Count: 50},
		"date=ge2026-11-25T10:00:00%2B02:00": {From: at("2026-11-25T08:00:00Z"), Count: 50},
		"patient=https://fhir.nhs.uk/Id/nhs-number|999%20000%200018": {NHSNumber: "9990000018", Count: 50},
	} {
		v, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := auditevent.ParseSearch(v, london(t))
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		got.From, got.To = got.From.UTC(), got.To.UTC()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", query, diff)
		}
		again, err := auditevent.ParseSearch(got.Values(), time.UTC) // what self links say
		if diff := cmp.Diff(got, again); err != nil || diff != "" {
			t.Errorf("%s as %v: %v %s", query, got.Values(), err, diff)
		}
	}
}

func TestParseSearchSaysWhatIsWrong(t *testing.T) {
	for query, want := range map[string]string{
		"colour=red":                       "not supported: colour: use patient, agent, date",
		"patient:missing=true":             "not supported: patient:missing: use patient",
		"date=yesterday":                   "date: write it like 2026-11-25",
		"date=25/11/2026":                  "date: write it like 2026-11-25",
		"date=ge2026-13-01":                "date: write it like 2026-11-25",
		"date=ap2026":                      "date: the prefix must be",
		"date=ge2026&date=lt2025":          "date: the end is not after the beginning",
		"date=2026-11-25T10:00:00":         "with a time zone",
		"date=ge2026-11-25T10:00:00+01:00": "%2B",
		"date=9999":                        "date: write it like",
		"_count=0":                         "_count: give a number from 1",
		"_count=x":                         "_count: give a number from 1",
		"_sort=date":                       "_sort: only -date",
		"_format=xml":                      "_format: only json",
		"patient=":                         "patient: give one patient as",
		"patient=P1&patient=P2":            "patient: give it once",
		"patient=P1,P2":                    "patient: give one patient as",
		"patient=Group/1":                  "patient: give one patient as",
		"patient=x|1":                      "patient: the only identifier system is https://fhir.nhs.uk/Id/nhs-number",
		"patient=https://fhir.nhs.uk/Id/nhs-number|9990000019": "patient: not an NHS number",
		"patient=https://fhir.nhs.uk/Id/nhs-number|999000001":  "patient: not an NHS number",
		"agent=":      "agent: give the id of one member of staff",
		"agent=a|b":   "agent: give the id of one member of staff",
		"agent=a%00b": "agent: give the id of one member of staff",
	} {
		v, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		_, err = auditevent.ParseSearch(v, time.UTC)
		if unknown := strings.HasPrefix(want, "not supported"); !errors.Is(err, auditevent.ErrParameter) != unknown || errors.Is(err, auditevent.ErrUnsupported) != unknown {
			t.Errorf("%s: %v", query, err)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", query, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "9990000019") || strings.Contains(err.Error(), "P2")) {
			t.Errorf("%s: the error names a patient: %v", query, err)
		}
	}
}
