package feeds_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/matron-epr/matron/audit/feeds"
	"github.com/matron-epr/matron/audit/intake"
	"github.com/matron-epr/matron/audit/pseudonym"
)

func hasher(t testing.TB) feeds.Hasher {
	t.Helper()
	h, err := feeds.NewHasher(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// corpus holds lines of each feed: good ones, then "!" and bad ones with the
// reason that they get. A schema cannot know what a reason with "~" tells.
func corpus() map[feeds.Kind]string {
	return map[feeds.Kind]string{
		feeds.StaffFeed: `{"person":"a","roles":["nurse"],"name":{"family":"O'Testby","given":"Ada"},"wards":["ASH"],"manager":"b","start":"2020-01-01","date_of_birth":"1980-02-03","sex":"female","nhs_number":"999 000 0069","address":{"line":"1 Fable Close","postcode":"ZZ99 1AA"},"registration":{"body":"NMC","number":"12A3456E"},"kind":"bank","shoe_size":41}
{"person":"b","roles":["doctor"],"name":"Testby, Ada","valid_from":"2026-01-01","valid_to":null,"kind":""}
!person: required and not there!{"roles":["nurse"]}
!roles: required and not there!{"person":"c"}
!nhs_number: not a valid NHS number!{"person":"c","roles":["nurse"],"nhs_number":"12345"}
!~nhs_number: not a valid NHS number!{"person":"c","roles":["nurse"],"nhs_number":"1234567890"}
!valid_from: not a day written as YYYY-MM-DD; kind: not one of the kinds!{"person":"c","roles":["nurse"],"valid_from":"yesterday","kind":"ghost"}
!~end: ends before it starts!{"person":"c","roles":["nurse"],"start":"2026-02-02","end":"2026-01-01"}
!roles: a text where another kind of value is wanted!{"person":"c","roles":"nurse"}
!~the same field twice!{"person":"c","person":"d","roles":["nurse"]}
!~not one JSON object: mistake at byte 1 of the line!not JSON`,
		feeds.RotaFeed: `{"person":"a","start":"2026-09-01T07:00:00+01:00","end":"2026-09-01T19:30:00+01:00","ward":"ASH"}
{"person":"a","start":"2026-09-02T00:00:00Z","end":"2026-09-09T00:00:00Z","kind":"leave"}
!start: required and not there; end: required and not there!{"person":"a"}
!start: not a time of RFC 3339 with its offset!{"person":"a","start":"2026-09-01 07:00","end":"2026-09-01T19:30:00Z"}
!~end: ends before it starts!{"person":"a","start":"2026-09-01T07:00:00Z","end":"2026-09-01T06:00:00Z"}
!kind: not one of the kinds!{"person":"a","start":"2026-09-01T07:00:00Z","end":"2026-09-01T08:00:00Z","kind":"party"}`,
		feeds.PatientsFeed: `{"patient":"p","nhs_number":"9990000069","name":{"family":"Mockham","given":"Una"},"date_of_birth":"1990-01-02","address":{"line":"2, fable close","postcode":"zz991aa"},"phone":"+44 7700 900123","next_of_kin":[{"name":"Ada O’Testby","phone":"07700 900123","relationship":"spouse"}],"flags":["vip","staff"],"title":"Dame"}
{"patient":"q","merged_into":"p","died":"2026-01-01"}
!patient: required and not there!{"flags":[]}
!flags: not one of the kinds!{"patient":"r","flags":["famous"]}`,
		feeds.CareFeed: `{"patient":"p","kind":"inpatient","start":"2026-09-01T09:00:00Z","ward":"ASH","bed":"ASH-01","people":["a"],"visit":"V1"}
{"patient":"p","kind":"result","start":"2026-09-01T09:00:00Z","end":"2026-09-01T09:00:00Z","evidence":"lab:1"}
!patient: required and not there; start: required and not there; kind: not one of the kinds!{"kind":"holiday"}`,
		feeds.DevicesFeed: `{"device":"PC-1","ward":"ASH","kind":"desk"}
{"device":"COW-1","ward":"ASH","from":"2026-09-01T09:00:00Z","to":"2026-09-02T09:00:00Z"}
!device: required and not there!{"ward":"ASH"}`,
		feeds.LabelsFeed: `{"person":"a","day":"2026-09-01","kind":"own-record","patient":"p"}
!person: required and not there; day: required and not there; kind: required and not there!{"patient":"p"}
!day: not a day written as YYYY-MM-DD!{"person":"a","day":"1 September","kind":"vip"}`,
	}
}

type result struct {
	Rows    int
	Feed    feeds.Feed
	Rejects []intake.Reject
	Kept    string
}

// readAny reads a feed of any kind.
func readAny(t testing.TB, kind feeds.Kind, in io.Reader, m *feeds.Mapping) result {
	t.Helper()
	var out result
	r := feeds.Reader{Hasher: hasher(t), Mapping: m, Reject: func(j intake.Reject) error { out.Rejects = append(out.Rejects, j); return nil }}
	var err error
	note := func(n int, f feeds.Feed, kept string) { out.Rows, out.Feed, out.Kept = n, f, kept }
	switch kind {
	case feeds.StaffFeed:
		rows, f, e := r.Staff(in)
		note(len(rows), f, fmt.Sprintf("%+v", rows))
		err = e
	case feeds.RotaFeed:
		rows, f, e := r.Rota(in)
		note(len(rows), f, fmt.Sprintf("%+v", rows))
		err = e
	case feeds.PatientsFeed:
		rows, f, e := r.Patients(in)
		note(len(rows), f, fmt.Sprintf("%+v", rows))
		err = e
	case feeds.CareFeed:
		rows, f, e := r.Care(in)
		var text strings.Builder
		for i := range rows.Len() {
			fmt.Fprintf(&text, "%+v", rows.At(i))
		}
		note(rows.Len(), f, text.String())
		err = e
	case feeds.DevicesFeed:
		rows, f, e := r.Devices(in)
		note(len(rows), f, fmt.Sprintf("%+v", rows))
		err = e
	case feeds.LabelsFeed:
		rows, f, e := r.Labels(in)
		note(len(rows), f, fmt.Sprintf("%+v", rows))
		err = e
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLinesAndSchemasAgree reads every line of the corpus: good ones go in, bad
// ones get their reason, and the published schema says the same of each.
func TestLinesAndSchemasAgree(t *testing.T) {
	for kind, text := range corpus() {
		schema := compile(t, kind)
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			want := ""
			if strings.HasPrefix(line, "!") {
				parts := strings.SplitN(line, "!", 3)
				want, line = parts[1], parts[2]
			}
			got := readAny(t, kind, strings.NewReader(line), nil)
			reason := ""
			if len(got.Rejects) > 0 {
				reason = strings.ReplaceAll(got.Rejects[0].Reason, "\n", "; ")
			}
			if reason != strings.TrimPrefix(want, "~") || got.Rows+len(got.Rejects) != 1 {
				t.Errorf("%s %s\nreason %q, want %q", kind, line, reason, want)
			}
			if strings.HasPrefix(want, "~") {
				continue
			}
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
			if err == nil {
				err = schema.Validate(value)
			}
			if (err == nil) != (want == "") {
				t.Errorf("%s %s\nschema: %v, reader: %q", kind, line, err, reason)
			}
		}
	}
}

func compile(t *testing.T, kind feeds.Kind) *jsonschema.Schema {
	t.Helper()
	text, err := feeds.Schema(kind)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(string(kind)+".json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(string(kind) + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRestGoesIn: bad lines have their numbers, and the rest is there.
func TestRestGoesIn(t *testing.T) {
	long := `{"person":"` + strings.Repeat("x", 1<<20) + `","roles":["nurse"]}`
	got := readAny(t, feeds.StaffFeed, strings.NewReader("{\"person\":\"a\",\"roles\":[\"nurse\"],\"hat\":1}\n\nnot JSON\n"+long+
		"\n{\"person\":\"b\",\"roles\":[\"nurse\"],\"hat\":2,\"nickname\":\"Testy\"}"), nil)
	if d := cmp.Diff([]intake.Reject{
		{Line: 3, Reason: "not one JSON object: mistake at byte 1 of the line"}, {Line: 4, Reason: "the line is longer than 1 MiB"},
	}, got.Rejects); d != "" {
		t.Errorf("rejects:\n%s", d)
	}
	if d := cmp.Diff(feeds.Feed{Kind: feeds.StaffFeed, Rows: 2, Rejected: 2, Unknown: []string{"hat", "nickname"}}, got.Feed); d != "" {
		t.Errorf("feed:\n%s", d)
	}
	if !strings.Contains(got.Kept, `"hat":2`) || strings.Contains(got.Kept, "Testy") {
		t.Errorf("unknown fields: %s", got.Kept)
	}
}

// TestNothingIsKeptInClear looks for every name, address and number in what the
// readers return.
func TestNothingIsKeptInClear(t *testing.T) {
	for kind, text := range corpus() {
		kept := strings.ToLower(readAny(t, kind, strings.NewReader(text), nil).Kept)
		for _, clear := range []string{"testby", "mockham", "fable", "zz99", "9990000069", "7700", "900123", "12a3456e"} {
			if strings.Contains(kept, clear) {
				t.Errorf("%s: %q is kept", kind, clear)
			}
		}
	}
}

// TestHowNamesAreCompared: the same person is the same, however a list writes it.
func TestHowNamesAreCompared(t *testing.T) {
	r := feeds.Reader{Hasher: hasher(t)}
	staff, _, err := r.Staff(strings.NewReader(corpus()[feeds.StaffFeed]))
	if err != nil {
		t.Fatal(err)
	}
	patients, _, err := r.Patients(strings.NewReader(corpus()[feeds.PatientsFeed]))
	if err != nil {
		t.Fatal(err)
	}
	nurse, patient := staff[0], patients[0]
	for what, same := range map[string]bool{
		"NHS number":           nurse.NHS.Same(patient.NHS),
		"next of kin by name":  nurse.Name.Same(patient.Kin[0].Name),
		"postcode unit":        nurse.Unit.Same(patient.Unit),
		"postcode sector":      nurse.Sector.Same(patient.Sector),
		"phone":                patient.Phone.Same(patient.Kin[0].Phone),
		"another house is not": !nurse.Address.Same(patient.Address),
		"a sector is no unit":  pseudonym.Hash(nurse.Unit) != pseudonym.Hash(nurse.Sector),
		"unknown is not":       !staff[1].NHS.Same(staff[1].NHS),
	} {
		if !same {
			t.Error(what)
		}
	}
	if got := hasher(t).Find(patients, "999 000 0069"); got != "p" {
		t.Errorf("found %q", got)
	}
}

// TestDuplicatesAndContradictionsAreCounted, and neither is lost.
func TestDuplicatesAndContradictionsAreCounted(t *testing.T) {
	for name, row := range map[string]struct {
		kind feeds.Kind
		text string
		want feeds.Feed
	}{
		"two wards at once": {
			feeds.RotaFeed, `{"person":"a","start":"2026-09-01T07:00:00Z","end":"2026-09-01T19:00:00Z","ward":"ASH"}
{"person":"a","start":"2026-09-01T12:00:00Z","end":"2026-09-01T15:00:00Z","ward":"ELM"}
{"person":"a","start":"2026-09-01T07:00:00Z","end":"2026-09-01T19:00:00Z","ward":"ASH"}
{"person":"a","start":"2026-09-01T19:00:00Z","end":"2026-09-01T20:00:00Z","ward":"ELM"}`,
			feeds.Feed{Rows: 3, Duplicates: 1, Contradictions: 1, From: at("2026-09-01T07:00:00Z"), Until: at("2026-09-01T20:00:00Z")},
		},
		"two beds at once": {
			feeds.CareFeed, `{"patient":"p","kind":"inpatient","start":"2026-09-01T07:00:00Z","ward":"ASH"}
{"patient":"p","kind":"inpatient","start":"2026-09-02T07:00:00Z","ward":"ELM"}
{"patient":"p","kind":"order","start":"2026-09-03T07:00:00Z","ward":"OAK"}`,
			feeds.Feed{Rows: 3, Contradictions: 1, From: at("2026-09-01T07:00:00Z"), Until: at("2026-09-03T07:00:00Z")},
		},
		"the last line about a patient": {feeds.PatientsFeed, `{"patient":"p","flags":["vip"]}
{"patient":"p"}
{"patient":"q"}`, feeds.Feed{Rows: 2, Contradictions: 1}},
		"two roles at once": {feeds.StaffFeed, `{"person":"a","roles":["nurse"],"valid_to":"2026-05-01"}
{"person":"a","roles":["doctor"],"valid_from":"2026-05-01"}
{"person":"b","roles":["nurse"],"valid_to":"2026-04-30"}
{"person":"b","roles":["doctor"],"valid_from":"2026-05-01"}`, feeds.Feed{Rows: 4, Contradictions: 1}},
		"a workstation moved": {feeds.DevicesFeed, `{"device":"d","ward":"ASH","to":"2026-09-01T07:00:00Z"}
{"device":"d","ward":"ELM","from":"2026-09-01T07:00:00Z"}`, feeds.Feed{Rows: 2}},
	} {
		row.want.Kind = row.kind
		got := readAny(t, row.kind, strings.NewReader(row.text), nil)
		got.Feed.Rows = got.Rows
		if d := cmp.Diff(row.want, got.Feed); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// TestMissingAndLateFeedsAreSaid.
// hazard:GW-28 control:C-216
func TestMissingAndLateFeedsAreSaid(t *testing.T) {
	c := feeds.Context{
		Staff: []feeds.Staff{}, Rota: []feeds.Shift{{Person: "ghost"}}, Care: feeds.CareOf(),
		About: map[feeds.Kind]feeds.Feed{feeds.RotaFeed: {Until: at("2026-09-01T12:00:00Z")}},
	}
	now := at("2026-09-03T12:00:00Z")
	for want, got := range map[string]string{
		"":                                c.NotEvaluated(now, feeds.StaffFeed, feeds.CareFeed),
		"not evaluated: no patients feed": c.NotEvaluated(now, feeds.PatientsFeed, feeds.StaffFeed),
		"not evaluated: no devices feed, no patients feed":            c.NotEvaluated(now, feeds.PatientsFeed, feeds.DevicesFeed, feeds.RotaFeed),
		"not evaluated: the rota feed ends on 1 September 2026 12:00": c.NotEvaluated(now, feeds.RotaFeed),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := c.NotEvaluated(at("2026-09-02T12:00:00Z"), feeds.RotaFeed); got != "" {
		t.Errorf("a day late: %q", got)
	}
	if c.Match(); c.About[feeds.RotaFeed].Unmatched != 1 {
		t.Error("a shift of nobody was not noticed")
	}
}

// TestEmptyFileIsNotAMissingOne, compressed or not.
func TestEmptyFileIsNotAMissingOne(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{"", string(enc.EncodeAll(nil, nil)), "\n"} {
		staff, _, err := feeds.Reader{Hasher: hasher(t)}.Staff(strings.NewReader(in))
		if staff == nil || len(staff) != 0 || err != nil {
			t.Errorf("%v, %v", staff, err)
		}
	}
	packed := enc.EncodeAll([]byte(corpus()[feeds.RotaFeed]), nil)
	if got := readAny(t, feeds.RotaFeed, bytes.NewReader(packed), nil); got.Rows != 2 {
		t.Errorf("%d rows of a compressed file", got.Rows)
	}
}

// TestCSV: columns become fields, lists and parts; what is not mapped is kept.
func TestCSV(t *testing.T) {
	m := &feeds.Mapping{
		Delimiter: ";", Separator: "|", Day: "DD/MM/YYYY", Ignore: []string{"Spare"},
		Columns: map[string]string{
			"patient": "MRN", "name.family": "Surname", "name.given": "Forename", "date_of_birth": "DOB", "flags": "Marks", "next_of_kin.name": "NOK",
			"next_of_kin.relationship": "Rel", "address.postcode": "PC", "address.line": "Addr",
		},
		Words: map[string]map[string]string{"flags": {"V": "vip"}},
	}
	if ps := m.Validate(feeds.PatientsFeed); len(ps) > 0 {
		t.Fatal(ps)
	}
	text := "MRN;Surname;Forename;DOB;Marks;NOK;Rel;PC;Addr;Spare;Weight\n" +
		"p;Mockham;Una;02/01/1990;V|staff;Ada O'Testby;spouse;ZZ99 1AA;2 Fable Close;x;70\n" +
		"q;Mockham\n" +
		"r;;;1990-01-02;;;;;;;\n"
	got := readAny(t, feeds.PatientsFeed, strings.NewReader(text), m)
	plain := readAny(t, feeds.PatientsFeed, strings.NewReader(`{"patient":"p","name":{"family":"Mockham","given":"Una"},"date_of_birth":"1990-01-02","address":{"line":"2 Fable Close","postcode":"ZZ99 1AA"},"next_of_kin":[{"name":"Ada O'Testby","relationship":"spouse"}],"flags":["vip","staff"],"Weight":"70"}`), nil)
	if d := cmp.Diff(plain.Kept, got.Kept); d != "" {
		t.Errorf("rows:\n%s", d)
	}
	if d := cmp.Diff([]intake.Reject{
		{Line: 3, Reason: "2 fields where the heading has 11"}, {Line: 4, Reason: "date_of_birth: does not fit the layout of the mapping"},
	}, got.Rejects); d != "" {
		t.Errorf("rejects:\n%s", d)
	}
	if _, _, err := (feeds.Reader{}).Patients(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "needs a mapping") {
		t.Errorf("without a mapping: %v", err)
	}
}

func TestMappingMistakesAreNamed(t *testing.T) {
	m := &feeds.Mapping{
		Delimiter: "ab", Columns: map[string]string{"shoe": "S"}, Words: map[string]map[string]string{"hat": {}}, Day: "DD.MM", Time: intake.Clock{Layout: "hh:mm"},
	}
	var got []string
	for _, p := range m.Validate(feeds.RotaFeed) {
		got = append(got, p.Path)
	}
	if d := cmp.Diff([]string{"delimiter", "columns.shoe", "words.hat", "columns", "columns", "columns", "time", "day"}, got); d != "" {
		t.Error(d)
	}
}

// FuzzImport: no line makes a reader fail, and what a reject says is never taken
// from the line.
func FuzzImport(f *testing.F) {
	for _, k := range slices.Sorted(maps.Keys(corpus())) {
		f.Add([]byte(corpus()[k]))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.HasPrefix(data, []byte{0x28, 0xb5, 0x2f, 0xfd}) || bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
			return
		}
		data = append([]byte("{}\n"), data...) // what does not begin like JSON is another error
		for _, kind := range feeds.Kinds() {
			for _, r := range readAny(t, kind, bytes.NewReader(data), nil).Rejects {
				if strings.ContainsFunc(r.Reason, func(c rune) bool { return c > unicode.MaxASCII }) || len(r.Reason) > 400 {
					t.Errorf("reason %q", r.Reason)
				}
			}
		}
	})
}
