package audit_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
)

// fill sets every text and list of a record with fill's answer for its name.
func fill(r *audit.Record, text func(field string) string, items func(field string) []string) {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Name, v.Field(i)
		switch {
		case name == "Site" || name == "Source":
			field.SetString("RBA")
		case field.Kind() == reflect.String:
			field.SetString(text(name))
		case field.Kind() == reflect.Uint64:
			field.SetUint(1<<64 - 1)
		case field.Type() == reflect.TypeFor[[]string]():
			field.Set(reflect.ValueOf(items(name)))
		}
	}
}

func TestNoRecordIsLongerThanABundleHolds(t *testing.T) {
	many := func(item string, n int) func(string) []string {
		return func(string) []string {
			list := make([]string, n)
			for i := range list {
				list[i] = item
			}
			return list
		}
	}
	for name, row := range map[string]struct {
		text  string
		items func(string) []string
	}{
		"long texts":        {strings.Repeat("x", 1<<20), many("role", 1)},
		"long characters":   {strings.Repeat("\U0001F3E5", 1<<18), many("role", 1)},
		"no characters":     {strings.Repeat("\x80", 1<<20), many("role", 1)},
		"many items":        {"x", many("role", 100_000)},
		"many empty items":  {"x", many("", 1_000_000)},
		"one enormous item": {"x", many(strings.Repeat("x", 1<<20), 2)},
		"everything":        {strings.Repeat("x", 1<<20), many("a role of the hospital", 100_000)},
	} {
		var r audit.Record
		fill(&r, func(string) string { return row.text }, row.items)
		shared, before := r.Roles, len(r.Roles)
		r.Bound()
		if got := len(r.MarshalCanonical()); got > audit.MaxBytes {
			t.Errorf("%s: %d bytes", name, got)
		}
		if len(shared) != before || shared[0] != row.items("")[0] {
			t.Errorf("%s: a list of somebody else's was changed", name)
		}
		again := r
		again.Bound()
		if diff := cmp.Diff(r, again); diff != "" {
			t.Errorf("%s: shortened twice: %s", name, diff)
		}
	}
}

func TestWhatFitsIsLeftAlone(t *testing.T) {
	var r audit.Record
	fill(&r, func(field string) string {
		switch field {
		case "Target":
			return strings.Repeat("/", audit.MaxTarget)
		case "Query":
			return strings.Repeat("q", audit.MaxQuery)
		case "Patient", "NHSNumber", "ResourceID", "ResourceVersion", "Screen", "UserSub", "Person":
			return strings.Repeat("é", audit.MaxID/2)
		}
		return strings.Repeat("é", audit.MaxField/2)
	}, func(string) []string { return []string{strings.Repeat("r", 500), "", "nurse"} })
	want := r
	r.Bound()
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
}

func TestShortenedListsSaySo(t *testing.T) {
	r := audit.Record{Roles: make([]string, 1000), UserAgent: strings.Repeat("é", 200) + "x"}
	for i := range r.Roles {
		r.Roles[i] = "ward-clerk"
	}
	r.Bound()
	if n := len(r.Roles); n != 471 || r.Roles[n-1] != "and 530 more" || r.UserAgent != strings.Repeat("é", 128) {
		t.Errorf("%d roles, the last is %q; user agent %q", n, r.Roles[n-1], r.UserAgent)
	}
}
