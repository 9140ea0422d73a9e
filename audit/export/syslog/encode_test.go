package syslog_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/export/syslog"
)

func at() time.Time { return time.Date(2026, 11, 3, 9, 30, 0, 123456000, time.UTC) }

// visit is a nurse who reads a result.
func visit(seq uint64) audit.Record {
	return audit.Record{
		Site: "RBA", Source: "gw1", Seq: seq, Time: at(), Kind: audit.KindDecision, Request: "01J", App: "fhir", Method: "GET",
		Target: "/fhir/Observation/7", Action: "read", Area: "results", Resource: "Observation", ResourceID: "7",
		Patient: "P0042", NHSNumber: "9990000018", PatientSource: audit.SourceURL, Certainty: audit.Authoritative,
		UserIssuer: "https://id.example.org", UserSub: "sub-7", Person: "S0007", UserName: "Nia O'Brien", Roles: []string{"R8001"},
		ClientIP: "10.1.2.3", Device: "WARD7-PC014", Effect: "allow", Basis: "ward:OBS1", Purpose: "TREAT", PolicyRev: "r1",
	}
}

func encoder(t testing.TB, size int) *syslog.Encoder {
	t.Helper()
	e, err := syslog.NewEncoder(syslog.EncoderConfig{Hostname: "gw1.example.org", ProcID: "4242", MaxMessage: size})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// wire is one frame taken apart.
type wire struct {
	pri, stamp, head, data string
	xml                    string
	octets                 int
}

// unframe takes the frames of RFC 5425 apart.
func unframe(b string) ([]wire, error) {
	var list []wire
	line := regexp.MustCompile(`(?s)^<(\d+)>1 (\S+) (\S+ \S+ \S+ \S+) (\[(?:[^\]\\]|\\.)*\]) ` + "\uFEFF" + `(<\?xml.*)$`)
	for b != "" {
		size, rest, ok := strings.Cut(b, " ")
		n, err := strconv.Atoi(size)
		if !ok || err != nil || n > len(rest) || size[0] == '0' {
			return nil, fmt.Errorf("frame length %q", size)
		}
		m := line.FindStringSubmatch(rest[:n])
		if m == nil {
			return nil, fmt.Errorf("not RFC 5424: %.200s", rest[:n])
		}
		list = append(list, wire{m[1], m[2], m[3], m[4], m[5], n})
		b = rest[n:]
	}
	return list, nil
}

func encode(t testing.TB, e *syslog.Encoder, r audit.Record) (wire, *node) {
	t.Helper()
	frames, err := unframe(string(e.Append(nil, r)))
	if err != nil || len(frames) != 1 {
		t.Fatalf("%d frames: %v", len(frames), err)
	}
	root, err := validate(frames[0].xml)
	if err != nil {
		t.Fatalf("%v\n%s", err, frames[0].xml)
	}
	return frames[0], root
}

func TestHeader(t *testing.T) {
	w, _ := encode(t, encoder(t, 0), visit(123))
	want := wire{
		pri: "85", stamp: "2026-11-03T09:30:00.123456Z", head: "gw1.example.org matron 4242 DICOM+RFC3881",
		data: `[matron@32473 source="gw1" seq="123" kind="decision"]`, octets: w.octets, xml: w.xml,
	}
	if diff := cmp.Diff(want, w, cmp.AllowUnexported(wire{})); diff != "" {
		t.Error(diff)
	}
}

func TestHeaderFieldsStayWithinTheStandard(t *testing.T) {
	e, err := syslog.NewEncoder(syslog.EncoderConfig{Hostname: "my host é" + strings.Repeat("x", 300)})
	if err != nil {
		t.Fatal(err)
	}
	w, _ := encode(t, e, audit.Record{Source: `a"b\c]d` + "\n", Kind: audit.KindHeartbeat})
	host := strings.Fields(w.head)[0]
	if len(host) != 255 || !strings.HasPrefix(host, "my_host__xxx") || w.stamp != "-" {
		t.Errorf("%d octets %.20s, time %s", len(host), host, w.stamp)
	}
	if want := `[matron@32473 source="a\"b\\c\]d` + "\uFFFD" + `" seq="0" kind="heartbeat"]`; w.data != want {
		t.Errorf("%s\nwant %s", w.data, want)
	}
}

// TestMapping is the table in docs/audit-syslog.md.
func TestMapping(t *testing.T) {
	const dcm, own, rest = "DCM#", "Matron#", "http://terminology.hl7.org/CodeSystem/audit-event-type#rest"
	verb := func(v string) string { return "http://hl7.org/fhir/restful-interaction#" + v }
	access := func(action string) audit.Record { r := visit(1); r.Action = action; return r }
	with := func(r audit.Record, change func(*audit.Record)) audit.Record { change(&r); return r }
	bare := func(k audit.Kind) audit.Record { return audit.Record{Source: "gw1", Seq: 1, Time: at(), Kind: k} }
	for _, c := range []struct {
		name   string
		r      audit.Record
		event  string
		types  []string
		action string
		result string
		pri    string
	}{
		{"read", access("read"), dcm + "110110", []string{verb("read")}, "R", "0", "85"},
		{"create", access("create"), dcm + "110110", []string{verb("create")}, "C", "0", "85"},
		{"update", access("update"), dcm + "110110", []string{verb("update")}, "U", "0", "85"},
		{"delete", access("delete"), dcm + "110110", []string{verb("delete")}, "D", "0", "85"},
		{"search", access("search"), dcm + "110112", []string{verb("search")}, "E", "0", "85"},
		{"list", access("list"), dcm + "110112", []string{verb("search")}, "E", "0", "85"},
		{"print", access("print"), dcm + "110106", []string{own + "print"}, "R", "0", "85"},
		{"export", access("export"), dcm + "110106", []string{own + "export"}, "R", "0", "85"},
		{"unknown action", access(""), rest, []string{dcm + "110147"}, "E", "0", "85"},
		{"nobody's page", with(access("read"), func(r *audit.Record) { r.Patient, r.NHSNumber = "", "" }), rest, []string{verb("read")}, "R", "0", "85"},
		{"one patient more", with(access("read"), func(r *audit.Record) { r.Kind = audit.KindPatient }), dcm + "110110", []string{verb("read")}, "R", "0", "85"},
		{"denied", with(access("read"), func(r *audit.Record) { r.Effect = "deny" }), dcm + "110113", []string{dcm + "110132", dcm + "110147"}, "E", "8", "84"},
		{"no effect is a denial", with(access("read"), func(r *audit.Record) { r.Effect = "" }), dcm + "110113", []string{dcm + "110132", dcm + "110147"}, "E", "8", "84"},
		{"challenged", with(access("read"), func(r *audit.Record) { r.Effect = "challenge" }), dcm + "110113", []string{dcm + "110132", dcm + "110147"}, "E", "4", "84"},
		{"sent to sign in", with(access("read"), func(r *audit.Record) { r.Effect, r.UserSub, r.Person = "deny", "", "" }), dcm + "110113", []string{dcm + "110132", dcm + "110147"}, "E", "8", "85"},
		{"outcome", with(bare(audit.KindOutcome), func(r *audit.Record) { r.Outcome = "0" }), own + "outcome", nil, "E", "0", "85"},
		{"failed", with(bare(audit.KindOutcome), func(r *audit.Record) { r.Outcome, r.Error = "8", "upstream-down" }), own + "outcome", nil, "E", "8", "84"},
		{"sign-in", with(bare(audit.KindSignIn), func(r *audit.Record) { r.Outcome = "0" }), dcm + "110114", []string{dcm + "110122"}, "E", "0", "85"},
		{"sign-in refused", with(bare(audit.KindSignIn), func(r *audit.Record) { r.Outcome = "4" }), dcm + "110114", []string{dcm + "110122"}, "E", "4", "84"},
		{"step-up", bare(audit.KindStepUp), dcm + "110114", []string{dcm + "110122", own + "step-up"}, "E", "0", "85"},
		{"sign-out", bare(audit.KindSignOut), dcm + "110114", []string{dcm + "110123"}, "E", "0", "85"},
		{"break-glass", bare(audit.KindBreakGlassStart), dcm + "110113", []string{dcm + "110127"}, "E", "0", "84"},
		{"break-glass ends", bare(audit.KindBreakGlassEnd), dcm + "110113", []string{dcm + "110138"}, "E", "0", "85"},
		{"limit", bare(audit.KindLimit), dcm + "110113", []string{dcm + "110132", own + "limit"}, "E", "8", "84"},
		{"policy", bare(audit.KindPolicyChange), dcm + "110113", []string{dcm + "110129"}, "E", "0", "85"},
		{"configuration", bare(audit.KindConfigChange), dcm + "110113", []string{dcm + "110131"}, "E", "0", "85"},
		{"checkpoint gap", bare(audit.KindCheckpointGap), dcm + "110113", []string{own + "checkpoint-gap"}, "E", "8", "84"},
		{"start", bare(audit.KindStart), dcm + "110100", []string{dcm + "110120"}, "E", "0", "85"},
		{"stop", bare(audit.KindStop), dcm + "110100", []string{dcm + "110121"}, "E", "0", "85"},
		{"heartbeat", bare(audit.KindHeartbeat), dcm + "110100", []string{own + "heartbeat"}, "E", "0", "85"},
		{"hazard", bare(audit.KindHazard), own + "hazard", nil, "U", "0", "85"},
		{"bypass", bare(audit.KindBypass), dcm + "110113", []string{own + "bypass"}, "E", "0", "84"},
		{"major incident", bare(audit.KindIncident), dcm + "110113", []string{own + "incident"}, "E", "0", "84"},
		{"clock stepped", bare(audit.KindClock), dcm + "110113", []string{own + "clock"}, "E", "0", "84"},
		{"import", bare(audit.KindImport), dcm + "110107", nil, "C", "0", "85"},
		{"audit viewed", bare(audit.KindAuditViewed), dcm + "110101", nil, "R", "0", "85"},
		{"a kind to come", bare("new-kind"), own + "record", nil, "E", "0", "85"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, root := encode(t, encoder(t, 0), c.r)
			ei := root.all("EventIdentification")[0]
			got := []any{ei.codes("EventID"), ei.codes("EventTypeCode"), ei.attrs["EventActionCode"], ei.attrs["EventOutcomeIndicator"], w.pri}
			want := []any{[]string{c.event}, c.types, c.action, c.result, c.pri}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWhatAMessageOfItsKindDemands holds the tables of PS3.15 A.5.3 against the
// messages.
func TestWhatAMessageOfItsKindDemands(t *testing.T) {
	denied := visit(1)
	denied.Effect, denied.Reasons = "deny", []string{"no-relationship"}
	search := visit(1)
	search.Action, search.Query = "search", "name=\x00é"
	viewed := audit.Record{Source: "gw1", Kind: audit.KindAuditViewed, Time: at(), UserSub: "s", Person: "S1", Effect: "allow"}

	_, root := encode(t, encoder(t, 0), visit(1))
	ps := root.all("ActiveParticipant")
	if len(ps) != 3 || ps[0].attrs["UserID"] != "S0007" || ps[0].attrs["AlternativeUserID"] != "sub-7" || ps[0].attrs["UserIsRequestor"] != "true" {
		t.Errorf("participants %+v", ps)
	}
	if diff := cmp.Diff([]string{"DCM#110152", "DCM#110153"}, append(ps[1].codes("RoleIDCode"), ps[2].codes("RoleIDCode")...)); diff != "" {
		t.Error(diff)
	}
	if got := root.details("RFC-3881#2")["nhs_number"]; len(got) != 1 || got[0] != "9990000018" {
		t.Errorf("patient object: %v", got)
	}
	if got := root.details("Matron#record"); got["basis"][0] != "ward:OBS1" || got["kind"][0] != "decision" {
		t.Errorf("record object: %v", got)
	}

	_, root = encode(t, encoder(t, 0), denied)
	for i, p := range root.all("ActiveParticipant") {
		if (p.attrs["UserIsRequestor"] == "true") != (i == 0) {
			t.Errorf("alert: who performed must not be the requestor: %v", p.attrs)
		}
	}
	if got := root.details("RFC-3881#12")["Alert Description"]; len(got) != 1 || got[0] != "access deny: no-relationship" {
		t.Errorf("alert description %q", got)
	}

	_, root = encode(t, encoder(t, 0), search)
	for _, o := range root.all("ParticipantObjectIdentification") {
		if q := o.all("ParticipantObjectQuery"); len(q) == 1 && q[0].text != "bmFtZT0Aw6k=" {
			t.Errorf("query %q: must be the raw bytes", q[0].text)
		}
	}

	_, root = encode(t, encoder(t, 0), viewed)
	if o := root.all("ParticipantObjectIdentification")[0]; o.all("ParticipantObjectName")[0].text != "Security Audit Log" {
		t.Errorf("audit log used: %+v", o)
	}
}

func TestTextThatXMLCannotCarry(t *testing.T) {
	r := visit(1)
	r.UserName = "a\x00b\x1bc\uFFFEd\xffe&<>\"'\t\r\nZoë 😀"
	_, root := encode(t, encoder(t, 0), r)
	want := "a\uFFFDb\uFFFDc\uFFFDd\uFFFDe&<>\"'\t\r\nZoë 😀"
	if got := root.all("ActiveParticipant")[0].attrs["UserName"]; got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// giant fills every field of a record with the text that grows most.
func giant(text string, items int) audit.Record {
	r := audit.Record{Source: "gw1", Seq: 1<<64 - 1, Time: at(), AuthTime: at()}
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		switch {
		case v.Type().Field(i).Name == "Source":
		case f.Kind() == reflect.String:
			f.SetString(text)
		case f.Kind() == reflect.Uint64:
			f.SetUint(1<<64 - 1)
		case f.Kind() == reflect.Slice:
			for range items {
				f.Set(reflect.Append(f, reflect.ValueOf(text)))
			}
		}
	}
	r.Kind, r.WouldDeny = audit.KindDecision, true
	return r
}

func TestEverythingFits(t *testing.T) {
	for _, size := range []int{syslog.MinMessage, syslog.DefaultMessage} {
		for _, text := range []string{strings.Repeat("\"", 9000), strings.Repeat("\x01", 9000), strings.Repeat("😀", 2000), "", "x"} {
			for _, effect := range []string{"allow", "deny"} {
				for _, action := range []string{"search", text} {
					r := giant(text, 100+2000/(1+len(text)))
					r.Effect, r.Action = effect, action
					w, root := encode(t, encoder(t, size), r)
					if w.octets > size {
						t.Errorf("%.3q: %d octets, allowed %d", text, w.octets, size)
					}
					said := strings.Join(root.details("Matron#record")["shortened"], "")
					if !strings.Contains(w.data, ` shortened="`) || !strings.Contains(said, "detail") || len(text) > 1 && !strings.Contains(said, "target") {
						t.Errorf("%.3q: shortened without saying so: %q in %s", text, said, w.data)
					}
				}
			}
		}
	}
}

func TestWhatFitsIsWhole(t *testing.T) {
	r := visit(1)
	r.Query = strings.Repeat("q", 20_000)
	w, root := encode(t, encoder(t, 0), r)
	if strings.Contains(w.data, "shortened") || root.details("Matron#record")["query"][0] != r.Query {
		t.Errorf("shortened although it fits in %d octets", w.octets)
	}
	r.Query = strings.Repeat("q", 30_000)
	w, root = encode(t, encoder(t, 0), r)
	if got := root.details("Matron#record"); !strings.Contains(w.data, `shortened="query"`) || got["query"][0] != strings.Repeat("q", 4096)+"…" || got["basis"][0] != r.Basis {
		t.Errorf("%s: %d octets of query", w.data, len(got["query"][0]))
	}
}

func TestNoStringEscapesTheBound(t *testing.T) {
	long := strings.Repeat("z", 40_000)
	v := reflect.TypeOf(audit.Record{})
	for i := range v.NumField() {
		r := visit(1)
		f := reflect.ValueOf(&r).Elem().Field(i)
		switch f.Kind() {
		case reflect.String:
			f.SetString(long)
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{long}))
		default:
			continue
		}
		if w, _ := encode(t, encoder(t, 0), r); w.octets > syslog.DefaultMessage || !strings.Contains(w.data, "shortened") {
			t.Errorf("%s: %d octets, %.200s", v.Field(i).Name, w.octets, w.data)
		}
	}
}

// TestNoFieldIsLeftOut holds that a message says all that the record does, but
// for the nonce.
func TestNoFieldIsLeftOut(t *testing.T) {
	v := reflect.TypeOf(audit.Record{})
	for _, kind := range []audit.Kind{audit.KindDecision, audit.KindOutcome, audit.KindSignIn, audit.KindLimit, audit.KindImport} {
		for _, action := range []string{"read", "search"} {
			for i := range v.NumField() {
				name := v.Field(i).Name
				r := audit.Record{Source: "gw1", Seq: 1, Kind: kind, Effect: "allow", Action: action}
				want := "field" + name
				switch f := reflect.ValueOf(&r).Elem().Field(i); f.Kind() {
				case reflect.String:
					f.SetString(want)
				case reflect.Slice:
					f.Set(reflect.ValueOf([]string{want}))
				case reflect.Uint64:
					f.SetUint(987654321)
					want = "987654321"
				case reflect.Struct:
					f.Set(reflect.ValueOf(at()))
					want = "2026-11-03T09:30:00.123456Z"
				case reflect.Bool:
					f.SetBool(true)
					want = "would_deny"
				default:
					continue // the nonce
				}
				w, root := encode(t, encoder(t, 0), r)
				all := w.data + w.xml + fmt.Sprint(root.details("Matron#record"), root.details("RFC-3881#2"))
				for _, o := range root.all("ParticipantObjectIdentification") {
					for _, q := range o.all("ParticipantObjectQuery") {
						raw, _ := base64.StdEncoding.DecodeString(q.text)
						all += string(raw)
					}
				}
				if !strings.Contains(all, want) {
					t.Errorf("%s, %s: %s is not in the message", kind, action, name)
				}
			}
		}
	}
}

func TestTooSmallAMessage(t *testing.T) {
	if _, err := syslog.NewEncoder(syslog.EncoderConfig{MaxMessage: 2048}); !errors.Is(err, syslog.ErrMessageSize) {
		t.Errorf("%v, want %v", err, syslog.ErrMessageSize)
	}
}

func FuzzMessage(f *testing.F) {
	r := visit(7)
	f.Add(r.MarshalCanonical())
	g := giant("\x00é", 3)
	f.Add(g.MarshalCanonical())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := audit.UnmarshalCanonical(b)
		if err != nil {
			return
		}
		w, _ := encode(t, encoder(t, syslog.MinMessage), r)
		if w.octets > syslog.MinMessage {
			t.Errorf("%d octets", w.octets)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	e := encoder(b, 0)
	r := visit(1)
	var out []byte
	for b.Loop() {
		out = e.Append(out[:0], r)
	}
	b.ReportMetric(float64(len(out)), "octets")
}
