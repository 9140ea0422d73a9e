package proxy_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"testing"

	"github.com/matron-epr/matron/proxy"
)

// gzipped is text as an application sends it that packs its bodies.
func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What clinicians write and machines send looks like attacks to filters that know
// nothing of medicine. It passes both ways as it is, byte by byte.
// hazard:GW-15 control:C-60
// hazard:GW-15 control:C-62
func TestClinicalTextPassesUnchanged(t *testing.T) {
	every := make([]byte, 0, 256)
	for b := range 256 {
		every = append(every, byte(b))
	}
	w := build(t, nil, func(c *proxy.Config) {
		c.Apps[0].Map = testMap{classify: readPatient}
	})
	for name, c := range map[string]struct{ kind, encoding, text string }{
		"comparison":    {"text/plain; charset=utf-8", "", "K+ <5 mmol/L & Na >135; INR > 4 -- hold warfarin"},
		"query":         {"application/x-www-form-urlencoded", "", "note=select+dose+from+chart+where+weight%3D70+OR+1%3D1"},
		"markup":        {"text/html; charset=utf-8", "", "<script>bp('120/80')</script><img src=x onerror=alert(1)>"},
		"path":          {"text/plain", "", "see ../../chart and C:\\ward\\7; $(given) `stat` ${dose}"},
		"units":         {"application/json", "", `{"dose":"2.50 µg/kg","temp":"38,5 °C","name":"Zoë Ní Bhriain","æ":"\u00e6"}`},
		"long base64":   {"application/fhir+json", "", `{"data":"` + strings.Repeat("QUJD+/8=", 20000) + `"}`},
		"old charset":   {"text/plain; charset=iso-8859-1", "", "caf\xe9 \xa3 5\xb0"},
		"line ends":     {"text/plain", "", "MSH|^~\\&|LAB\rPID|1\r\n\x0b\x1c\r"},
		"byte order":    {"text/csv", "", "\xef\xbb\xbfresult;<0.01\r\n"},
		"image":         {"application/dicom", "", strings.Repeat(string(every), 300)},
		"document":      {"application/pdf", "", "%PDF-1.7\n" + string(every) + "\n%%EOF"},
		"packed":        {"application/json", "gzip", gzipped(t, `{"dose":"<5 mg"}`)},
		"not what said": {"application/json", "", "{dose: <5"},
	} {
		w.setApp(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", c.kind)
			if c.encoding != "" {
				rw.Header().Set("Content-Encoding", c.encoding)
			}
			_, _ = rw.Write([]byte(c.text))
		})
		a := w.do("POST", "/patient/1", c.text, func(r *http.Request) {
			r.Header.Set("Content-Type", c.kind)
			r.Header.Set("Accept-Encoding", "gzip")
			if c.encoding != "" {
				r.Header.Set("Content-Encoding", c.encoding)
			}
		})
		w.log.waitOutcome()
		if a.status != http.StatusOK || a.body != c.text || a.header.Get("Content-Type") != c.kind || a.header.Get("Content-Encoding") != c.encoding {
			t.Errorf("%s: the answer is another: %d %v", name, a.status, a.header)
		}
		if got := w.bodies[len(w.bodies)-1]; got != c.text {
			t.Errorf("%s: the application got %d bytes, sent were %d", name, len(got), len(c.text))
		}
	}
}
