package crashtest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// orderCalls are those that say what is on stable storage, and the
// acknowledgements, which are writes to standard output.
const orderCalls = "write,pwrite64,fdatasync,fsync,renameat,renameat2,ftruncate,fallocate"

// TestNothingIsAcknowledgedBeforeItIsSynced reads from strace's log that no
// record and no ledger entry was acknowledged while a byte written to a file, or
// a name given to one, was not on stable storage. This is the one kind of trial
// that sees a folder that was not synced: ext4 makes the name durable together
// with the file, so that no power cut on it can.
// hazard:GW-04 control:C-17
func TestNothingIsAcknowledgedBeforeItIsSynced(t *testing.T) {
	requireStrace(t)
	for _, c := range []struct{ name, bug, inject, variant string }{
		{"Matron as it is", "", "", ""},
		{"no fsync", "no fsync", "fdatasync:retval=0", ""},
		{"early", "acknowledged before the fsync", "fdatasync:delay_enter=5000", "early"},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin(t, "order of syncs and acknowledgements", c.bug).once(func(int) error {
				dir := t.TempDir()
				_, calls, err := strace(t, orderCalls, c.inject, nil, scriptDriver, dir, c.variant)
				if err != nil {
					t.Fatal(err)
				}
				return ordered(calls, dir)
			})
		})
	}
	t.Run("no folder sync", func(t *testing.T) {
		begin(t, "order of syncs and acknowledgements", "no fsync of the folder").once(func(int) error {
			dir := t.TempDir()
			_, calls, err := strace(t, orderCalls, "", nil, scriptDriver, dir)
			if err != nil {
				t.Fatal(err)
			}
			// strace can leave out these alone only with -P, which hides the others.
			for i := range calls {
				calls[i].injected = calls[i].injected || calls[i].name == "fdatasync" && calls[i].path() == filepath.Join(dir, "journal")
			}
			return ordered(calls, dir)
		})
	})
}

// stable is what a log shows of the disk.
type stable struct {
	folder string
	writes map[string]map[string]*write // by file and offset: a commit is written anew at its place
	names  string                       // the latest name that is not durable
	acks   int
}

type write struct {
	frames int
	synced bool
}

// ordered reads a log. A call that was injected did not happen.
func ordered(calls []call, dir string) error {
	s := stable{folder: filepath.Join(dir, "journal"), writes: map[string]map[string]*write{}}
	for _, c := range calls {
		path := c.path()
		switch {
		case c.name == "write" && strings.HasPrefix(c.args, "1<"):
			for _, said := range strings.Split(strings.Split(c.args, `"`)[1], `\n`) {
				if err := s.acknowledged(said); err != nil {
					return err
				}
			}
		case !strings.HasPrefix(path, s.folder):
		case c.name == "pwrite64" && !c.injected:
			s.wrote(path, c.args)
		case strings.HasPrefix(c.name, "rename") && c.ok():
			s.renamed(c.args)
		case strings.HasSuffix(c.name, "sync") && c.ok():
			s.synced(path)
		}
	}
	if s.acks < 20 {
		return fmt.Errorf("the log shows only %d acknowledgements", s.acks)
	}
	return nil
}

func (s *stable) wrote(path, args string) {
	if s.writes[path] == nil {
		s.writes[path] = map[string]*write{}
	}
	frames := 0
	switch {
	case strings.HasSuffix(path, ".seg"):
		frames = strings.Count(args, `\2\3`+source) // each record names its source once
	case strings.Contains(args, "entry-"):
		frames = 1
	}
	fields := strings.Split(strings.Split(args, ") = ")[0], ", ")
	s.writes[path][fields[len(fields)-1]] = &write{frames: frames}
}

func (s *stable) synced(path string) {
	if path == s.folder {
		s.names = ""
	}
	for _, w := range s.writes[path] {
		w.synced = true
	}
}

// renamed carries what was written over to a file's new name, which is itself
// not durable until the folder is synced.
func (s *stable) renamed(args string) {
	if names := strings.Split(args, `"`); len(names) > 3 {
		from, to := filepath.Join(s.folder, names[1]), filepath.Join(s.folder, names[3])
		s.writes[to] = s.writes[from]
		delete(s.writes, from)
		s.names = names[3]
	}
}

// acknowledged says what is wrong with a line that a driver said.
func (s *stable) acknowledged(said string) error {
	var n int
	file := ".seg"
	if _, err := fmt.Sscanf(said, "ack %d ", &n); err != nil {
		if _, err := fmt.Sscanf(said, "entry entry-%d", &n); err != nil {
			return nil //nolint:nilerr // it acknowledges nothing
		}
		file = "blocks"
	}
	s.acks++
	if s.names != "" {
		return fmt.Errorf("%.20q was said before the folder was synced that names %s", said, s.names)
	}
	safe := 0
	for path, writes := range s.writes {
		for _, w := range writes {
			if strings.HasSuffix(path, file) && w.synced {
				safe += w.frames
			}
		}
	}
	if safe < n {
		return fmt.Errorf("%.20q was said when %d of them were synced", said, safe)
	}
	return nil
}
