package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/klauspost/compress/zstd"
)

// defaultKeepPlain is how many segments behind the newest one stay as they are.
const defaultKeepPlain = 2

// Archive compresses segments all of whose records have a number up to upTo,
// except the newest ones, and puts them into the archive folder. The plain one is
// removed only when the compressed one is on stable storage and has been read
// back and compared: a crash leaves both or the plain one, never none (GW-13).
func (j *Journal) Archive(upTo uint64) error {
	j.archiving.Lock()
	defer j.archiving.Unlock()
	to, place, err := j.openArchive()
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if err := j.archiveSegments(to, place, upTo); err != nil {
		return err
	}
	if err := j.archiveProofs(); err != nil {
		return fmt.Errorf("archive hashes and checkpoints: %w", err)
	}
	return nil
}

func (j *Journal) archiveSegments(to folder, place Place, upTo uint64) error {
	chain := j.shelf.segments()
	for i, h := range chain {
		if len(chain)-1-i <= j.cfg.KeepPlain || chain[i+1].id.first-1 > upTo {
			return nil
		}
		if h.where[0] != (location{place: j.sites[0].Place}) {
			continue // compressed already, or not at home yet
		}
		select {
		case <-j.closing:
			return nil
		default:
		}
		if err := j.archive(to, place, h); err != nil {
			return fmt.Errorf("archive %s: %w", h.name(), err)
		}
	}
	return nil
}

// openArchive returns the folder that compressed segments go to.
func (j *Journal) openArchive() (folder, Place, error) {
	if j.cfg.Archive == "" {
		return j.dir, j.sites[0].Place, nil
	}
	if err := j.packs.view(); err != nil {
		return folder{}, nil, err
	}
	d, err := j.packs.folder()
	return d, j.packs, err
}

// archive compresses one segment.
func (j *Journal) archive(to folder, place Place, h held) (err error) {
	plain, size, err := j.dir.view(h.name())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.Close()) }()
	name := h.id.stem() + packedSuffix
	_, err = to.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		err = to.pack(plain, size, name)
	} else if err == nil {
		err = errors.Join(to.sameUnpacked(plain, size, name), to.sync()) // an earlier call got that far
	}
	if err != nil {
		return err
	}
	j.shelf.move(h.id, location{place, true})
	if err := j.dir.remove(h.name()); err != nil {
		return err
	}
	j.cfg.Log.LogAttrs(context.Background(), slog.LevelInfo, "journal: archived a segment",
		slog.String("segment", name), slog.Int64("bytes", size))
	return nil
}

// pack makes a compressed copy durable under name, after comparing it.
func (d folder) pack(from io.ReaderAt, size int64, name string) error {
	temporary := name + newSuffix
	if err := d.discard(temporary); err != nil {
		return err
	}
	f, _, err := d.open(temporary, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	err = compress(&appender{f: f}, io.NewSectionReader(from, 0, size), size)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.sameUnpacked(from, size, temporary)
	}
	if err != nil {
		return errors.Join(err, d.discard(temporary))
	}
	return d.publish(temporary, name)
}

func compress(w io.Writer, r io.Reader, size int64) error {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return err
	}
	enc.ResetContentSize(w, size)
	_, err = io.Copy(enc, r)
	return errors.Join(err, enc.Close())
}

// sameUnpacked returns an error unless the compressed file holds these bytes.
func (d folder) sameUnpacked(want io.ReaderAt, size int64, name string) (err error) {
	f, n, err := d.view(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	dec, err := zstd.NewReader(io.NewSectionReader(f, 0, n), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	defer dec.Close()
	return sameBytes(io.NewSectionReader(want, 0, size), dec, name)
}

// appender writes to a file from its beginning on.
type appender struct {
	f   file
	off int64
}

func (a *appender) Write(p []byte) (int, error) {
	n, err := a.f.WriteAt(p, a.off)
	a.off += int64(n)
	return n, err
}
