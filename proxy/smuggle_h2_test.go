package proxy_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// frames is an HTTP/2 client that says what it likes.
type frames struct {
	*http2.Framer
	c    *tls.Conn
	text bytes.Buffer
	pack *hpack.Encoder
}

// frames opens an HTTP/2 connection and reads the server's settings.
func (w *world) frames() *frames {
	w.t.Helper()
	d := tls.Dialer{Config: &tls.Config{RootCAs: w.roots, NextProtos: []string{"h2"}}}
	c, err := d.DialContext(w.t.Context(), "tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		w.t.Fatal(err)
	}
	f := &frames{Framer: http2.NewFramer(c, c), c: c.(*tls.Conn)}
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.AllowIllegalWrites = true
	f.pack = hpack.NewEncoder(&f.text)
	if err := f.WriteSettings(); err != nil {
		w.t.Fatal(err)
	}
	return f
}

// block packs header fields, given as name and value in turn.
func (f *frames) block(fields ...string) []byte {
	f.text.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		_ = f.pack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return f.text.Bytes()
}

// open sends the header of a request.
func (f *frames) open(stream uint32, end bool, fields ...string) error {
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true, EndStream: end, BlockFragment: f.block(fields...)})
}

// end reads until a stream has been answered and says how, or why the server ended
// the stream; with it goes the connection where more came on the stream.
func (f *frames) end(stream uint32) string {
	status := ""
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch frame := frame.(type) {
		case *http2.GoAwayFrame:
			if frame.ErrCode != http2.ErrCodeNo {
				return frame.ErrCode.String()
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == stream && status == "" {
				return frame.ErrCode.String()
			}
		case *http2.MetaHeadersFrame:
			if frame.StreamID == stream && status == "" && frame.PseudoValue("status") >= "200" {
				status = frame.PseudoValue("status")
			}
		}
		if h := frame.Header(); status != "" && h.StreamID == stream && h.Flags.Has(http2.FlagDataEndStream) {
			return status
		}
	}
}

