package appmap

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// streamed reads text through windows that begin with so many bytes.
func streamed(text string, step int) *jsonStream {
	return &jsonStream{in: strings.NewReader(text), step: step}
}

// TestStreamReadsWhatTheParserReads: wherever the windows end, a text is as good or
// as bad as it is in one piece, and says the same.
func TestStreamReadsWhatTheParserReads(t *testing.T) {
	t.Parallel()
	texts := []string{
		`{"a":[1,true,null,"x",{"b":-1.5e+7}],"é€😀":"é€😀","\u0041\ud83d\ude00":"\ud83d\ude00\ud800\n"}`, `[]`, `{}`, ` [ ] `, `7`, `"x"`, `tru`, `[1,]`, `[,1]`,
		`{"a":1,}`, `{"a" 1}`, `{"a":1,"A":2}`, `{"a":[{"b":{"c":1,"c":2}}]}`, `{} {}`, `[1 2]`, `[1`, `{"a":`, "[\"\xff\"]", "[\"\xe2\x82\"]", "[\"\xe2\x82", "\x00", `["\ud83d\u12"]`,
		`{"list":[{"id":"1"},{"id":2},{"id":true},7,[],{"id":{"id":3}}],"id":"4"}`, `{"list":{"id":"1"}}`, strings.Repeat("[", 70) + strings.Repeat("]", 70), `["` + strings.Repeat("x", 300) + `"]`,
		strings.Repeat("[", 60) + strings.Repeat("]", 60), "",
	}
	pointers := []pointer{{"list", "*", "id"}, {"*", "1"}, {"id"}, {}, {"a", "4", "b"}, {"*"}}
	for _, text := range texts {
		doc, wrong := parseJSON([]byte(text))
		var want, got [][]any
		for _, p := range pointers {
			want = append(want, p.nodes(nil, doc))
		}
		leads := make([]lead, len(pointers))
		for i, p := range pointers {
			leads[i] = lead{i, p}
		}
		for _, step := range []int{1, 2, 3, 5, 8, 13, 64, 1000} {
			s := streamed(text, step)
			err := s.skip(0)
			if err == nil {
				err = s.end()
			}
			if (err == nil) != (wrong == nil) {
				t.Errorf("%q by %d: %v, at once: %v", text, step, err, wrong)
			}
			if wrong != nil {
				continue
			}
			// With nothing pointing to the document itself, so that it is taken apart.
			for _, some := range [][]lead{leads[:3], leads[4:], leads} {
				got = make([][]any, len(pointers))
				s = streamed(text, step)
				if err := s.pick(some, 0, func(i int, v any) error { got[i] = append(got[i], v); return nil }); err != nil {
					t.Errorf("%q by %d: %v", text, step, err)
				}
				for _, l := range some {
					if !reflect.DeepEqual(placeless(want[l.which]), placeless(got[l.which])) {
						t.Errorf("%q by %d, %v: %v, want %v", text, step, pointers[l.which], got[l.which], want[l.which])
					}
				}
			}
		}
	}
}

// long is a body that counts as not in memory.
func long(text string) proxy.Body { return proxy.Long(strings.NewReader(text), int64(len(text))) }

// settleSearch reads the answer to a search for observations, by a rule.
func settleSearch(tb testing.TB, m *Map, rule string, body proxy.Body) (proxy.Settlement, error) {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "https://epr.example/Observation?code=x", nil)
	if err != nil {
		tb.Fatal(err)
	}
	res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {fhirType}}, Request: r}
	a := proxy.Access{Rule: rule, Area: "results", Parts: []proxy.Part{{Area: "documents"}}, Certainty: audit.Unknown, Hold: true}
	return m.Settle(a, res, body)
}

