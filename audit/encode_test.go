package audit

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files")

// full is a record with every field set.
func full() Record {
	return Record{
		Site: "RBA", Source: "gw1", Seq: 18446744073709551615,
		Time:  time.Date(2026, 3, 29, 1, 30, 0, 123456000, time.UTC),
		Nonce: [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		Kind:  KindDecision, Request: "01JQ8Z6W3T5V9K2M4N6P8R0S2T", Decision: 256,
		App: "epr", Method: "GET", Target: "/fhir/Observation/7/_history/2", Query: "a=b&c=%ff", Route: "fhir-vread",
		Action: "read", Area: "results", Screen: "Ergebnis \u00fc", Resource: "Observation", ResourceID: "7",
		ResourceVersion: "2", Deliberate: "true",
		Patient: "9000001", NHSNumber: "9434765919", PatientSource: SourceURL, Certainty: Authoritative,
		UserIssuer: "https://id.example", UserSub: "555036632103", Person: "p-10442", UserName: "WALSH, Orla",
		Roles: []string{"nurse", "R8001"}, Activities: []string{"B0360", ""}, Org: "RBA", RoleID: "555036633104",
		ACR: "AAL3_ANY", AMR: []string{"N3_SMARTCARD"}, Assurance: 3,
		AuthTime: time.Date(1969, 12, 31, 23, 59, 59, 999999000, time.UTC), Session: "c1f4", Token: "jti-1",
		Purpose: "TREAT", Basis: "ward:OBS1",
		ClientIP: "10.20.30.40", Device: "OBS1-WS04", UserAgent: strings.Repeat("m", 128), ClientCN: "CN=ws04",
		Effect: "allow", Reasons: []string{"role-not-permitted"}, Rules: []string{"role", "care"}, PolicyRev: "2026.03.1",
		Mode: "observe", WouldDeny: true,
		Outcome: Success, Status: 200, BytesIn: 1, BytesOut: 65536, Duration: 1500, Upstream: 1200, Results: 12,
		Error: "epr-slow", UpstreamTo: "10.0.0.9:8080", Detail: []string{"config=ab12"},
	}
}

// TestFullIsFull keeps the golden file complete: a field that is added to Record
// must be added to full and to walk as well.
func TestFullIsFull(t *testing.T) {
	r := full()
	v := reflect.ValueOf(r)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set", v.Type().Field(i).Name)
		}
	}
}

// TestVersion1NeverChanges compares with bytes on hospitals' disks. When it
// fails, the code is wrong and not the file.
// hazard:GW-31 control:C-228
func TestVersion1NeverChanges(t *testing.T) {
	for name, r := range map[string]Record{"full": full(), "empty": {}} {
		file := "testdata/record-v1-" + name + ".hex"
		b := r.MarshalCanonical()
		if *update {
			if err := os.WriteFile(file, []byte(wrapped(hex.EncodeToString(b))), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(golden), wrapped(hex.EncodeToString(b))); diff != "" {
			t.Errorf("%s: version 1 changed (-golden +now):\n%s", name, diff)
		}
		old, err := hex.DecodeString(strings.ReplaceAll(string(golden), "\n", ""))
		if err != nil {
			t.Fatal(err)
		}
		got, err := UnmarshalCanonical(old)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Errorf("%s: decoded (-want +got):\n%s", name, diff)
		}
	}
}

func wrapped(s string) string {
	var b strings.Builder
	for ; len(s) > 64; s = s[64:] {
		b.WriteString(s[:64] + "\n")
	}
	return b.String() + s + "\n"
}

