package proxy_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// packed is text in the coding that a writer makes.
func packed[W io.WriteCloser](t *testing.T, text string, writer func(io.Writer) W) []byte {
	t.Helper()
	var b bytes.Buffer
	w := writer(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestEncodedResponseIsReadAndReleasedPlain: an application that compresses
// although it was asked not to is read all the same, within the same bounds.
func TestEncodedResponseIsReadAndReleasedPlain(t *testing.T) {
	zipped := packed(t, secret, gzip.NewWriter)
	bomb := packed(t, strings.Repeat("patient 4711\n", 1<<16), gzip.NewWriter)
	nothing := packed(t, "", gzip.NewWriter)
	damaged := bytes.Clone(zipped)
	damaged[len(damaged)-6] ^= 1 // its checksum
	for _, row := range []struct {
		name, coding string
		body         []byte
		code         string // "" for released
	}{
		{"gzip", "gzip", zipped, ""},
		{"gzip by its old name", "X-GZIP", zipped, ""},
		{"deflate", "deflate", packed(t, secret, zlib.NewWriter), ""},
		{"twice", "gzip, gzip", packed(t, string(zipped), gzip.NewWriter), "response-not-understood"},
		{"another coding", "br", zipped, "response-not-understood"},
		{"not what it says", "deflate", zipped, "response-not-understood"},
		{"damaged", "gzip", damaged, "response-not-understood"},
		{"rubbish behind it", "gzip", append(bytes.Clone(zipped), "patient 4713 and more"...), "response-not-understood"},
		{"cut off", "gzip", zipped[:len(zipped)-9], "response-broken-off"},
		{"a bomb", "gzip", bomb, "response-too-large"},
		{"members without end that hold nothing", "gzip", bytes.Repeat(nothing, 1000), "response-too-large"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Encoding", row.coding)
				rw.Header().Set("Content-Type", "text/plain")
				rw.Header().Set("Etag", `"1"`)
				rw.Header().Set("Content-Digest", "sha-256=:AA==:")
				_ = http.NewResponseController(rw).Flush() // no announced length
				_, _ = rw.Write(row.body)
			}, func(c *proxy.Config) {
				c.Apps[0].Map, c.Apps[0].MaxHeld = heldMap(), 10_000
				c.MaxKept = 100_000 // less than the bomb unpacked
			})
			a := w.do("GET", "/search", "")
			o := w.log.waitOutcome()
			if row.code != "" {
				if a.status != 502 || o.Error != row.code || a.tells("4711") {
					t.Errorf("got %d, outcome %q, want %q", a.status, o.Error, row.code)
				}
				return
			}
			if a.status != 200 || a.body != secret || a.header.Get("Content-Encoding") != "" ||
				a.header.Get("Etag") != `W/"1"` || a.header.Get("Content-Digest") != "" {
				t.Errorf("got %d %q %v, want the plain text", a.status, a.body, a.header)
			}
			if p := w.log.kinds(audit.KindPatient); len(p) != 2 {
				t.Errorf("%d patients recorded, want 2", len(p))
			}
		})
	}
}