// TestSmugglingThroughHTTP2: HTTP/2 says lengths apart from the text, and may hold
// in a field what would end a line of HTTP/1. Nothing of that reaches the
// application: the stream ends, or one canonical request arrives.
// hazard:GW-08 control:C-33
func TestSmugglingThroughHTTP2(t *testing.T) {
	const evil = "x\r\n\r\nGET /patient/666 HTTP/1.1\r\nHost: epr.test\r\n\r\n"
	one := []string{"GET /patient/1 "}
	posted := []string{"POST /patient/1 hello"}
	for _, row := range []struct {
		name    string
		fields  string // changes of the usual fields: "name=value" adds, "-name" takes away
		body    string
		answer  string
		arrives []string
	}{
		{"plain", "", "", "200", one},
		{"body without a length", ":method=POST", "hello", "200", posted},
		{"body of its length", ":method=POST|content-length=5", "hello", "200", posted},
		{"Transfer-Encoding", ":method=POST|transfer-encoding=chunked", "0\r\n\r\n", "400", nil},
		{"Transfer-Encoding identity", ":method=POST|transfer-encoding=identity", "hello", "400", nil},
		{"Connection", "connection=content-type", "", "400", nil},
		{"Keep-Alive", "keep-alive=1", "", "400", nil},
		{"Upgrade", "upgrade=websocket", "", "400", nil},
		{"Proxy-Connection", "proxy-connection=x", "", "400", nil},
		{"TE", "te=gzip", "", "400", nil},
		{"length too long", ":method=POST|content-length=50", "hello", "400", nil},
		{"length too short", ":method=POST|content-length=2", "hello", "PROTOCOL_ERROR", nil},
		{"length of nothing", ":method=POST|content-length=0", "hello", "PROTOCOL_ERROR", nil},
		{"length negative", ":method=POST|content-length=-5", "hello", "PROTOCOL_ERROR", nil},
		{"length with a plus", ":method=POST|content-length=+5", "hello", "PROTOCOL_ERROR", nil},
		{"length twice", ":method=POST|content-length=5|content-length=5", "hello", "400", nil},
		{"length with an inner request", ":method=POST|content-length=0\r\n\r\n" + evil, "hello", "PROTOCOL_ERROR", nil},
		{"CRLF in a value", "x-a=" + evil, "", "PROTOCOL_ERROR", nil},
		{"LF in a value", "x-a=y\nZ: z", "", "PROTOCOL_ERROR", nil},
		{"CR in a value", "x-a=y\rZ: z", "", "PROTOCOL_ERROR", nil},
		{"NUL in a value", "x-a=y\x00z", "", "PROTOCOL_ERROR", nil},
		{"CRLF in a name", "x-a: y\r\nx-b=z", "", "PROTOCOL_ERROR", nil},
		{"colon in a name", "x-a:y=z", "", "PROTOCOL_ERROR", nil},
		{"space in a name", "transfer-encoding =chunked", "", "PROTOCOL_ERROR", nil},
		{"capital in a name", "X-A=y", "", "PROTOCOL_ERROR", nil},
		{"underscore in a name", "x_forwarded_user=root", "", "400", nil},
		{"CRLF in the path", ":path=/patient/1 HTTP/1.1\r\n\r\n" + evil, "", "PROTOCOL_ERROR", nil},
		{"space in the path", ":path=/patient/1 HTTP/1.1", "", "400", nil},
		{"space in the query", ":path=/patient/1?a=b HTTP/1.1", "", "400", nil},
		{"tab in the query", ":path=/patient/1?a=b\tc", "", "PROTOCOL_ERROR", nil},
		{"fragment in the path", ":path=/patient/1#x", "", "400", nil},
		{"absolute form", ":path=https://evil.test/patient/1", "", "400", nil},
		{"path without a slash", ":path=patient/1", "", "PROTOCOL_ERROR", nil},
		{"path empty", ":path=", "", "PROTOCOL_ERROR", nil},
		{"path of a star", ":path=*", "", "400", nil},
		{"path missing", "-:path", "", "PROTOCOL_ERROR", nil},
		{"path twice", "+:path=/patient/2", "", "PROTOCOL_ERROR", nil},
		{"method twice", "+:method=POST", "", "PROTOCOL_ERROR", nil},
		{"method with a target", ":method=GET /patient/666 HTTP/1.1\r\nX:", "", "PROTOCOL_ERROR", nil},
		{"method with a space", ":method=GET /patient/666", "", "405", nil},
		{"scheme unknown", ":scheme=x", "", "PROTOCOL_ERROR", nil},
		{"scheme with a target", ":scheme=https://evil.test/x?", "", "PROTOCOL_ERROR", nil},
		{"unknown pseudo-header", ":x=y", "", "PROTOCOL_ERROR", nil},
		{"status in a request", ":status=200", "", "PROTOCOL_ERROR", nil},
		{"pseudo-header after a header", "x-a=y|+:scheme=https", "", "PROTOCOL_ERROR", nil},
		{"extended CONNECT", ":method=CONNECT|:protocol=websocket", "", "PROTOCOL_ERROR", nil},
		{"CONNECT", ":method=CONNECT|-:path|-:scheme", "", "405", nil},
		{"host against authority", "host=evil.test", "", "400", nil},
		{"host twice", "host=epr.test|host=epr.test", "", "400", nil},
		{"host and authority", "host=epr.test", "", "200", one},
		{"host without authority", "-:authority|host=epr.test", "", "200", one},
		{"neither", "-:authority", "", "400", nil},
		{"authority with a path", ":authority=epr.test/x", "", "400", nil},
		{"authority with a user", ":authority=user@epr.test", "", "PROTOCOL_ERROR", nil},
		{"authority with CRLF", ":authority=epr.test\r\nX: y", "", "PROTOCOL_ERROR", nil},
		{"cookie in crumbs", "cookie=a=b", "", "200", one},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			app := &rawApp{}
			w := build(t, nil, func(c *proxy.Config) { c.Apps[0].Upstream = app.serve(t) })
			f := w.frames()
			if err := f.open(1, row.body == "", changed(row.fields)...); err != nil {
				t.Fatal(err)
			}
			if row.body != "" {
				_ = f.WriteData(1, true, []byte(row.body)) // the gateway may have ended the connection
			}
			if got := f.end(1); got != row.answer {
				t.Errorf("ended with %s, want %s", got, row.answer)
			}
			if diff := cmp.Diff(row.arrives, app.got()); diff != "" {
				t.Errorf("arrived (-want +got):\n%s", diff)
			}
			if d := w.log.kinds(audit.KindDecision); row.answer == "200" && len(d) != 1 {
				t.Errorf("%d decisions", len(d))
			}
			app.check(w)
		})
	}
}

// changed is the usual request with some of its fields changed.
func changed(by string) []string {
	fields := []string{":method", "GET", ":scheme", "https", ":authority", "epr.test", ":path", "/patient/1", "cookie", "__Host-matron=ada"}
	if by == "" {
		return fields
	}
	for change := range strings.SplitSeq(by, "|") {
		if name, gone := strings.CutPrefix(change, "-"); gone {
			fields = without(fields, name)
			continue
		}
		change, again := strings.CutPrefix(change, "+")
		cut := strings.IndexByte(change[1:], '=') + 1
		name, value := change[:cut], change[cut+1:]
		switch {
		case again:
			fields = append(fields, name, value)
		case name[0] == ':':
			fields = append([]string{name, value}, without(fields, name)...)
		default:
			fields = append(fields, name, value)
		}
	}
	return fields
}

func without(fields []string, name string) []string {
	var kept []string
	for i := 0; i < len(fields); i += 2 {
		if fields[i] != name {
			kept = append(kept, fields[i], fields[i+1])
		}
	}
	return kept
}
