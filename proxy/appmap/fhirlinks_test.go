package appmap

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

func TestLinksOfABundleAreFoundWhereTheyStand(t *testing.T) {
	m, err := Builtin("fhir-r4")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, body string
		want       []string // each string as it is written, and what it says
	}{
		{
			"before and behind other members",
			`{"resourceType":"Bundle","type":"searchset", "link" : [ {"relation":"self","url":"http://epr/Observation"},
			{"extension":[{"url":"not this"}],"url" : "http:\/\/epr\/n?a=1\u0026b=2","relation":"next"}],
			"entry":[{"link":[{"url":"nor this"}],"resource":{"resourceType":"Observation","subject":{"reference":"Patient/p1"}}}]}`,
			[]string{`"http://epr/Observation"`, "http://epr/Observation", `"http:\/\/epr\/n?a=1\u0026b=2"`, "http://epr/n?a=1&b=2"},
		},
		{"last", `{"resourceType":"Bundle","type":"searchset","entry":[],"link":[{"url":"x"}]}`, []string{`"x"`, "x"}},
		{"no texts", `{"resourceType":"Bundle","type":"searchset","link":[{"url":1},7,[],{}]}`, nil},
		{"of another resource", `{"resourceType":"Patient","id":"p1","link":[{"url":"x"}]}`, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {fhirType}}}
			a := proxy.Access{Rule: "fhir-search", Area: "results", Certainty: audit.Unknown, Hold: true}
			if row.name == "of another resource" {
				a.Area = "demographics"
			}
			s, err := m.Settle(a, res, proxy.Short([]byte(row.body)))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range s.Links {
				got = append(got, row.body[l.From:l.To], l.Address)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
