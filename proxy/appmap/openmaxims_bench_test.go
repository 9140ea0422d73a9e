package appmap

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// wardPage is an answer of about 20 KB: a ward of patients, as many controls, the
// current patient and what identifies them.
func wardPage() []byte {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?><xml pt="41"><patient textColor="">Mr John SMITH : 01/02/1970 Age: 45  Male. Hospital No.: H123456 (Ward 5)</patient>` +
		`<navigation><modify><node id="18" selected="true"/></modify></navigation><form navID="18" width="848" height="632" caption="Ward View">`)
	for i := range 40 {
		fmt.Fprintf(&b, `<button id="a%d" x="%d" y="12" width="75" height="23" tabIndex="%d"/>`, 1100+i, i, i)
	}
	b.WriteString(`<dynamicgrid2 id="a1022"><cols><col caption="Surname"/><col caption="Forename"/><col caption="Hospital No."/><col caption="Age"/><col caption="Details"/></cols></dynamicgrid2></form>` +
		`<data browserTitle=" - jsmith logged into MAXIMS on server APP01  as Ward Nurse" canLeaveForm="true" errorMode="false" uploadURL="Upload">`)
	for i := range 40 {
		fmt.Fprintf(&b, `<button id="a%d" value="Button %d" enabled="true" visible="true"/>`, 1100+i, i)
	}
	b.WriteString(`<dynamicgrid2 id="a1022" visible="true"><rows>`)
	for i := range 50 {
		fmt.Fprintf(&b, `<r id="%d" type="item" readOnly="true"><c type="String" canBeEmpty="true">O&apos;NEIL</c><c type="String" canBeEmpty="true">Siobhán</c>`+
			`<c type="String" canBeEmpty="true">H%06d</c><c type="String" canBeEmpty="true">45</c><c type="String" canBeEmpty="true">Bed %d, for review</c></r>`, i+1, i, i)
	}
	b.WriteString(`</rows></dynamicgrid2></data><alerts><newalert id="3" sortIndex="5" icon="g/x.png" tooltip="&lt;b&gt;Identifiers&lt;/b&gt;&lt;br&gt;&lt;b&gt;NHS Number:&lt;/b&gt;&amp;nbsp;9990000018&lt;br&gt;&lt;b&gt;Hospital No.:&lt;/b&gt;&amp;nbsp;H123456&lt;br&gt;" category="x"/></alerts></xml>`)
	return []byte(b.String())
}

var errTurn = errors.New("the answer does not name everybody")

func httpRequest(ctx context.Context, b *testing.B, cookie string) *http.Request {
	b.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://epr.example/CNHost", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Cookie", "JSESSIONID="+cookie)
	return r
}

// oneTurn takes an exchange through the map as the gateway does.
func oneTurn(m *Map, r *http.Request, request, answer []byte, cookie string) error {
	t, err := m.Follow(policy.SubjectFrom(r.Context()), r)
	if err != nil {
		return err
	}
	defer t.End(true)
	a, err := t.Classify(r, func() ([]byte, error) { return request, nil })
	if err != nil {
		return err
	}
	res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Set-Cookie": {"JSESSIONID=" + cookie}}, Request: r}
	t.Received(res)
	s, err := t.Settle(a, res, proxy.Short(answer))
	if err == nil && (len(s.Patients) != 51 || s.Stranger) {
		return errTurn
	}
	return err
}

// BenchmarkTurn is one turn of openMAXIMS: the request is classified, and an
// answer of 20 KB is read and names 51 patients. "cpu-µs" is the processor time of
// a turn, the garbage collector's included, and "x-decode" the same in parts of
// what encoding/xml takes to read the tokens of the answer once, in the same run.
func BenchmarkTurn(b *testing.B) {
	m, err := Builtin("openmaxims")
	if err != nil {
		b.Fatal(err)
	}
	answer, request := wardPage(), []byte(`<events><textbox id="a1014">x</textbox><topbutton id="-2"/></events>`)
	ctx := policy.WithSubject(b.Context(), policy.Subject{Issuer: "i", Sub: "s", Session: "x"})
	cookie := "0123456789ABCDEF0123456789ABCDEF"
	b.ReportAllocs()
	began := processorTime(b)
	for b.Loop() {
		if err := oneTurn(m, httpRequest(ctx, b, cookie), request, answer, cookie); err != nil {
			b.Fatal(err)
		}
	}
	turning := processorTime(b) - began
	b.StopTimer()
	began = processorTime(b)
	for range b.N {
		d := xml.NewDecoder(bytes.NewReader(answer))
		for {
			if _, err := d.RawToken(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
	decoding := processorTime(b) - began
	b.ReportMetric(float64(turning.Nanoseconds())/1000/float64(b.N), "cpu-µs")
	b.ReportMetric(float64(turning)/float64(decoding), "x-decode")
	b.ReportMetric(float64(len(answer))/1024, "KB-answer")
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
