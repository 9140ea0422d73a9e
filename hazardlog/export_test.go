package hazardlog_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/hazardlog"
)

// What is exported comes back with its history; what was altered does not.
func TestAnExportComesBack(t *testing.T) {
	b := sound(t)
	b.approve("1.0")
	h, _ := b.Find("GW-01")
	h.Harm = "A patient dies <soon> & suddenly."
	b.must(engineer(), b.change(hazardlog.Edit, h, "clearer"))
	text, err := b.Export(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := hazardlog.Import(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.Events(), got.Events()); diff != "" {
		t.Error(diff)
	}
	if got.State() != b.State() {
		t.Errorf("state %q", got.State())
	}
	for name, change := range map[string][2]string{
		"what readers see": {`"harm": "A patient dies`, `"harm": "Nobody dies`},
		"an event":         {`"why": "clearer"`, `"why": "nothing"`},
		"a rating":         {`"likelihood": "Very Low"`, `"likelihood": "Low"`},
		"the hash":         {`"sha256": "`, `"sha256": "0`},
		"another format":   {`export/1`, `export/2`},
		"unknown fields":   {`"state":`, `"more": 1, "state":`},
	} {
		bad := strings.Replace(string(text), change[0], change[1], 1)
		if bad == string(text) {
			t.Fatalf("%s: %q is not there", name, change[0])
		}
		if _, err := hazardlog.Import([]byte(bad)); !errors.Is(err, hazardlog.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A derived log has the same hazards with a line of descent, and nobody's ratings.
func TestADerivedLogIsScoredAnew(t *testing.T) {
	b := sound(t)
	b.must(engineer(), b.change(hazardlog.Raise, hazardlog.Transfer{ID: "T-01", Hazard: "GW-01", Condition: "Train staff", State: hazardlog.Offered}, ""))
	b.approve("1.4")
	changes, err := hazardlog.Derive(b.Log, "1.4", hazardlog.Head{Title: "Ours", StandardID: "dcb0160-3.2", Organisation: "Example Trust"})
	if err != nil {
		t.Fatal(err)
	}
	own := &book{t: t, Log: hazardlog.Begin("RBA")}
	own.must(engineer(), changes...)
	h, _ := own.Find("GW-01")
	if h.Residual.Owned() || h.Acceptance.Accepted || h.Residual.String() != "Major x Very Low = 2" {
		t.Errorf("%+v", h)
	}
	if o := h.Origin; o == nil || o.Log != "test" || o.ID != "GW-01" || o.Version != "1.4" || len(o.SHA256) != 64 {
		t.Errorf("origin %+v", o)
	}
	if own.Role != hazardlog.Deployer || own.Upstream == nil || own.Transfers[0].To != "Example Trust" || own.Approved() != nil {
		t.Errorf("%+v %+v", own.Head, own.Transfers)
	}
	if u := own.Upstream; u.SHA256 != hazardlog.Hash([]byte(snapshot(t, b.Log))) {
		t.Errorf("upstream %+v", u)
	}
}
