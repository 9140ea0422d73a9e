package detect

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit/intake"
)

func TestRejectsAndUnknownFields(t *testing.T) {
	h := hasher(t)
	long := `{"person":"` + strings.Repeat("x", maxLine) + `","roles":["nurse"]}`
	staff, report, err := h.ReadStaff(strings.NewReader(strings.Join([]string{
		`{"person":"a","roles":["nurse"],"shoe_size":41,"colour":"red"}`,
		``,
		`{"person":"b"}`,
		`{"roles":["nurse"],"nhs_number":"1234567890"}`,
		`not JSON`,
		long,
		`{"person":"c","roles":["nurse"],"valid_from":"yesterday","kind":"ghost"}`,
		`{"person":"d","roles":["nurse"],"valid_from":"2026-02-02","valid_to":"2026-01-01"}`,
		`{"person":"e","roles":"nurse"}`,
		`{"person":"f","roles":["nurse"],"shoe_size":42}`, // and no line break after it
	}, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	var people []string
	for _, s := range staff {
		people = append(people, s.Person)
	}
	if d := cmp.Diff([]string{"a", "f"}, people); d != "" {
		t.Errorf("people:\n%s", d)
	}
	want := intake.Report{Unknown: []string{"colour", "shoe_size"}, Rejects: []intake.Reject{
		{Line: 3, Reason: "roles: required and not there"},
		{Line: 4, Reason: "person: required and not there\nnhs_number: not a valid NHS number"},
		{Line: 5, Reason: "not one JSON object with fields of the right kind"},
		{Line: 6, Reason: "the line is longer than 1 MiB"},
		{Line: 7, Reason: "valid_from: not a day written as YYYY-MM-DD\nkind: not one of the kinds"},
		{Line: 8, Reason: "valid_to: ends before it starts"},
		{Line: 9, Reason: "not one JSON object with fields of the right kind"},
	}}
	if d := cmp.Diff(want, report); d != "" {
		t.Errorf("report:\n%s", d)
	}
	_, report, err = h.ReadCare(strings.NewReader(`{"patient":"p","kind":"inpatient","start":"2026-01-01 09:00"}
{"kind":"holiday"}`))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]intake.Reject{
		{Line: 1, Reason: "start: not a time of RFC 3339 with its offset"},
		{Line: 2, Reason: "patient: required and not there\nstart: required and not there\nkind: not one of the kinds"},
	}, report.Rejects); d != "" {
		t.Errorf("care:\n%s", d)
	}
}

func TestAnEmptyFileIsNotAMissingOne(t *testing.T) {
	staff, _, err := hasher(t).ReadStaff(strings.NewReader(""))
	if staff == nil || len(staff) != 0 || err != nil {
		t.Errorf("%v, %v", staff, err)
	}
}

// TestNothingIsKeptInClear looks for every name, address and number in what the
// readers return.
func TestNothingIsKeptInClear(t *testing.T) {
	kept := strings.ToLower(cmp.Diff(Context{}, hospital(t)))
	for _, clear := range []string{"testby", "sampleton", "mockham", "fable", "zz99", "9990000069"} {
		if strings.Contains(kept, clear) {
			t.Errorf("%q is kept", clear)
		}
	}
}

// FuzzImport: no line makes a reader fail, and what a reject says is never taken
// from the line.
func FuzzImport(f *testing.F) {
	f.Add([]byte(staffFile))
	f.Add([]byte(patientsFile))
	f.Add([]byte(careFile))
	f.Add([]byte("{\"person\":1}\n\n{}"))
	h, err := NewHasher(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, a, errA := h.ReadStaff(bytes.NewReader(data))
		_, b, errB := h.ReadPatients(bytes.NewReader(data))
		_, c, errC := h.ReadCare(bytes.NewReader(data))
		if err := errors.Join(errA, errB, errC); err != nil {
			t.Fatal(err)
		}
		for _, report := range []intake.Report{a, b, c} {
			for _, r := range report.Rejects {
				if strings.ContainsFunc(r.Reason, func(c rune) bool { return c > unicode.MaxASCII }) || len(r.Reason) > 400 {
					t.Errorf("reason %q", r.Reason)
				}
			}
		}
	})
}
