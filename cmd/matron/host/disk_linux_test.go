package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestMeasuresTheRealDisk(t *testing.T) {
	u, err := Measure(t.TempDir())
	if err != nil || u.Used <= 0 || u.Used > 1 || u.Free == 0 || u.ReadOnly {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := Measure(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	if got := share(0, 0); got != 0 {
		t.Errorf("a file system that counts no files is %v full", got)
	}
}
