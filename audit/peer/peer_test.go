//go:build linux

package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
)

// authority signs certificates of gateways.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("authority", nil)
	return a
}

// sign makes a certificate, of the authority itself when it has none yet.
func (a *authority) sign(name string, key *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	var err error
	if key == nil {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			a.t.Fatal(err)
		}
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.ExtKeyUsage = true, true, nil
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// files writes a certificate of that name.
func (a *authority) files(name string) Files {
	a.t.Helper()
	cert, key := a.sign(name, nil)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	f := Files{Certificate: filepath.Join(a.dir, name+".pem"), Key: filepath.Join(a.dir, name+".key"), CA: filepath.Join(a.dir, "ca.pem")}
	for path, block := range map[string]*pem.Block{
		f.Certificate: {Type: "CERTIFICATE", Bytes: cert.Raw}, f.Key: {Type: "EC PRIVATE KEY", Bytes: der},
		f.CA: {Type: "CERTIFICATE", Bytes: a.cert.Raw},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return f
}

func (a *authority) tls(name string) *tls.Config {
	a.t.Helper()
	c, err := a.files(name).TLS()
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// running is a gateway gw2 that keeps segments for gw1 and gw3.
type running struct {
	dir, address string
	stop         func()
}

func run(t *testing.T, a *authority, dir, address string, maxBytes int64) running {
	t.Helper()
	s, err := NewServer(ServerConfig{Dir: dir, Allow: []string{"gw1", "gw3"}, MaxBytes: maxBytes})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	s.Register(mux)
	server := NewHTTPServer(mux)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(tls.NewListener(l, a.tls("gw2")))
	}()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		_ = server.Close()
		<-served
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return running{dir, l.Addr().String(), stop}
}

func place(t *testing.T, a *authority, name, address string) *Place {
	t.Helper()
	p, err := New(Config{Name: "gw2", Address: address, TLS: a.tls(name)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

const seg = "00000000000000000007.seg"

// mustCreate makes a segment that begins with "head".
func mustCreate(t *testing.T, p *Place) journal.File {
	t.Helper()
	if err := p.Open("gw1", false); err != nil {
		t.Fatal(err)
	}
	f, err := p.Create(seg, []byte("head"), 1000)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSegmentIsKeptAndGivenBack(t *testing.T) {
	a := newAuthority(t)
	r := run(t, a, t.TempDir(), "127.0.0.1:0", 1<<30)
	p := place(t, a, "gw1", r.address)
	if err := p.Open("gw1", true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a gateway that never kept anything is taken for the one that did: %v", err)
	}
	f := mustCreate(t, p)
	long := strings.Repeat("0123456789", 1<<20) // more than one call carries
	for _, part := range []struct {
		text string
		off  int64
	}{{"abc", 4}, {long, 7}} {
		if n, err := f.WriteAt([]byte(part.text), part.off); err != nil || n != len(part.text) {
			t.Fatal(n, err)
		}
	}
	if err := errors.Join(f.Sync(), f.Truncate(7+int64(len(long))), f.Close()); err != nil {
		t.Fatal(err)
	}
	onDisk, err := os.ReadFile(filepath.Join(r.dir, "gw1", seg))
	if err != nil || string(onDisk) != "headabc"+long {
		t.Fatalf("%d bytes on disk, %v", len(onDisk), err)
	}
	names, err := p.List()
	if err != nil || !slices.Equal(names, []string{seg}) {
		t.Errorf("list: %v, %v", names, err)
	}
	v, size, err := p.View(seg)
	if err != nil || size != int64(len(onDisk)) {
		t.Fatalf("view: %d, %v", size, err)
	}
	got, err := io.ReadAll(io.NewSectionReader(v, 0, size))
	if err != nil || !slices.Equal(got, onDisk) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if _, err := v.ReadAt(make([]byte, 9), size-4); !errors.Is(err, io.EOF) {
		t.Errorf("read past the end: %v", err)
	}
	if _, err := f.WriteAt([]byte("more"), size); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("append to a sealed segment: %v", err)
	}
	if err := errors.Join(p.Remove(seg), p.Remove(seg)); err != nil {
		t.Error(err)
	}
	if _, _, err := p.View(seg); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("view of a removed segment: %v", err)
	}
}

// TestNothingIsOverwritten: the same again is answered as before, other bytes,
// gaps and other heads are refused and change nothing.
func TestNothingIsOverwritten(t *testing.T) {
	a := newAuthority(t)
	r := run(t, a, t.TempDir(), "127.0.0.1:0", 1<<30)
	p := place(t, a, "gw1", r.address)
	f := mustCreate(t, p)
	write := func(text string, off int64) error {
		_, err := f.WriteAt([]byte(text), off)
		return err
	}
	for _, step := range []struct {
		text string
		off  int64
		fine bool
	}{
		{"abc", 4, true}, {"abc", 4, true}, {"bcdef", 5, true}, {"abX", 4, false}, {"X", 0, false}, {"g", 99, false}, {"defX", 7, true}, {"Y", 10, false},
	} {
		if err := write(step.text, step.off); (err == nil) != step.fine {
			t.Errorf("%q at %d: %v", step.text, step.off, err)
		}
	}
	got, err := os.ReadFile(filepath.Join(r.dir, "gw1", seg))
	if err != nil || string(got) != "headabcdefX" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := p.Create(seg, []byte("head"), 9); err == nil {
		t.Error("a segment that holds something was made anew")
	}
	if err := f.Truncate(5); err == nil {
		t.Error("sealed at a size that it does not have")
	}
	for _, name := range []string{"../gw3/" + seg, "lock", "7.seg", seg + ".zst", "%2e%2e"} {
		if _, err := p.Create(name, []byte("head"), 9); err == nil {
			t.Errorf("%s was made", name)
		}
	}
}

func TestShareIsBounded(t *testing.T) {
	a := newAuthority(t)
	r := run(t, a, t.TempDir(), "127.0.0.1:0", 1500)
	p := place(t, a, "gw1", r.address)
	f := mustCreate(t, p)
	if _, err := f.WriteAt(make([]byte, 1000), 4); err != nil {
		t.Fatal(err)
	}
	_, err := f.WriteAt(make([]byte, 1000), 1004)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "1004 bytes are kept for gw1, 1000 more would exceed max_bytes 1500") {
		t.Errorf("append: %v", err)
	}
	if err := p.Probe(1000); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("probe: %v", err)
	}
	if _, err := p.Create("00000000000000000008.seg", []byte("head"), 1000); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("create: %v", err)
	}
	if err := p.Probe(100); err != nil {
		t.Error(err)
	}
	other := place(t, a, "gw3", r.address) // has a share of its own
	if err := errors.Join(other.Open("gw3", false), other.Probe(1000)); err != nil {
		t.Error(err)
	}
	if names, err := other.List(); err != nil || len(names) > 0 {
		t.Errorf("gw3 sees %v, %v", names, err)
	}
}

// TestStrangersAreRefused: another authority, no certificate, and a name that is
// not on the list; and a server that is not the one that is meant.
func TestStrangersAreRefused(t *testing.T) {
	a := newAuthority(t)
	r := run(t, a, t.TempDir(), "127.0.0.1:0", 1<<30)
	if err := place(t, newAuthority(t), "gw1", r.address).Open("gw1", false); err == nil {
		t.Error("a certificate of another authority was taken")
	}
	if err := place(t, a, "gw9", r.address).Open("gw9", false); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("gw9: %v", err)
	}
	bare := a.tls("gw1")
	bare.Certificates = nil
	p, err := New(Config{Name: "gw2", Address: r.address, TLS: bare})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Open("gw1", false); err == nil {
		t.Error("taken without a certificate")
	}
	wrong, err := New(Config{Name: "gw4", Address: r.address, TLS: a.tls("gw1")})
	if err != nil {
		t.Fatal(err)
	}
	if err := wrong.Open("gw1", false); err == nil {
		t.Error("gw2 was taken for gw4")
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// fullDisk is a small file system without room.
func fullDisk(t *testing.T) (dir string, empty func()) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size=4m"); err != nil {
		t.Fatalf("mount a small file system: %v (this test needs root, or a user namespace with mounts)", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir, func() {
		if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
			t.Fatal(err)
		}
	}
}

func fill(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 8<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
}

// TestJournalGoesOnAtAPeer: the disk is full, the peer takes over, dies and comes
// back; in the end everything is home and the primary alone is the whole record.
func TestJournalGoesOnAtAPeer(t *testing.T) {
	a := newAuthority(t)
	kept := t.TempDir()
	r := run(t, a, kept, "127.0.0.1:0", 1<<30)
	dir, empty := fullDisk(t)
	cfg := journal.Config{
		Dir: dir, Source: "gw1", Now: time.Now, SegmentBytes: 1 << 16, ProbeEvery: 2 * time.Millisecond, AppendTimeout: 20 * time.Second,
		Second: []journal.Place{place(t, a, "gw1", r.address)},
	}
	if err := journal.Create(cfg); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	record := func() error {
		_, err := j.Append(t.Context(), &audit.Record{Kind: audit.KindDecision, Query: strings.Repeat("q", 9000)})
		return err
	}
	n := uint64(0)
	must := func(times int) {
		t.Helper()
		for range times {
			if err := record(); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	must(2)
	fill(t, dir)
	must(30)
	if s := j.Stats(); s.Place != "peer gw2" || !s.Second {
		t.Fatalf("%+v", s)
	}
	if got, err := j.Read(1, 100); err != nil || uint64(len(got)) != n {
		t.Errorf("read %d records, %v", len(got), err)
	}
	r.stop()
	for err = record(); err == nil; err = record() {
		n++
	}
	if !errors.Is(err, audit.ErrNotDurable) {
		t.Fatalf("append without any place: %v", err)
	}
	n++ // it was taken, and is written when there is a place
	r = run(t, a, kept, r.address, 1<<30)
	if err := j.Wait(t.Context(), n-1); err != nil {
		t.Fatal(err)
	}
	must(3)
	empty()
	for j.Stats().Second {
		must(1)
	}
	for {
		names, err := cfg.Second[0].List()
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	report, err := journal.Verify(journal.VerifyOptions{Dirs: []string{dir}})
	if err := errors.Join(err, report.Err()); err != nil || report.Records != n {
		t.Errorf("%d of %d records, %v", report.Records, n, err)
	}
}

// TestWrongBytesFromAPeerAreFound by the checksums of the journal, and by Verify
// of what the peer keeps.
func TestWrongBytesFromAPeerAreFound(t *testing.T) {
	a := newAuthority(t)
	r := run(t, a, t.TempDir(), "127.0.0.1:0", 1<<30)
	dir, _ := fullDisk(t)
	cfg := journal.Config{
		Dir: dir, Source: "gw1", Now: time.Now, SegmentBytes: 1 << 16, AppendTimeout: 20 * time.Second,
		Second: []journal.Place{place(t, a, "gw1", r.address)},
	}
	if err := journal.Create(cfg); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	fill(t, dir)
	for range 12 {
		if _, err := j.Append(t.Context(), &audit.Record{Query: strings.Repeat("q", 9000)}); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(r.dir, "gw1", "*.seg"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[2000] ^= 1
	if err := errors.Join(os.Chmod(files[0], 0o600), os.WriteFile(files[0], b, 0o600)); err != nil {
		t.Fatal(err)
	}
	for from := uint64(1); ; {
		got, err := j.Read(from, 100)
		if errors.Is(err, journal.ErrCorrupt) {
			break
		}
		if err != nil || len(got) == 0 {
			t.Fatalf("read %d on: %d records, %v", from, len(got), err)
		}
		from += uint64(len(got))
	}
	report, err := journal.Verify(journal.VerifyOptions{Dirs: []string{dir, filepath.Join(r.dir, "gw1")}})
	if err != nil || !errors.Is(report.Err(), journal.ErrCorrupt) {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestNoSecondTryAfterAFailedWrite: what a disk failed to take once is not tried
// again on the same file.
func TestNoSecondTryAfterAFailedWrite(t *testing.T) {
	a := newAuthority(t)
	dir, empty := fullDisk(t)
	r := run(t, a, dir, "127.0.0.1:0", 1<<30)
	f := mustCreate(t, place(t, a, "gw1", r.address))
	fill(t, dir)
	if _, err := f.WriteAt(make([]byte, 1<<16), 4); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("append on a full disk: %v", err)
	}
	empty()
	if _, err := f.WriteAt(make([]byte, 1<<16), 4); err == nil || !strings.Contains(err.Error(), "takes nothing more after a failed write") {
		t.Errorf("append again: %v", err)
	}
}