// TestLongBodyIsSettledAsAShortOne: what is read piece by piece shows the same.
func TestLongBodyIsSettledAsAShortOne(t *testing.T) {
	t.Parallel()
	m, err := Builtin("fhir-r4")
	if err != nil {
		t.Fatal(err)
	}
	base := string(searchset(300, 20)) // about 600 KB, which is three windows
	reordered := `{"type":"searchset","entry":[],"resourceType":"Bundle"}`
	linked := strings.Replace(base, `"total":100`, `"link":[{"relation":"self","url":"http://epr/o?é=1"}]`, 1)
	behind := strings.TrimSuffix(base, "}") + `,"link":[{"relation":"next","url":"http:\/\/epr\/n"}]}`
	binary := strings.Replace(base, `"entry":[`, `"entry":[{"fullUrl":"http://epr/Binary/b1","resource":{"resourceType":"Binary","id":"b1"}},`, 1)
	document := strings.TrimSuffix(binary, "]}") + `,{"resource":{"resourceType":"DocumentReference","id":"d","subject":{"reference":"Patient/late"},"content":[{"attachment":{"url":"Binary/b1"}}]}}]}`
	for name, body := range map[string]string{
		"plain": base, "reordered": reordered, "links before": linked, "links behind": behind, "a Binary of nobody": binary, "a Binary before its document": document,
		"cut": base[:len(base)-300], "not UTF-8": strings.Replace(base, "Haemo", "H\xffmo", 1), "entry twice": strings.TrimSuffix(base, "}") + `,"entry":[]}`, "no entry": strings.Replace(base, `"entry":[`, `"entry":[7,`, 1),
	} {
		want, wrong := settleSearch(t, m, "fhir-search", proxy.Short([]byte(body)))
		got, err := settleSearch(t, m, "fhir-search", long(body))
		if (err == nil) != (wrong == nil) {
			t.Errorf("%s: %v, in memory %v", name, err, wrong)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for _, l := range got.Links {
			var text string
			if err := json.Unmarshal([]byte(body[l.From:l.To]), &text); err != nil || text != l.Address {
				t.Errorf("%s: link %+v stands at %q", name, l, body[l.From:l.To])
			}
		}
		if name == "a Binary before its document" && (got.Certainty == "unknown" || !slices.Contains(got.Patients, proxy.Patient{ID: "late"})) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestWhatIsTooLongIsUnknown: where one part of a long answer is itself too long,
// the answer shows a stranger, besides whom was read.
func TestWhatIsTooLongIsUnknown(t *testing.T) {
	t.Parallel()
	m, err := Builtin("fhir-r4")
	if err != nil {
		t.Fatal(err)
	}
	huge := strings.Repeat("x", 2*maxJSONWindow)
	first := `{"resource":{"resourceType":"Observation","subject":{"reference":"Patient/p1"}}}`
	s, err := settleSearch(t, m, "fhir-search", long(`{"resourceType":"Bundle","type":"searchset","entry":[`+first+`,{"resource":{"resourceType":"Observation","note":"`+huge+`"}}]}`))
	if err != nil || !s.Stranger || s.Certainty != audit.Unknown || s.Reason == "" || !slices.Equal(s.Patients, []proxy.Patient{{ID: "p1"}}) {
		t.Errorf("an entry: %+v, %v", s, err)
	}
	s, err = settleSearch(t, m, "fhir-search", long(`{"entry":[`+first+strings.Repeat(","+first, 2*maxJSONWindow/len(first))+`],"resourceType":"Bundle"}`))
	if err != nil || !s.Stranger || s.Certainty != audit.Unknown {
		t.Errorf("entries before the type: %+v, %v", s, err)
	}
	_, err = settleSearch(t, m, "fhir-search", long(`{"resourceType":"Bundle","type":"searchset","entry":[{"resource" 7},"`+huge+`"]}`))
	if !errors.Is(err, ErrUnreadable) {
		t.Errorf("a mistake before what is too long: %v", err)
	}
}

const listMap = `
app: lists
rules:
  - id: list
    match: {method: [GET], path: /list}
    action: search
    area: notes
    response: {each: "json:/rows", patient: [{value: "json:/pid"}]}
  - id: one
    match: {method: [GET], path: /one}
    action: read
    area: notes
    response: {patient: [{value: "json:/rows/*/pid", many: true}, {value: "json:/who/nhs", system: nhs-number, many: true}]}
`

// TestLongListsAreReadRowByRow: so are those of maps that are written by hand.
func TestLongListsAreReadRowByRow(t *testing.T) {
	t.Parallel()
	m, err := Parse("lists", []byte(listMap))
	if err != nil {
		t.Fatal(err)
	}
	row := `{"text":"` + strings.Repeat("x", 10_000) + `","pid":"p1"},`
	rows := strings.Repeat(row, 100) + `{"pid":"p2"}`
	for _, body := range []string{
		`{"who":{"nhs":"9990000001"},"rows":[` + rows + `]}`, `{"rows":[` + rows + `],"other":[[[` + rows + `]]],"who":{"nhs":"999 000 0018"}}`,
		`{"rows":{}}`, `[]`, `{"rows":[` + rows + `]`, `{"rows":[` + rows + `7,8]}`,
	} {
		for _, rule := range []string{"list", "one"} {
			want, wrong := settleSearch(t, m, rule, proxy.Short([]byte(body)))
			got, err := settleSearch(t, m, rule, long(body))
			if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (wrong == nil) {
				t.Errorf("%s %.40s: %v, in memory %v: %s", rule, body, err, wrong, diff)
			}
		}
	}
}

// bounded fails the test when more is read of it than it may.
type bounded struct {
	t    *testing.T
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		b.t.Error("the pixels were read")
		return 0, io.EOF
	}
	clear(p)
	return len(p), nil
}

// TestPixelsAreNotKept: of a DICOM object no more is in memory than its head.
func TestPixelsAreNotKept(t *testing.T) {
	t.Parallel()
	object := append(append(make([]byte, 128), "DICM"...),
		"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00"+"\x10\x00\x20\x00LO\x04\x004711"+"\xe0\x7f\x10\x00OW\x00\x00\x00\x00\x00\x40"...)
	ids, err := dicomPatientIDs("application/dicom", io.MultiReader(bytes.NewReader(object), &bounded{t, 2 * maxDICOMHead}))
	if err != nil || !slices.Equal(ids.texts, []string{"4711"}) {
		t.Errorf("%v, %v", ids.texts, err)
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for range 2 {
		part, _ := w.CreatePart(textproto.MIMEHeader{})
		_, _ = part.Write(append(bytes.Clone(object), make([]byte, 3*maxDICOMHead)...))
	}
	_ = w.Close()
	ids, err = dicomPatientIDs("multipart/related; boundary="+w.Boundary(), &b)
	if err != nil || !slices.Equal(ids.texts, []string{"4711"}) {
		t.Errorf("%v, %v", ids.texts, err)
	}
	before := append(bytes.Clone(object[:132+28]), "\x08\x00\x05\x00UT\x00\x00\x00\x00\x00\x40"...)
	if _, err = dicomPatientIDs("application/dicom", io.MultiReader(bytes.NewReader(before), &bounded{t, 2 * maxDICOMHead})); !errors.Is(err, errTooLong) {
		t.Errorf("something long before the patient: %v", err)
	}
}
