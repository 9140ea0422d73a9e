package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/matron-epr/matron/policy/care/fhir"
)

// fhirMark is how far a FHIR server has been asked. It is kept on disk, since what was
// heard of it last does not tell whether that was all.
type fhirMark struct {
	Read  fhir.Config // how its resources were read
	Since time.Time   // what has changed before is known, by the server's clock
	Heard time.Time   // when it was asked, by ours
}

// fhirMarkFile stands in the folder of the register.
const fhirMarkFile = "fhir-mark.json"

// heard is when the server was last asked with success, zero if it never was.
func (f *fhirFeed) heard() time.Time { return f.mark.Load().Heard }

// advance keeps how far the server has been asked.
func (f *fhirFeed) advance(m fhirMark) error {
	if m.Since.IsZero() {
		m.Since = m.Heard // a server without a clock of its own
	}
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode how far the FHIR server was asked: %w", err)
	}
	path := filepath.Join(f.care.dir, fhirMarkFile)
	if err := errors.Join(os.WriteFile(path+".new", b, 0o600), os.Rename(path+".new", path)); err != nil {
		return fmt.Errorf("keep how far the FHIR server was asked: %w", err)
	}
	f.mark.Store(&m)
	return nil
}

// recall reads how far the server was asked before the start. On error, or where
// another server was asked or its resources were read otherwise: it is asked for all.
func (f *fhirFeed) recall(ctx context.Context) {
	if f == nil {
		return
	}
	b, err := os.ReadFile(filepath.Join(f.care.dir, fhirMarkFile))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var m fhirMark
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		f.care.log.LogAttrs(ctx, slog.LevelWarn, "how far the FHIR server was asked cannot be read; it is asked for all", slog.Any("error", err))
		return
	}
	if reflect.DeepEqual(m.Read, f.read) {
		f.mark.Store(&m)
	}
}
