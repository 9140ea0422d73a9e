package hospital

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func day() time.Time { return time.Date(2026, 11, 22, 15, 4, 5, 0, time.UTC) }

func TestSameSeedSameHospital(t *testing.T) {
	a, b := New(7, day()), New(7, day())
	if d := cmp.Diff(a, b, cmpopts.IgnoreUnexported(Hospital{})); d != "" {
		t.Errorf("two hospitals of one seed differ:\n%s", d)
	}
	if cmp.Equal(a.Patients, New(8, day()).Patients) {
		t.Error("another seed gave the same patients")
	}
}

func TestNobodyIsReal(t *testing.T) {
	h := New(1, day())
	seen := map[string]bool{}
	number := func(who, n string) {
		check, ok := checkDigit(n[:9])
		if len(n) != 10 || !strings.HasPrefix(n, "999") || !ok || n[9] != byte('0'+check) {
			t.Errorf("%s: NHS number %q is not a valid number of the 999 range", who, n)
		}
	}
	for _, p := range h.Patients {
		number(p.ID, p.NHSNumber)
		if seen[p.NHSNumber] {
			t.Errorf("%s: NHS number used twice", p.ID)
		}
		seen[p.NHSNumber] = true
		if !strings.HasPrefix(p.Address.Postcode, "ZZ99 ") || !strings.HasPrefix(p.Phone, "07700 900") {
			t.Errorf("%s: address or telephone could be real: %v %s", p.ID, p.Address, p.Phone)
		}
	}
	for _, s := range h.Staff {
		if !s.Machine() {
			number(s.Person, s.NHSNumber)
		}
	}
}

func TestCheckDigit(t *testing.T) {
	type digit struct {
		Check int
		OK    bool
	}
	for digits, want := range map[string]digit{
		"943476591": {9, true},
		"401023213": {7, true},
		"999000000": {10, false}, // a digit of ten does not exist: the number is never issued
	} {
		check, ok := checkDigit(digits)
		if d := cmp.Diff(want, digit{check, ok}); d != "" {
			t.Errorf("checkDigit(%s):\n%s", digits, d)
		}
	}
}

func TestHospitalIsWhole(t *testing.T) {
	h := New(1, day())
	if len(h.Patients) < 300 || len(h.Staff) < 55 {
		t.Fatalf("%d patients and %d staff", len(h.Patients), len(h.Staff))
	}
	for _, role := range []string{
		Nurse, Doctor, AlliedHealth, Pharmacist, Receptionist, WardClerk, MedicalSecretary,
		PrivacyOfficer, SecurityAnalyst, SafetyOfficer, SystemAdministrator,
	} {
		if len(h.WithRole(role)) == 0 {
			t.Errorf("nobody is a %s", role)
		}
	}
	if n := len(slices.DeleteFunc(slices.Clone(h.Staff), func(s Staff) bool { return !s.Machine() })); n != 1 {
		t.Errorf("%d machine clients, want 1", n)
	}
	for _, w := range h.Wards {
		if w.Kind == "inpatient" && len(h.OnWard(w.ID, day())) != w.Beds {
			t.Errorf("%s: %d patients, want %d", w.ID, len(h.OnWard(w.ID, day())), w.Beds)
		}
	}
	for person, patients := range h.Households {
		s, _ := h.Person(person)
		for _, id := range patients {
			p, ok := h.Patient(id)
			if !ok || p.Name.Family != s.Name.Family || p.Address != *s.Address {
				t.Errorf("%s and %s are no household", person, id)
			}
		}
	}
}

func TestOpenKeepsTheDay(t *testing.T) {
	dir := t.TempDir()
	first, err := Open(dir, 3, day())
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, 3, day().Add(72*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(first, again, cmpopts.IgnoreUnexported(Hospital{})); d != "" {
		t.Errorf("reopened three days later:\n%s", d)
	}
	if _, err := Open(dir, 4, day()); !errors.Is(err, ErrSeed) {
		t.Errorf("another seed: %v, want ErrSeed", err)
	}
}

func TestFilesHaveTheRequiredFields(t *testing.T) {
	h := New(1, day())
	for name, c := range map[string]struct {
		write  func(*bytes.Buffer) error
		rows   int
		fields []string
	}{
		"staff":    {func(b *bytes.Buffer) error { return h.WriteStaff(b) }, len(h.Staff), []string{"person", "roles"}},
		"patients": {func(b *bytes.Buffer) error { return h.WritePatients(b) }, len(h.Patients), []string{"patient"}},
		"care":     {func(b *bytes.Buffer) error { return h.WriteCare(b) }, len(h.Care), []string{"patient", "kind", "start"}},
		"rota":     {func(b *bytes.Buffer) error { return h.WriteRota(b) }, len(h.Rota), []string{"person", "start", "end"}},
	} {
		var buf bytes.Buffer
		if err := c.write(&buf); err != nil {
			t.Fatal(err)
		}
		rows := bytes.Split(bytes.TrimSpace(buf.Bytes()), []byte("\n"))
		if len(rows) != c.rows {
			t.Errorf("%s: %d lines, want %d", name, len(rows), c.rows)
		}
		for i, row := range rows {
			var m map[string]any
			if err := json.Unmarshal(row, &m); err != nil {
				t.Fatalf("%s:%d: %v", name, i+1, err)
			}
			for _, f := range c.fields {
				if m[f] == nil || m[f] == "" {
					t.Errorf("%s:%d: no %s", name, i+1, f)
				}
			}
		}
	}
}
