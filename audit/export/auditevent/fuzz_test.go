package auditevent_test

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/matron-epr/matron/audit"
)

// filler makes arbitrary records: each field from the next bytes of data, the
// last of which serve for ever.
type filler struct {
	data []byte
	at   int
}

func (f *filler) byte() byte {
	if len(f.data) == 0 {
		return 0
	}
	b := f.data[f.at%len(f.data)]
	f.at++
	return b
}

func (f *filler) number() (n uint64) {
	for range 1 + f.byte()%8 {
		n = n<<8 | uint64(f.byte())
	}
	return n
}

// string is empty, a word that means something, a value of any bytes, or huge.
func (f *filler) string() string {
	words := []string{
		"", "allow", "deny", "challenge", "read", "search", "create", "update", "delete", "print", "GET", "POST", "PUT", "DELETE",
		"Patient", "/fhir/Patient", "/fhir/Patient/1", "1", "0", "4", "key=value", " \u2003\u00a0", "\u2028\ufeff\x85\ufffe", "10.0.0.1", "epr:443", "R8001", "none", "several",
	}
	switch n := f.byte(); {
	case n < 128:
		return words[int(n)%len(words)]
	case n < 250:
		s := make([]byte, f.byte()%40)
		for i := range s {
			s[i] = f.byte()
		}
		return string(s)
	}
	return strings.Repeat(string([]byte{f.byte(), f.byte(), f.byte()}), 3000)
}

func (f *filler) access() audit.Access {
	var a audit.Access
	a.Settled = f.byte()%2 == 0
	v := reflect.ValueOf(&a.Record).Elem()
	for i := range v.NumField() {
		switch field := v.Field(i); field.Interface().(type) {
		case time.Time:
			field.Set(reflect.ValueOf(time.UnixMicro(int64(f.number()))))
		case [16]byte:
		case []string:
			var list []string
			for range f.byte() % 4 {
				list = append(list, f.string())
			}
			field.Set(reflect.ValueOf(list))
		default:
			switch field.Kind() {
			case reflect.String:
				field.SetString(f.string())
			case reflect.Uint64:
				field.SetUint(f.number())
			case reflect.Bool:
				field.SetBool(f.byte()%2 == 0)
			default:
				panic("a field of a kind that is not filled: " + v.Type().Field(i).Name)
			}
		}
	}
	var kinds []audit.Kind
	for _, s := range samples() {
		kinds = append(kinds, s.access.Kind)
	}
	slices.Sort(kinds)
	if k := int(f.byte()); k < 230 {
		a.Kind = kinds[k%len(kinds)]
	}
	return a
}

// anything must hold for the event of any record.
func anything(t *testing.T, a audit.Access) {
	t.Helper()
	text := marshal(t, a)
	if wrong := check(text); len(wrong) > 0 {
		t.Fatalf("%s\n%s\nof %+v", strings.Join(wrong, "; "), text, a)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	everyString(v, func(s string) {
		if strings.TrimSpace(s) != s || s == "" || strings.ContainsFunc(s, func(r rune) bool {
			return !strings.ContainsRune(" \t\r\n", r) && (unicode.IsControl(r) || unicode.IsSpace(r) || r == '\ufeff')
		}) {
			t.Fatalf("%q is no FHIR string, in %s", s, text)
		}
	})
}

// conforms holds the event of any record to the schema as well, which is too
// slow for the fuzzer.
func conforms(t *testing.T, schema *jsonschema.Schema, a audit.Access) {
	t.Helper()
	anything(t, a)
	if err := valid(schema, marshal(t, a)); err != nil {
		t.Fatalf("%v\nof %+v", err, a)
	}
}

func everyString(v any, see func(string)) {
	switch v := v.(type) {
	case string:
		see(v)
	case []any:
		for _, x := range v {
			everyString(x, see)
		}
	case map[string]any:
		for _, x := range v {
			everyString(x, see)
		}
	}
}

// TestAnyRecordIsAValidEvent converts records of every kind with garbled, huge
// and empty fields.
func TestAnyRecordIsAValidEvent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	schema, claimed := schemaOf(t, "AuditEvent"), 0
	for range 300 {
		data := make([]byte, 1+r.IntN(400))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		conforms(t, schema, (&filler{data: data}).access())
	}
	for _, name := range []string{"read", "query", "delete", "denied", "break-glass-start", "audit-viewed"} {
		right := sample(name) // and one field at a time garbled
		v := reflect.ValueOf(right.Record)
		for i := range v.NumField() {
			if v.Field(i).Kind() != reflect.String {
				continue
			}
			a := right
			reflect.ValueOf(&a.Record).Elem().Field(i).SetString("\xff\u00a0 \x00/|")
			conforms(t, schema, a)
			if converter().Event(a).Meta != nil {
				claimed++
			}
		}
	}
	if claimed == 0 {
		t.Error("no event claims a profile")
	}
}

// FuzzAuditEvent makes records of any bytes: converting never fails, and what it
// makes keeps the rules.
func FuzzAuditEvent(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x01\x80\xff\x00 allow"))
	f.Add([]byte(strings.Repeat("\xfb\xc3\xa9", 40)))
	f.Fuzz(func(t *testing.T, data []byte) { anything(t, (&filler{data: data}).access()) })
}
