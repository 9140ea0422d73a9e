package feeds_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit/feeds"
	"github.com/matron-epr/matron/audit/intake"
)

func TestProtected(t *testing.T) {
	const file = `{"patient":"P1","nhs_number":"9990000018","name":{"family":"Example"},"flags":["vip","sealed"]}
{"patient":"P2","died":"2026-11-01","merged_into":"P1"}
{"patient":"","flags":["vip"]}
{"patient":"P3","flags":["royal"]}
{"patient":"P4","flags":"vip"}
{"patient":"P5","nhs_number":"9990000019"}
not JSON
{"patient":"P6"}
`
	var got []feeds.Protected
	var bad []int
	r := feeds.Reader{Reject: func(r intake.Reject) error { bad = append(bad, r.Line); return nil }}
	feed, err := r.Protected(strings.NewReader(file), func(p feeds.Protected) error { got = append(got, p); return nil })
	want := []feeds.Protected{
		{ID: "P1", NHSNumber: "9990000018", Flags: []string{"vip", "sealed"}},
		{ID: "P2", MergedInto: "P1", Flags: []string{"deceased"}},
		{ID: "P6"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if !slices.Equal(bad, []int{3, 4, 5, 6, 7}) || feed.Rejected != 5 || feed.Rows != 3 {
		t.Errorf("rejected %v, %+v", bad, feed)
	}
	mapped := feeds.Reader{Mapping: &feeds.Mapping{Columns: map[string]string{"patient": "HOSPITAL_NO", "flags": "FLAGS"}}}
	got = nil
	_, err = mapped.Protected(strings.NewReader("HOSPITAL_NO,FLAGS\nP1,vip;s-flag\n"), func(p feeds.Protected) error { got = append(got, p); return nil })
	if diff := cmp.Diff([]feeds.Protected{{ID: "P1", Flags: []string{"vip", "s-flag"}}}, got); err != nil || diff != "" {
		t.Errorf("CSV: %v %s", err, diff)
	}
	if _, err = r.Protected(strings.NewReader(file), func(feeds.Protected) error { return fmt.Errorf("enough") }); err == nil {
		t.Error("whoever takes the lines cannot stop")
	}
}

func TestStaffNumbers(t *testing.T) {
	const file = `{"person":"S1","roles":["nurse"],"nhs_number":"9990000018"}
{"person":"S2","roles":["nurse"]}
{"nhs_number":"9990000018"}
{"person":"S3","nhs_number":"12"}
`
	var got []string
	feed, err := feeds.Reader{}.StaffNumbers(strings.NewReader(file), func(n string) error { got = append(got, n); return nil })
	if err != nil || !slices.Equal(got, []string{"9990000018"}) || feed.Rejected != 2 {
		t.Errorf("%v %v %+v", got, err, feed)
	}
}
