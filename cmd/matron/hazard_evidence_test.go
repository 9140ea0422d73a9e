package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

// TestEvidenceOfARunningGateway measures indicators in the gateway: what is measured
// outlives a restart, a review that nobody has done contradicts a control, which opens one review and puts the rating in question on
// every list while the rating stays; and what was known is frozen under a signature.
func TestEvidenceOfARunningGateway(t *testing.T) {
	t.Parallel()
	s := newSite(t, fmt.Sprintf("- {name: fhir, prefix: /fhir, upstream: %q, map: fhir-r4}\n", serve(t, http.NotFoundHandler())))
	hazard := func(args ...string) string {
		t.Helper()
		return s.run(append(append([]string{"hazard"}, args...), "-c", s.config)...)
	}
	report := func() (r evidence.Report) {
		t.Helper()
		if err := json.Unmarshal([]byte(hazard("evidence", "--json")), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	indicator := func(id string) evidence.Indicator {
		t.Helper()
		for _, i := range report().Indicators {
			if i.ID == id {
				return i
			}
		}
		t.Fatalf("no indicator %s", id)
		return evidence.Indicator{}
	}
	measured := func(id string, want hazardlog.EvidenceState) {
		t.Helper()
		s.eventually(fmt.Sprintf("%s is %q", id, want), func() error {
			if i := indicator(id); i.State != want {
				return fmt.Errorf("%q: %s", i.State, i.Reason)
			}
			return nil
		})
	}
	if got := indicator("SPI-29"); got.State != hazardlog.NotMeasured {
		t.Errorf("before anything ran: %+v", got)
	}
	s.start()
	measured("SPI-05", hazardlog.Supported)
	measured("SPI-06", hazardlog.NotEnough)
	if got := indicator("SPI-16"); got.State != hazardlog.NotMeasured || got.Reason == "" {
		t.Errorf("what cannot be measured: %+v", got)
	}
	s.stop()
	if got := indicator("SPI-05"); got.State != hazardlog.Supported || got.Value == nil {
		t.Errorf("after a stop: %+v", got)
	}
	hazard("review", "--of", "bypass drill", "--due", "2026-01-02")
	s.start()
	s.eventually("one review is open", func() error {
		if n := strings.Count(hazard("list", "--json"), "C-70: its evidence is contradicted"); n != 1 {
			return fmt.Errorf("%d reviews", n)
		}
		return nil
	})
	for _, args := range [][]string{{"list"}, {"show", "GW-17"}, {"show", "GW-17", "--yaml"}, {"evidence"}} {
		if out := hazard(args...); !strings.Contains(strings.ToUpper(out), "IN QUESTION") || !strings.Contains(out, "C-70") || !strings.Contains(out, "Considerable") && args[0] != "evidence" {
			t.Errorf("%v: %.2000s", args, out)
		}
	}
	for _, args := range [][]string{{"list", "--json"}, {"export"}, {"show", "GW-17", "--json"}} {
		if out := hazard(args...); !strings.Contains(out, `"in_question":`) {
			t.Errorf("%v: %.300s", args, out)
		}
	}
	s.stop()
	s.start()
	measured("SPI-38", hazardlog.Contradicted)
	measured("SPI-05", hazardlog.Supported)
	if n := strings.Count(hazard("list", "--json"), "C-70: its evidence is contradicted"); n != 1 {
		t.Errorf("%d reviews after a restart", n)
	}
	s.stop()
	statusNeedsEvidence(t, s)
}

// statusNeedsEvidence calls a control implemented with nothing to show for it, and
// with a document.
func statusNeedsEvidence(t *testing.T, s *site) {
	t.Helper()
	sheet := s.run("hazard", "show", "GW-18", "--yaml", "-c", s.config)
	i := strings.Index(sheet, "id: C-71")
	text := sheet[:i] + strings.Replace(sheet[i:], "status: proposed", "status: implemented", 1)
	s.write("GW-18.yaml", text)
	edit := []string{"hazard", "edit", "GW-18", "--file", filepath.Join(s.dir, "GW-18.yaml"), "--why", "built", "-c", s.config}
	out, err := exec.CommandContext(t.Context(), binary(t), edit...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "C-71 is not implemented: that it is there is not measured. No results of tests came with this program") {
		t.Errorf("without evidence: %v %s", err, out)
	}
	s.write("GW-18.yaml", sheet[:i]+strings.Replace(sheet[i:], "status: proposed", `status: implemented
    documents:
    - {slot: implemented, title: Report of the build, link: "https://intranet.example.org/build.pdf", on: 2026-01-02, review: 2099-01-02}`, 1))
	if out := s.run(edit...); !strings.Contains(out, "C-71") || !strings.Contains(out, "implemented") {
		t.Errorf("with a document: %s", out)
	}
	if out := s.run("hazard", "evidence", "C-71", "-c", s.config); !strings.Contains(out, "Implemented: supported. Report of the build, of 2 January 2026.") {
		t.Errorf("with a document: %s", out)
	}
}
