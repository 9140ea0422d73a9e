package proxy_test

import (
	"bufio"
	"bytes"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/jba/templatecheck"

	"github.com/matron-epr/matron/proxy"
)

// hazard:GW-30 control:C-224
func TestEverySentinelIsExplainedOnce(t *testing.T) {
	codes, err := proxy.Codes()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(codes)
	if n := len(slices.Compact(slices.Clone(codes))); n != len(codes) {
		t.Errorf("%d codes, %d of them different: %v", len(codes), n, codes)
	}
}

func TestRefusalPageFitsItsStruct(t *testing.T) {
	tmpl, page, err := proxy.RefusalTemplate()
	if err != nil {
		t.Fatal(err)
	}
	if err := templatecheck.CheckHTML(tmpl.(*template.Template), page); err != nil {
		t.Error(err)
	}
}

func TestIdentityHeaderIsRecognisedInEverySpelling(t *testing.T) {
	for _, name := range []string{
		"Matron-Identity", "matron_identity", "MATRON-anything", "X-Remote-User", "X_Remote_User", "x-remote_user",
		"Remote-User", "REMOTE_USER", "X-Forwarded-User", "X_Forwarded_Email", "X-Auth-Request-Groups", "X-Forwarded-Preferred-Username",
		"X-WebAuth-User", "X-MS-CLIENT-PRINCIPAL-NAME", "Oidc-Claim-Sub", "SSL-Client-S-DN",
	} {
		if !proxy.ClaimsIdentity(name) {
			t.Errorf("%s is not recognised", name)
		}
	}
	for _, name := range []string{"Accept", "Cookie", "Authorization", "X-Forwarded-For", "X-Requested-With", "User-Agent", "Matrons", "X-Userland"} {
		if proxy.ClaimsIdentity(name) {
			t.Errorf("%s is refused", name)
		}
	}
}

func TestConfigurationIsCheckedWhole(t *testing.T) {
	_, err := proxy.New(proxy.Config{Apps: []proxy.App{{Name: "a"}, {Name: "b", Map: testMap{}, Prefix: "b"}}})
	if err == nil {
		t.Fatal("an empty configuration was accepted")
	}
	for _, want := range []string{"no Identifier", "no Decider", "no Limiter", "no Log", "no Logger", "no Now", "NoVoucher", "SignInPath", "a has no map", "does not start with a slash"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}

// FuzzCanonicalPath: an accepted path has one reading. Cleaning it, or sending it
// on and parsing it again, changes nothing; and the application reads out of the
// target that it gets what the map has seen.
func FuzzCanonicalPath(f *testing.F) {
	for _, p := range []string{"/", "/a/b", "/a//b", "/a/../b", "/a/./b", "/a;b", `/a\b`, "/a%2fb", "/a\x00", "/é", "/100%", "/a/"} {
		f.Add(p)
	}
	for _, target := range []string{"/a%2e%2e/b?c=d", "/a/%2e%2e/b", "/a%2Fb", "/a%255c", "//a", "/a?b=//../c#d", "/a?_method=x", "/%41 b?c d"} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, p string) {
		sameTarget(t, p)
		if !proxy.CanonicalPath(p) {
			return
		}
		if want := path.Clean(p); p != want && p != want+"/" {
			t.Errorf("%q cleans to %q", p, want)
		}
		if strings.ContainsAny(p, ";\\#\x00\r\n") {
			t.Errorf("%q holds a character that was to be refused", p)
		}
		u, err := url.ParseRequestURI((&url.URL{Path: p}).EscapedPath())
		if err != nil || u.Path != p {
			t.Errorf("%q becomes %q on the way, %v", p, u, err)
		}
		if again, err := url.PathUnescape(p); err == nil && again != p {
			t.Errorf("%q can be decoded once more, to %q", p, again)
		}
	})
}

// sameTarget takes p for the target of a request and compares what is sent on with
// what was accepted.
func sameTarget(t *testing.T, p string) {
	t.Helper()
	in, err := url.ParseRequestURI(p)
	if err != nil || proxy.Accept(&http.Request{Method: http.MethodGet, ProtoMajor: 1, RequestURI: p, URL: in}) != nil {
		return
	}
	sent := (&url.URL{Path: in.Path, RawQuery: in.RawQuery}).RequestURI()
	out, err := url.ParseRequestURI(sent)
	if err != nil || out.Path != in.Path || out.RawQuery != in.RawQuery {
		t.Fatalf("%q is sent on as %q and read as %v, %v", p, sent, out, err)
	}
	if err := proxy.Accept(&http.Request{Method: http.MethodGet, ProtoMajor: 1, RequestURI: sent, URL: out}); err != nil {
		t.Errorf("%q is sent on as %q, which would be refused: %v", p, sent, err)
	}
	raw, _, _ := strings.Cut(sent, "?")
	for _, hidden := range [...]string{"//", "/../", "/./", "%2f", "%5c", "%3b", "%00", " "} {
		if strings.Contains(strings.ToLower(strings.TrimSuffix(raw, "/"))+"/", hidden) {
			t.Errorf("%q is sent on as %q", p, sent)
		}
	}
}

// FuzzFraming: where net/http understands a request, it ends where we say it
// ends, or we call it ambiguous; where it understands an answer, that ends where we
// say; and how the bytes arrive makes no difference.
func FuzzFraming(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nTrailer: x\r\n\r\nGET",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\nHost: a\nContent-Length: 0005\n\nhello",
		"POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0005;ext=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore",
		"HTTP/1.1 204\nX: y\n z\nContent-Length: 2\n\nno",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if one, whole := proxy.Ambiguous(b, 1), proxy.Ambiguous(b, len(b)+1); one != whole {
			t.Fatalf("ambiguous byte by byte %v, at once %v", one, whole)
		}
		sameAnswer(t, b)
		source := bytes.NewReader(b)
		r := bufio.NewReaderSize(source, 16)
		req, err := http.ReadRequest(r)
		if err != nil || req.ProtoMajor != 1 {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		want := len(b) - source.Len() - r.Buffered()
		end, ambiguous := proxy.FirstRequest(b, 1)
		if !ambiguous && end != want {
			t.Errorf("ends at %d of %d, net/http says %d", end, len(b), want)
		}
	})
}

// sameAnswer compares where an answer ends with what net/http says.
func sameAnswer(t *testing.T, b []byte) {
	t.Helper()
	for _, method := range [...]string{http.MethodGet, http.MethodHead} {
		source := bytes.NewReader(b)
		r := bufio.NewReaderSize(source, 16)
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil || res.ProtoMajor != 1 || res.StatusCode < 200 {
			continue
		}
		_, err = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if err != nil || res.ContentLength < 0 && len(res.TransferEncoding) == 0 {
			continue
		}
		want := len(b) - source.Len() - r.Buffered()
		for _, step := range [...]int{1, len(b)} {
			if end := proxy.Answer(b, step, method == http.MethodHead); end != want {
				t.Errorf("%s: the answer ends at %d of %d, net/http says %d", method, end, len(b), want)
			}
		}
	}
}
