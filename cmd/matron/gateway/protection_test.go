package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/policy/care"
	"github.com/matron-epr/matron/policy/protection"
	"github.com/matron-epr/matron/proxy"
)

// What the lists and the register say of several patients is one set of classes, the
// list of nobody else is changed by it, and one that is still read says nothing.
// hazard:GW-11 control:C-87
func TestProtectionByListsAndRegister(t *testing.T) {
	b := protection.New()
	for _, p := range []protection.Patient{{ID: "P1", Classes: []string{"sealed"}}, {ID: "P2", Classes: []string{"vip"}}} {
		if err := b.AddPatient(p); err != nil {
			t.Fatal(err)
		}
	}
	g := &Gateway{protected: &protected{}, care: &careService{register: care.New(care.Windows{})}}
	g.protected.list.Store(b.Build())
	g.authorities.Store(&map[string]string{"epr": "RZZ"})
	at := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	for id, flags := range map[string]care.Flags{"P2": care.VIP, "P3": care.Protected | care.Deceased} {
		g.care.register.Apply(care.Message{{
			Kind: care.Flag, Patient: []care.ID{{Authority: "RZZ", Value: id}}, Source: "PAS", Control: id, At: at,
			Flags: flags, Said: care.VIP | care.Protected | care.Deceased,
		}})
	}
	check := func(app, want string, ids ...string) {
		t.Helper()
		var patients []proxy.Patient
		for _, id := range ids {
			patients = append(patients, proxy.Patient{ID: id})
		}
		s := g.sensitivity(app, patients)
		if got := strings.Join(s.Classes, " "); !s.Known || got != want {
			t.Errorf("%s %v: %t %q, want %q", app, ids, s.Known, got, want)
		}
	}
	check("epr", "", "P3")
	g.care.loaded.Store(true)
	check("epr", "deceased s-flag", "P3")
	check("epr", "vip", "P2")
	check("epr", "deceased s-flag sealed vip", "P1", "P2", "P3", "P4")
	check("epr", "sealed", "P1")
	check("another", "sealed", "P1", "P3")
	check("epr", "", "P4")
	check("epr", "")
	g.protected.list.Store(nil)
	if s := g.sensitivity("epr", []proxy.Patient{{ID: "P3"}}); s.Known || len(s.Classes) != 2 {
		t.Errorf("%+v", s)
	}
}

func BenchmarkProtection(b *testing.B) {
	build := protection.New()
	if err := build.AddPatient(protection.Patient{ID: "P1", Classes: []string{"sealed"}}); err != nil {
		b.Fatal(err)
	}
	g := &Gateway{protected: &protected{}}
	g.protected.list.Store(build.Build())
	patients := []proxy.Patient{{ID: "P1", NHSNumber: "9990000018"}}
	b.ReportAllocs()
	for b.Loop() {
		if len(g.sensitivity("epr", patients).Classes) != 1 {
			b.Fatal("not protected")
		}
	}
}
