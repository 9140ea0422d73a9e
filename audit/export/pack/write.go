package pack

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit/export"
	"github.com/matron-epr/matron/audit/merkle"
)

// Contents is what goes into a pack.
type Contents struct {
	Question Question
	Entries  []Entry
	Read     Read
	Disposed []Disposed
	MadeAt   time.Time
	MadeBy   string // the account that ran the export
	Program  string // name and version
	Site     string
	Source   string
	Location *time.Location // of the times in the report

	Checkpoint merkle.Checkpoint
	Note       []byte // the signed checkpoint, with what cosignatures there are
	Key        string // the log's public key
	// Prove yields the proof of a record in the tree of Checkpoint.
	Prove func(index uint64, c merkle.Checkpoint) ([]merkle.Hash, error)
	// Progress is told how many records have been proved; nil for nobody.
	Progress func(done, total int)
}

// Read is the stretch of the log that was looked at for a pack.
type Read struct {
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Records uint64 `json:"records"`
}

// Disposed is a stretch of the log that was disposed of before the pack was made:
// only what was kept of it could be looked at.
type Disposed struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	Kept  uint64 `json:"kept"`
	Who   string `json:"who"` // who planned, approved and applied it, and when
}

// Manifest is manifest.json: what the pack is and the hash of each other file.
type Manifest struct {
	Format   string     `json:"format"`
	MadeAt   time.Time  `json:"made_at"`
	MadeBy   string     `json:"made_by"`
	Program  string     `json:"program"`
	Site     string     `json:"site"`
	Source   string     `json:"source"`
	Origin   string     `json:"origin"`
	Question Question   `json:"question"`
	Read     Read       `json:"read"`
	Disposed []Disposed `json:"disposed,omitempty"`
	Records  int        `json:"records"`
	Accesses int        `json:"accesses"`
	TreeSize uint64     `json:"tree_size"`
	TreeRoot string     `json:"tree_root"`
	Files    []File     `json:"files"`
}

// File is one file of a pack.
type File struct {
	Name   string `json:"name"`
	Size   uint64 `json:"size"`
	SHA256 string `json:"sha256"`
}

// Write makes a pack in f, which must be empty, and signs it. On error f holds
// nothing that Verify would take.
func Write(f *os.File, c Contents, signer note.Signer) error {
	w := &writer{zip: zip.NewWriter(f), at: c.MadeAt}
	if err := w.contents(c); err != nil {
		return fmt.Errorf("write evidence pack: %w", err)
	}
	blank, err := seal([sha256.Size]byte{}, signer)
	if err == nil {
		err = w.zip.SetComment(string(blank))
	}
	if err == nil {
		err = w.zip.Close()
	}
	if err == nil {
		err = sign(f, int64(len(blank)), signer)
	}
	if err != nil {
		return fmt.Errorf("write evidence pack: %w", err)
	}
	return f.Sync()
}

// sign replaces the comment of the zip file, its last bytes, by a signature over
// all bytes before it.
func sign(f *os.File, comment int64, signer note.Signer) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, end-comment)); err != nil {
		return err
	}
	seal, err := seal([sha256.Size]byte(h.Sum(nil)), signer)
	if err != nil {
		return err
	}
	if int64(len(seal)) != comment {
		return errors.New("signature of another length")
	}
	_, err = f.WriteAt(seal, end-comment)
	return err
}

// seal is a note that names the hash of a pack.
func seal(sum [sha256.Size]byte, signer note.Signer) ([]byte, error) {
	return note.Sign(&note.Note{Text: sealText(sum)}, signer)
}

func sealText(sum [sha256.Size]byte) string {
	return format + "\nsha256 " + hex.EncodeToString(sum[:]) + "\n"
}

type writer struct {
	zip   *zip.Writer
	at    time.Time
	files []File
}

func (w *writer) contents(c Contents) error {
	list := accesses(c.Question, c.Entries)
	lines := make([]export.Line, len(list))
	for i := range list {
		lines[i] = export.NewLine(list[i])
	}
	page, err := renderReport(c, list)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(lines, "", "  ")
	if err != nil {
		return err
	}
	table, err := csvOf(lines)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{readmeName, []byte(readme)},
		{reportName, page},
		{csvName, table},
		{jsonName, text},
		{checkpointName, c.Note},
		{keyName, []byte(c.Key + "\n")},
	} {
		if err := w.add(f.name, f.data); err != nil {
			return err
		}
	}
	if err := w.records(c); err != nil {
		return err
	}
	return w.manifest(c, len(list))
}

func (w *writer) records(c Contents) error {
	for i, e := range c.Entries {
		if c.Progress != nil {
			c.Progress(i, len(c.Entries))
		}
		hashes, err := c.Prove(e.Seq-1, c.Checkpoint)
		if err != nil {
			return err
		}
		proof := merkle.Proof{Index: e.Seq - 1, Hashes: hashes, Checkpoint: c.Note}
		name := c.Source + "-" + strconv.FormatUint(e.Seq, 10)
		if err := w.add(recordFolder+name+recordSuffix, e.Canonical); err != nil {
			return err
		}
		if err := w.add(proofFolder+name+proofSuffix, proof.Format()); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) manifest(c Contents, accesses int) error {
	m := Manifest{
		Format: format, MadeAt: c.MadeAt.UTC(), MadeBy: c.MadeBy, Program: c.Program, Site: c.Site, Source: c.Source,
		Origin: c.Checkpoint.Origin, Question: c.Question, Read: c.Read, Disposed: c.Disposed, Records: len(c.Entries), Accesses: accesses,
		TreeSize: c.Checkpoint.Size, TreeRoot: c.Checkpoint.Root.String(), Files: w.files,
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return w.add(manifestName, text)
}

func (w *writer) add(name string, data []byte) error {
	f, err := w.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: w.at.UTC()})
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	w.files = append(w.files, File{Name: name, Size: uint64(len(data)), SHA256: hex.EncodeToString(sum[:])})
	return nil
}

func csvOf(lines []export.Line) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = true // RFC 4180
	if err := w.Write(export.Header()); err != nil {
		return nil, err
	}
	for _, l := range lines {
		if err := w.Write(l.Row()); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}
