// Package ledger keeps what people decide about the gateway itself, such as a bypass,
// a major incident or new rules: a file of JSON entries to which entries are only
// added, each naming the hash of the one before, and the signatures in them.
//
// It says what of a file can be believed, and nothing about what entries mean: its
// callers fold them. A file may be changed by one process at a time.
package ledger

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/matron-epr/matron/audit/journal"
)

// Link is the beginning of every entry: a type of entries embeds it.
type Link struct {
	Version int    `json:"v"`
	Before  string `json:"before"` // hash of the entry before
	ID      string `json:"id,omitempty"`
}

// follow puts an entry behind the one with this hash.
func (l *Link) follow(before string) { l.Version, l.Before = 1, before }

// Entry is a pointer to a value that embeds Link.
type Entry interface{ follow(before string) }

// Take folds one entry, as JSON, into what its caller knows. It refuses what says
// nothing that can follow.
type Take func(payload []byte) error

// File is a file that nobody else can change.
type File struct {
	take Take
	sum  string
	file *journal.Ledger
}

const (
	// settling is how often and how long a reader waits for an entry that somebody
	// is writing.
	settling      = 5
	settlingPause = 20 * time.Millisecond
)

// read returns the entries of a file that is whole. A last entry that cannot be read
// may be the end of something: it must not be taken for one that was never written
// (GW-19).
func read(path string) (entries [][]byte, err error) {
	for range settling {
		if entries, err = journal.ReadWholeLedger(path); !errors.Is(err, journal.ErrCorrupt) {
			return entries, err
		}
		time.Sleep(settlingPause)
	}
	return nil, err
}

// Read folds the file at path beside whoever changes it. One that is not there holds
// nothing.
func Read(path string, take Take) error {
	entries, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return (&File{take: take}).fold(entries, err)
}

// ReadEarlier is Read, but leaves a last entry out that cannot be read: for what never
// took effect where its write was interrupted.
func ReadEarlier(path string, take Take) error {
	f := &File{take: take}
	return f.fold(journal.ReadLedger(path))
}

// Open folds the file at path so that nobody else can change it until Close, and makes
// it when it is not there.
func Open(path string, take Take) (*File, error) {
	if _, err := read(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // OpenLedger would cut it back
		return nil, err
	}
	file, entries, err := journal.OpenLedger(path)
	if errors.Is(err, journal.ErrLocked) {
		return nil, fmt.Errorf("%w: somebody else is changing it: try again", err)
	}
	f := &File{take: take, file: file}
	if err := f.fold(entries, err); err != nil {
		if file != nil {
			err = errors.Join(err, file.Close())
		}
		return nil, err
	}
	return f, nil
}

// Close lets others change the file.
func (f *File) Close() error { return f.file.Close() }

// Append makes an entry durable and folds it.
func (f *File) Append(e Entry) error {
	e.follow(f.sum)
	payload, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := f.file.Append(payload); err != nil {
		return err
	}
	return f.next(payload)
}

func (f *File) fold(entries [][]byte, err error) error {
	if err != nil {
		return err
	}
	for i, payload := range entries {
		if err := f.next(payload); err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	return nil
}

func (f *File) next(payload []byte) error {
	var l Link
	if err := json.Unmarshal(payload, &l); err != nil {
		return errors.New("it is not one in JSON")
	}
	if l.Version != 1 || l.Before != f.sum {
		return errors.New("it does not follow the one before it")
	}
	if err := f.take(payload); err != nil {
		return err
	}
	sum := sha256.Sum256(payload)
	f.sum = hex.EncodeToString(sum[:])
	return nil
}

// NewID returns an id that no other entry has, after a letter that says of what.
func NewID(letter string) string {
	var unique [4]byte
	_, _ = rand.Read(unique[:]) // never fails, see crypto/rand
	return letter + hex.EncodeToString(unique[:])
}
