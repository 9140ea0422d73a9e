package syslog

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrCursor is what the error wraps when nobody can say any more from where to
// go on.
var ErrCursor = errors.New("syslog cursor cannot be trusted")

// errMove says that the cursor could not be written.
var errMove = errors.New("move cursor")

const cursorMagic = "matron-syslog-cursor 1"

// cursor is the seq up to which every record has arrived for good, in a file
// that is replaced as a whole: a crash leaves the old one or the new one.
type cursor struct {
	path   string
	source string
	seq    uint64
}

// openCursor reads the cursor. Where there is none yet it stands before from.
func openCursor(path, source string, from uint64) (*cursor, error) {
	c := &cursor{path: path, source: source}
	raw, err := os.ReadFile(path) //nolint:gosec // below the data folder
	if errors.Is(err, fs.ErrNotExist) {
		c.seq = max(from, 1) - 1
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCursor, err)
	}
	if err := c.parse(string(raw)); err != nil {
		return nil, fmt.Errorf("%w: %s: %w: move the file away and set export.syslog.from to the first record to send", ErrCursor, path, err)
	}
	return c, nil
}

// parse takes the one line apart: magic, source, seq, CRC-32C of all before it.
func (c *cursor) parse(line string) error {
	body, sum, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " crc32c ")
	if !ok || !strings.HasSuffix(line, "\n") {
		return fmt.Errorf("cut short at offset %d", len(line))
	}
	if got := checksum(body); got != sum {
		return fmt.Errorf("checksum at offset %d: is %q, the content gives %s", len(body)+len(" crc32c "), sum, got)
	}
	words := strings.Fields(strings.TrimPrefix(body, cursorMagic))
	if !strings.HasPrefix(body, cursorMagic+" ") || len(words) != 2 {
		return errors.New("offset 0: not a cursor of version 1")
	}
	if words[0] != c.source {
		return fmt.Errorf("belongs to the source %q, want %q", words[0], c.source)
	}
	seq, err := strconv.ParseUint(words[1], 10, 64)
	if err != nil {
		return fmt.Errorf("seq: %w", err)
	}
	c.seq = seq
	return nil
}

func checksum(s string) string {
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(s), crc32.MakeTable(crc32.Castagnoli)))
}

// move puts the cursor after seq and returns when that is on stable storage.
func (c *cursor) move(seq uint64) error {
	body := fmt.Sprintf("%s %s %d", cursorMagic, c.source, seq)
	temporary := c.path + ".tmp"
	if err := writeSynced(temporary, body+" crc32c "+checksum(body)+"\n"); err != nil {
		return fmt.Errorf("%w: %w", errMove, err)
	}
	if err := os.Rename(temporary, c.path); err != nil {
		return fmt.Errorf("%w: %w", errMove, err)
	}
	if err := syncFolder(filepath.Dir(c.path)); err != nil {
		return fmt.Errorf("%w: %w", errMove, err)
	}
	c.seq = seq
	return nil
}

func writeSynced(path, content string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // below the data folder
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.WriteString(content); err != nil {
		return err
	}
	return f.Sync()
}

func syncFolder(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // below the data folder
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
