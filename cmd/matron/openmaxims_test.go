package main

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/cmd/matron/demo/openmaxims"
	"github.com/matron-epr/matron/cmd/matron/demo/openmaxims/attack"
)

// TestOpenMAXIMS puts the emulator of openMAXIMS behind the gateway, not a live
// instance: a nurse finds a patient, writes a note and prints, across a reload,
// and the record names patient and action each time.
// hazard:GW-08 control:C-83
func TestOpenMAXIMS(t *testing.T) {
	t.Parallel()
	const password = "demonstration-only"
	emulator := httptest.NewUnstartedServer(nil)
	address := "http://" + emulator.Listener.Addr().String() + openmaxims.Base
	s := newSite(t, fmt.Sprintf("- {name: openmaxims, prefix: %s, upstream: %q, map: openmaxims}\n", openmaxims.Base, address))
	epr, err := openmaxims.New(openmaxims.Config{
		Hospital: s.hospital, Password: password, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	emulator.Config.Handler = epr
	emulator.Start()
	t.Cleanup(emulator.Close)
	s.start()

	nurse := s.hospital.WithRole("nurse")[0]
	patient := s.hospital.Patients[30]
	c := &attack.Client{HTTP: s.enter(nurse.Person), Base: s.url + openmaxims.Base}
	ok := func(a attack.Answer, err error) attack.Answer {
		t.Helper()
		if err != nil || a.Message() != "" {
			t.Fatalf("%v: %s", err, a.Message())
		}
		return a
	}
	ok(c.Login(t.Context(), openmaxims.Username(nurse), password, ""))
	ok(c.OpenPatient(t.Context(), patient.ID))
	if line := s.reload(); !strings.Contains(line, "msg=reloaded") {
		t.Fatal(line)
	}
	ok(c.Menu(t.Context(), "Clinical Notes"))
	ok(c.Press(t.Context(), "New", ""))
	ok(c.Press(t.Context(), "Save", `<textbox id="a1030">Comfortable.</textbox>`))
	path, err := c.Print(t.Context(), "Patient Summary")
	if err != nil {
		t.Fatal(err)
	}
	if a := ok(c.Get(t.Context(), path)); !strings.HasPrefix(a.Body, "%PDF-") {
		t.Errorf("the report: %d", a.Status)
	}
	if a, err := c.Form(t.Context(), "/QueryRunner", "nativequery", "select surname from core_patient"); err != nil || a.Status != 403 {
		t.Errorf("the query servlet: %d %v", a.Status, err)
	}

	var got []string
	for _, a := range s.accesses(9, "who", "--patient", patient.ID) {
		got = append(got, a.Action+" "+a.Area+" "+a.Effect)
	}
	slices.Reverse(got)
	want := []string{
		"search demographics allow", "read demographics allow", "read demographics allow", "read notes allow", "create notes allow", "update notes allow",
		"print notes allow", "read notes allow", "read documents allow", "print documents allow", "print documents allow",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("oldest first (-want +got):\n%s", diff)
	}
	s.stop()
}
