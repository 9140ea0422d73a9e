package journal

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/matron-epr/matron/audit"
)

const keptMagic = "MATRONK\x01"

// WriteKept writes the records that each hands to add, in ascending order, to a
// file of their own: what stays of a stretch that is disposed of. They are on
// stable storage and have been read back and compared when it returns with the
// SHA-256 of the file. A file that is there is replaced.
func WriteKept(path string, each func(add func(canonical []byte) error) error) (sum [sha256.Size]byte, err error) {
	fail := func(err error) ([sha256.Size]byte, error) {
		return sum, fmt.Errorf("write kept records to %s: %w", path, err)
	}
	d, err := openFolder(filepath.Dir(path), nil)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, d.root.Close()) }()
	name := filepath.Base(path)
	temporary := name + newSuffix
	if err := d.discard(temporary); err != nil {
		return fail(err)
	}
	f, err := d.root.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fail(err)
	}
	wrote := sha256.New()
	if err = packKept(f, wrote, each); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fail(errors.Join(err, d.discard(temporary)))
	}
	read := sha256.New()
	sum, err = readKept(d, temporary, func(_ uint64, canonical []byte, _ *audit.Record) error {
		addLength(read, canonical)
		return nil
	})
	if err == nil && !bytes.Equal(read.Sum(nil), wrote.Sum(nil)) {
		err = errors.New("the disk does not hold what was written")
	}
	if err != nil {
		return fail(errors.Join(err, d.discard(temporary)))
	}
	if err := d.publish(temporary, name); err != nil {
		return fail(err)
	}
	return sum, nil
}

// addLength hashes records so that no other list of records has the same hash.
func addLength(h hash.Hash, canonical []byte) {
	_, _ = fmt.Fprintf(h, "%d\n", len(canonical)) // a hash takes all
	_, _ = h.Write(canonical)
}

func packKept(f io.Writer, wrote hash.Hash, each func(add func([]byte) error) error) error {
	enc, err := zstd.NewWriter(f, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return err
	}
	_, err = io.WriteString(enc, keptMagic)
	var buf []byte
	if err == nil {
		err = each(func(canonical []byte) error {
			addLength(wrote, canonical)
			buf = append(openFrame(buf[:0]), canonical...)
			closeFrame(buf, 0)
			finish(buf, int64(len(keptMagic))) // all of it is one commit
			_, err := enc.Write(buf)
			return err
		})
	}
	return errors.Join(err, enc.Close())
}

// ReadKept hands the records of a file that WriteKept made to visit, and returns
// the SHA-256 of the file.
func ReadKept(path string, visit func(seq uint64, canonical []byte, r *audit.Record) error) (sum [sha256.Size]byte, err error) {
	d, err := openFolder(filepath.Dir(path), nil)
	if err != nil {
		return sum, fmt.Errorf("read kept records: %w", err)
	}
	defer func() { err = errors.Join(err, d.root.Close()) }()
	sum, err = readKept(d, filepath.Base(path), visit)
	if err != nil {
		return sum, fmt.Errorf("read kept records: %w", err)
	}
	return sum, nil
}

func readKept(d folder, name string, visit func(uint64, []byte, *audit.Record) error) (sum [sha256.Size]byte, err error) {
	f, _, err := d.view(name)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	dec, err := zstd.NewReader(io.TeeReader(f, h), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return sum, err
	}
	defer dec.Close()
	damaged := func(off int64, err error) error { return &Damage{File: name, Offset: off, What: err.Error()} }
	magic := make([]byte, len(keptMagic))
	if _, err := io.ReadFull(dec, magic); err != nil || string(magic) != keptMagic {
		return sum, damaged(0, errors.New("not a file of kept records"))
	}
	in := &frames{r: bufio.NewReaderSize(dec, maxPayload+frameHead), off: int64(len(keptMagic)), end: math.MaxInt64}
	for last := uint64(0); ; {
		off := in.off
		fr, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return sum, damaged(off, err)
		}
		r, err := audit.UnmarshalCanonical(fr.payload)
		if err != nil {
			return sum, damaged(off, err)
		}
		if r.Seq <= last {
			return sum, damaged(off, fmt.Errorf("record %d stands behind %d", r.Seq, last))
		}
		last = r.Seq
		if err := visit(r.Seq, fr.payload, &r); err != nil {
			return sum, err
		}
	}
	if _, err := io.Copy(io.Discard, dec); err != nil {
		return sum, damaged(in.off, err)
	}
	_, err = io.Copy(h, f) // what the decoder did not want
	copy(sum[:], h.Sum(nil))
	return sum, err
}

// PutFile makes a small file durable under path, whole or not at all. It fails
// with an error that wraps fs.ErrExist where there is one.
func PutFile(path string, content []byte) (err error) {
	d, err := openFolder(filepath.Dir(path), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.root.Close()) }()
	if _, err := d.root.Lstat(filepath.Base(path)); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("%s: %w", path, fs.ErrExist))
	}
	return d.put(filepath.Base(path), content)
}

// RemoveFile takes a file away durably.
func RemoveFile(path string) (err error) {
	d, err := openFolder(filepath.Dir(path), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.root.Close()) }()
	return d.remove(filepath.Base(path))
}
