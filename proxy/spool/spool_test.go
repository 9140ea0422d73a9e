package spool

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/matron-epr/matron/proxy"
)

const chunk = 64 << 10

func text() []byte { return bytes.Repeat([]byte("patient 4711 has an appointment.\n"), 3*chunk/33) }

// kept is a sealed file of text.
func kept(t *testing.T, most int64) (*Spool, *file) {
	t.Helper()
	s, err := New(Config{Dir: filepath.Join(t.TempDir(), "spool"), Max: most})
	if err != nil {
		t.Fatal(err)
	}
	made, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := made.Write(text()); err != nil {
		t.Fatal(err)
	}
	if err := made.Seal(); err != nil {
		t.Fatal(err)
	}
	return s, made.(*file)
}

func read(f *file) ([]byte, error) { return io.ReadAll(io.NewSectionReader(f, 0, f.size)) }

// TestNothingReadableIsLeft: a file has no name, and what it holds is not what was
// written.
// hazard:GW-18 control:C-74
func TestNothingReadableIsLeft(t *testing.T) {
	s, f := kept(t, 1<<20)
	if left, err := os.ReadDir(s.dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v: want an empty folder", left, err)
	}
	info, err := f.f.Stat()
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	raw := make([]byte, info.Size())
	if _, err := f.f.ReadAt(raw, 0); err != nil || bytes.Contains(raw, []byte("4711")) {
		t.Errorf("the file holds the text: %v", err)
	}
	for range 2 {
		if got, err := read(f); err != nil || !bytes.Equal(got, text()) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
	}
	if err := f.Close(); err != nil || s.used.Load() != 0 {
		t.Errorf("%d bytes are still used, %v", s.used.Load(), err)
	}
}

// TestAnEmptyFileOfACrashIsTakenAway as soon as there is a Spool again.
func TestAnEmptyFileOfACrashIsTakenAway(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, prefix+"1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// TestTamperingIsFound: nothing of a changed chunk comes out, nor of what was cut or
// moved.
func TestTamperingIsFound(t *testing.T) {
	for name, tamper := range map[string]func(t *testing.T, f *os.File, size int64){
		"a bit": func(t *testing.T, f *os.File, size int64) {
			b := make([]byte, 1)
			_, _ = f.ReadAt(b, size-2*chunk)
			b[0] ^= 1
			if _, err := f.WriteAt(b, size-2*chunk); err != nil {
				t.Fatal(err)
			}
		},
		"the end cut off": func(t *testing.T, f *os.File, size int64) {
			if err := f.Truncate(size - chunk); err != nil {
				t.Fatal(err)
			}
		},
		"one chunk in the place of another": func(t *testing.T, f *os.File, size int64) {
			b := make([]byte, chunk+16)
			_, _ = f.ReadAt(b, size-int64(len(b)))
			if _, err := f.WriteAt(b, size-2*int64(len(b))); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, f := kept(t, 1<<20)
			info, err := f.f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			tamper(t, f.f, info.Size())
			got, err := read(f)
			if !errors.Is(err, proxy.ErrSpool) || errors.Is(err, io.EOF) {
				t.Errorf("got %v", err)
			}
			if !bytes.HasPrefix(text(), got) || len(got) == len(text()) {
				t.Errorf("%d bytes came out that were not written", len(got))
			}
		})
	}
}

// TestAnEndThatComesEarlyIsNone: what reads the file must not take it for the end of
// the response.
func TestAnEndThatComesEarlyIsNone(t *testing.T) {
	_, f := kept(t, 1<<20)
	f.plain = bytes.NewReader(text()[:chunk])
	if _, err := read(f); !errors.Is(err, proxy.ErrSpool) || errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}

// TestSpoolIsBounded: all files together are, and what is closed makes room.
func TestSpoolIsBounded(t *testing.T) {
	s, f := kept(t, int64(len(text()))+10)
	second, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Write(make([]byte, 10)); err != nil {
		t.Errorf("within the bound: %v", err)
	}
	if _, err := second.Write(make([]byte, 1)); !errors.Is(err, proxy.ErrSpoolFull) {
		t.Errorf("beyond the bound: %v", err)
	}
	_, _ = f.Close(), second.Close()
	if s.used.Load() != 0 {
		t.Errorf("%d bytes are still used", s.used.Load())
	}
}
