package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect/explain"
	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
	"github.com/matron-epr/matron/audit/history"
	"github.com/matron-epr/matron/audit/intake"
	"github.com/matron-epr/matron/audit/pseudonym"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// folder is accesses and their context, as "simulate hospital" writes them, in
// memory. Its hashes are of a key that nobody keeps.
type folder struct {
	dir      string
	inputs   []string // files that it is read from
	context  feeds.Context
	engine   *explain.Engine
	accesses *table.Table
	machines map[uint32]bool // of the people of accesses
	location *time.Location
}

// accessesFeed is the file of accesses beside the feeds.
const accessesFeed feeds.Kind = "accesses"

// openFolder reads a folder and puts its accesses into order. The feeds that are
// named in without are taken for missing.
func openFolder(c *cobra.Command, dir string, location *time.Location, without []string) (*folder, error) {
	path := inFolder(dir, accessesFeed)
	if path == "" {
		return nil, fmt.Errorf("%s holds no accesses.ndjson or accesses.ndjson.zst: make it with \"matron simulate hospital --out %s\"", dir, dir)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	hash, err := pseudonym.New(key)
	if err != nil {
		return nil, err
	}
	f := &folder{dir: dir, accesses: table.New(), machines: map[uint32]bool{}, location: location}
	files, err := folderFeeds(dir, without)
	if err != nil {
		return nil, err
	}
	f.inputs = inputFiles(path, files)
	if f.context, err = readFeeds(c, feeds.Hasher{Hasher: hash}, files); err != nil {
		return nil, err
	}
	for k, about := range f.context.About {
		about.AsOf = time.Time{} // when the folder was written says nothing about a made-up hospital
		f.context.About[k] = about
	}
	if err := f.read(c, path, hash); err != nil {
		return nil, err
	}
	f.accesses.Sort()
	f.accesses.Settle()
	f.engine = explain.New(explain.Config{Location: location}, f.context)
	for i := range f.context.Staff {
		if s := &f.context.Staff[i]; s.Kind == "machine" {
			if n, ok := f.accesses.People.Find(s.Person); ok {
				f.machines[n] = true
			}
		}
	}
	return f, nil
}

// read takes the accesses in, as an import does, but into memory.
func (f *folder) read(c *cobra.Command, path string, hash pseudonym.Hasher) error {
	in, name, size, err := openImport(c, path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	progress := new(history.Progress)
	stop := showProgress(c.ErrOrStderr(), name, progress, size)
	rejects := &intake.RejectFile{Path: path + ".rejects.ndjson"}
	s, err := history.Import(c.Context(), history.Config{
		Format: history.Accesses, Site: "RUN", Hasher: hash, Progress: progress, Store: intoTable{f.accesses}, Rejects: rejects.Add,
		Import: audit.Import{At: time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)}, // a made-up hospital may live in the future
	}, in)
	stop()
	where, err := rejects.Close(err)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if s.Rejected > 0 {
		c.PrintErrf("%d lines of %s were left out: %s\n", s.Rejected, path, where)
	}
	if f.accesses.Len() == 0 {
		return errors.New(path + " holds no access")
	}
	return nil
}

// intoTable is a store that keeps everything in memory. Blocks come in order.
type intoTable struct{ *table.Table }

// FindImported finds nothing: a folder is read once.
func (intoTable) FindImported(context.Context, []audit.Imported) ([]audit.Imported, error) {
	return nil, nil
}

// InsertImported takes a block in.
func (t intoTable) InsertImported(_ context.Context, _ string, rows []audit.Imported) error {
	for i := range rows {
		t.Add(&rows[i])
	}
	return nil
}

// days is how many days the accesses span.
func (f *folder) days() int {
	day := func(row int) time.Time {
		y, m, d := f.accesses.Time(row).In(f.location).Date()
		return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	}
	return 1 + int(day(f.accesses.Len()-1).Sub(day(0)).Hours()/24)
}

// labels reads what really happened.
func (f *folder) labels() ([]feeds.Label, error) {
	path := inFolder(f.dir, feeds.LabelsFeed)
	if path == "" {
		return nil, fmt.Errorf("%s holds no labels.ndjson", f.dir)
	}
	return gateway.ReadLabels(path)
}