// TestEachFieldAlone finds fields that share a tag or that walk leaves out.
func TestEachFieldAlone(t *testing.T) {
	seen := map[string]string{}
	all := reflect.ValueOf(full())
	for i := range all.NumField() {
		name := all.Type().Field(i).Name
		var r Record
		reflect.ValueOf(&r).Elem().Field(i).Set(all.Field(i))
		b := r.MarshalCanonical()
		if len(b) < 4 {
			t.Fatalf("%s: not encoded", name)
		}
		if other, ok := seen[string(b[:2])]; ok {
			t.Errorf("%s has the tag of %s", name, other)
		}
		seen[string(b[:2])] = name
		got, err := UnmarshalCanonical(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	tests := []struct {
		name, hex, want string
	}{
		{"nothing", "", "offset 0: version is not 1"},
		{"version 0", "00", "offset 0: version is not 1"},
		{"version 2", "02", "offset 0: version is not 1"},
		{"tag 0", "010001" + "41", "offset 1: field 0 unknown, repeated or out of order"},
		{"unknown tag", "017f0141", "offset 1: field 127 unknown, repeated or out of order"},
		{"repeated", "010101410101" + "41", "offset 4: field 1 unknown, repeated or out of order"},
		{"out of order", "010201410101" + "41", "offset 4: field 1 unknown, repeated or out of order"},
		{"no length", "0101", "offset 2: field 1 length cut short or too large"},
		{"length cut short", "010180", "offset 2: field 1 length cut short or too large"},
		{"length not minimal", "01018100" + "41", "offset 2: field 1 length not minimal"},
		{"length beyond 64 bits", "0101ffffffffffffffffff02", "offset 2: field 1 length cut short or too large"},
		{"length beyond the record", "01010241", "offset 2: field 1 longer than the record"},
		{"largest length", "0101ffffffffffffffffff01", "offset 2: field 1 longer than the record"},
		{"empty string", "010100", "offset 2: field 1 empty but present"},
		{"number with leading zero", "0103020001", "offset 3: field 3 not a minimal number"},
		{"number zero", "01030100", "offset 3: field 3 not a minimal number"},
		{"number of nine bytes", "010309010101010101010101", "offset 3: field 3 not a minimal number"},
		{"bool two", "01320102", "offset 1: field 50 neither true nor absent"},
		{"short time", "01040101", "offset 3: field 4 not eight bytes"},
		{"zero time", "010408ff23400100d44000", "offset 3: field 4 empty but present"},
		{"short nonce", "010501aa", "offset 3: field 5 not sixteen bytes, or all zero"},
		{"zero nonce", "010510" + strings.Repeat("00", 16), "offset 3: field 5 not sixteen bytes, or all zero"},
		{"item beyond the list", "011d020241", "offset 3: field 29 item longer than the field"},
		{"second item cut short", "011d03014180", "offset 5: field 29 item length cut short or too large"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, err := hex.DecodeString(test.hex)
			if err != nil {
				t.Fatal(err)
			}
			_, err = UnmarshalCanonical(b)
			if !errors.Is(err, ErrEncoding) || !strings.HasSuffix(err.Error(), ": "+test.want) {
				t.Errorf("error %q, want %q", err, test.want)
			}
		})
	}
}

func TestEveryPrefixIsRefusedOrCanonical(t *testing.T) {
	r := full()
	b := r.MarshalCanonical()
	for n := range b {
		got, err := UnmarshalCanonical(b[:n])
		if err == nil && !bytes.Equal(got.MarshalCanonical(), b[:n]) {
			t.Fatalf("prefix of %d bytes was accepted and is another record", n)
		}
	}
}

// hazard:GW-14 control:C-59
func TestTimesAreCutToMicroseconds(t *testing.T) {
	berlin := time.FixedZone("CEST", 7200)
	r := Record{Time: time.Date(2026, 3, 29, 3, 30, 0, 123456789, berlin)}
	got, err := UnmarshalCanonical(r.MarshalCanonical())
	if err != nil {
		t.Fatal(err)
	}
	want := Record{Time: time.Date(2026, 3, 29, 1, 30, 0, 123456000, time.UTC)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAppendCanonicalDoesNotAllocate(t *testing.T) {
	b, reused := make([]byte, 0, 4096), full()
	if n := testing.AllocsPerRun(100, func() {
		r := reused
		b = r.AppendCanonical(b[:0])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLeafIsRFC6962(t *testing.T) {
	// The first leaf of the reference tree in RFC 6962 implementations is empty.
	const empty = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
	leaf := Leaf(nil)
	if got := hex.EncodeToString(leaf[:]); got != empty {
		t.Errorf("leaf of nothing is %s", got)
	}
	receipt := Receipt{Source: "gw1", Seq: 42, Leaf: leaf}
	if got, want := receipt.String(), "gw1/42;leaf="+empty; got != want {
		t.Errorf("receipt %q, want %q", got, want)
	}
}

// FuzzRecord: whatever decodes has no other encoding, and whatever does not
// decode is refused without a panic.
func FuzzRecord(f *testing.F) {
	r := full()
	b := r.MarshalCanonical()
	f.Add(b)
	f.Add([]byte{version1})
	f.Add(b[:len(b)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := UnmarshalCanonical(b)
		if err != nil {
			if !errors.Is(err, ErrEncoding) {
				t.Fatalf("error without its sentinel: %v", err)
			}
			return
		}
		again := r.MarshalCanonical()
		if !bytes.Equal(b, again) {
			t.Fatalf("%x decodes and encodes as %x", b, again)
		}
		back, err := UnmarshalCanonical(again)
		if diff := cmp.Diff(r, back); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

func BenchmarkAppendCanonical(b *testing.B) {
	r := full()
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = r.AppendCanonical(buf[:0])
	}
}

func BenchmarkUnmarshalCanonical(b *testing.B) {
	r := full()
	buf := r.MarshalCanonical()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := UnmarshalCanonical(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLeaf(b *testing.B) {
	r := full()
	buf := r.MarshalCanonical()
	b.ReportAllocs()
	for b.Loop() {
		Leaf(buf)
	}
}
