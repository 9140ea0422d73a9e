// Package spool takes records from commands that run beside the gateway: the
// journal has one writer, so that a command leaves a file and the gateway
// records it.
//
// It never loses a record and never writes to a journal itself. A record that
// was made durable just before a crash may be recorded again; both then have
// the same Request, which is the name of the file. Put may be called by many
// processes at once, Drain by one.
package spool

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/matron-epr/matron/audit"
)

const (
	suffix   = ".json"
	badName  = ".bad" // appended to the name of a file that cannot be recorded
	maxBytes = 64 << 10
)

// ErrBad says that files cannot be recorded. They were put aside under their
// name and .bad, for a person to look at.
var ErrBad = errors.New("spooled record cannot be recorded")

// Put leaves r for the gateway. It is on stable storage when Put returns. dir is
// made when it is not there. Records of exchanges are the gateway's own and are
// refused.
func Put(dir string, r *audit.Record) error {
	if err := check(r); err != nil {
		return err
	}
	out, err := json.Marshal(r, json.OmitZeroStructFields(true))
	if err != nil {
		return fmt.Errorf("spool record: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("spool record: %w", err)
	}
	var unique [8]byte
	_, _ = rand.Read(unique[:]) // never fails, see crypto/rand
	// Names sort by time, so that records are made in the order of what they tell.
	name := r.Time.UTC().Format("20060102T150405.000000") + "-" + hex.EncodeToString(unique[:])
	return write(dir, name+suffix, append(out, '\n'))
}

// write makes a file that is whole or not there.
func write(dir, name string, content []byte) error {
	temporary := filepath.Join(dir, "."+name)
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // in the data folder
	if err != nil {
		return fmt.Errorf("spool record: %w", err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temporary, filepath.Join(dir, name))
	}
	if err != nil {
		return fmt.Errorf("spool record: %w", errors.Join(err, os.Remove(temporary)))
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // in the data folder
	if err != nil {
		return fmt.Errorf("spool record: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("spool record: %w", err)
	}
	return nil
}

// Drain records what commands have left, oldest first, and returns how much it
// was. A file is removed once its record is durable, and stays when it cannot
// be made so. Files that are no records are put aside; the error then wraps
// ErrBad and the rest has been recorded.
func Drain(ctx context.Context, dir string, log audit.Log) (int, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read spool: %w", err)
	}
	var n int
	var bad []string
	for _, f := range files { // sorted by name
		name := f.Name()
		if strings.HasPrefix(name, ".") || !strings.HasSuffix(name, suffix) {
			continue
		}
		path := filepath.Join(dir, name)
		r, err := read(path)
		if err != nil {
			bad = append(bad, fmt.Sprintf("%s: %v", name, err))
			if err := os.Rename(path, path+badName); err != nil {
				return n, fmt.Errorf("put spooled record aside: %w", err)
			}
			continue
		}
		r.Request = strings.TrimSuffix(name, suffix)
		if _, err := log.Append(ctx, r); err != nil {
			return n, fmt.Errorf("record spooled %s: %w", name, err)
		}
		n++
		if err := os.Remove(path); err != nil {
			return n, fmt.Errorf("remove spooled record: %w", err)
		}
	}
	if len(bad) > 0 {
		return n, fmt.Errorf("%w: %s", ErrBad, strings.Join(bad, "; "))
	}
	return n, nil
}

// read reads one file, which must be one that only its owner can have written.
func read(path string) (*audit.Record, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, errors.New("not a file with access for its owner alone")
	}
	f, err := os.Open(path) //nolint:gosec // in the data folder
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(content) > maxBytes {
		return nil, fmt.Errorf("larger than %d bytes", maxBytes)
	}
	var r audit.Record
	if err := json.Unmarshal(content, &r, json.RejectUnknownMembers(true)); err != nil {
		return nil, errors.New("not one record in JSON")
	}
	return &r, check(&r)
}

// check refuses what only the gateway can know: a forged exchange would look
// like an access that it has witnessed.
func check(r *audit.Record) error {
	witnessed := []audit.Kind{
		"", audit.KindDecision, audit.KindPatient, audit.KindOutcome, audit.KindSignIn, audit.KindSignOut, audit.KindStepUp,
		audit.KindBreakGlassStart, audit.KindBreakGlassEnd, audit.KindLimit, audit.KindCheckpointGap, audit.KindStart, audit.KindStop,
		audit.KindHeartbeat,
	}
	if slices.Contains(witnessed, r.Kind) {
		return fmt.Errorf("spool record: kind %q is for the gateway alone", r.Kind)
	}
	return nil
}
