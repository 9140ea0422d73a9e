package pack

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/merkle"
)

const (
	// maxComment is how long the comment of a zip file can be, which ends with it.
	maxComment = 1<<16 - 1
	// endRecord is the zip file's last structure without its comment.
	endRecord = 22
	// maxMember bounds one file of a pack, against packs made to fill memory.
	maxMember = 1 << 30
)

// Report is what Verify found.
type Report struct {
	Manifest Manifest
	Key      string // the public key that the signatures were checked with
	// KeyGiven is false when the key came out of the pack itself: the pack is
	// then only as good as the reader's knowledge of that key.
	KeyGiven bool
	Records  int
	Problems []Problem
}

// Problem is one thing that is wrong with a pack.
type Problem struct {
	File string
	Seq  uint64 // of the record, 0 when it is not about one
	What string
}

// Err returns an error that wraps ErrAltered when anything is wrong.
func (r Report) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d problems, the first in %s: %s", ErrAltered, len(r.Problems), r.Problems[0].File, r.Problems[0].What)
}

// IsPack says whether the file at path looks like a zip file.
func IsPack(path string) bool {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // nothing was written
	magic := make([]byte, 4)
	_, err = io.ReadFull(f, magic)
	return err == nil && string(magic) == "PK\x03\x04"
}

// Verify checks the pack at path: the signature over all of its bytes, each file
// against the manifest, and each record's proof. key is the log's public key, ""
// to use the one in the pack. It needs nothing else. The error says that the file
// is no pack at all; what is wrong with a pack is in the report.
func Verify(path, key string) (Report, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return Report{}, fmt.Errorf("verify pack: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	info, err := f.Stat()
	if err != nil {
		return Report{}, fmt.Errorf("verify pack: %w", err)
	}
	v := &verifier{files: map[string][]byte{}}
	if err := v.unpack(f, info.Size()); err != nil {
		return Report{}, fmt.Errorf("verify %s: %w: %w", path, ErrNotPack, err)
	}
	v.report.Key, v.report.KeyGiven = strings.TrimSpace(key), key != ""
	if !v.report.KeyGiven {
		v.report.Key = strings.TrimSpace(string(v.files[keyName]))
	}
	if v.key, err = merkle.ParseVerifier([]byte(v.report.Key)); err != nil {
		v.problem(keyName, 0, "it is no public key")
		return v.report, nil
	}
	if err := v.seal(f, info.Size()); err != nil {
		v.problem(path, 0, err.Error())
	}
	v.manifest()
	v.records()
	return v.report, nil
}

type verifier struct {
	report  Report
	key     note.Verifier
	comment string
	files   map[string][]byte // of the pack, by name
	order   []string
}

func (v *verifier) problem(file string, seq uint64, what string) {
	v.report.Problems = append(v.report.Problems, Problem{File: file, Seq: seq, What: what})
}

// unpack reads every file into memory.
func (v *verifier) unpack(f io.ReaderAt, size int64) error {
	z, err := zip.NewReader(f, size)
	if err != nil {
		return err
	}
	v.comment = z.Comment
	for _, member := range z.File {
		data, err := readMember(member)
		if err != nil {
			v.problem(member.Name, 0, "it cannot be read: "+err.Error())
		}
		if _, twice := v.files[member.Name]; twice {
			v.problem(member.Name, 0, "it is there twice")
		}
		v.files[member.Name] = data
		v.order = append(v.order, member.Name)
	}
	if _, ok := v.files[manifestName]; !ok {
		return errors.New("it holds no " + manifestName)
	}
	return nil
}

func readMember(member *zip.File) ([]byte, error) {
	r, err := member.Open()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxMember+1))
	if err == nil && len(data) > maxMember {
		err = fmt.Errorf("larger than %d bytes", maxMember)
	}
	return data, errors.Join(err, r.Close())
}

// seal checks the signature in the comment against all bytes before it. The
// comment is compared as a whole, so that it has no byte that does not count.
func (v *verifier) seal(f io.ReaderAt, size int64) error {
	n, err := note.Open([]byte(v.comment), note.VerifierList(v.key))
	if err != nil {
		return fmt.Errorf("its signature does not hold: %w", err)
	}
	before := size - int64(len(v.comment))
	if before < endRecord || len(v.comment) > maxComment {
		return errors.New("its comment is not at its end")
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, before)); err != nil {
		return err
	}
	tail := make([]byte, len(v.comment))
	if _, err := f.ReadAt(tail, before); err != nil || string(tail) != v.comment {
		return errors.New("its comment is not at its end")
	}
	text := sealText([sha256.Size]byte(h.Sum(nil)))
	again := text + "\n— " + n.Sigs[0].Name + " " + n.Sigs[0].Base64 + "\n"
	if n.Text != text || again != v.comment || !merkle.CanonicalSignature(n.Sigs[0]) {
		return errors.New("a byte of it was altered after it was signed")
	}
	return nil
}

// manifest checks each file against its hash, and that there is no other.
func (v *verifier) manifest() {
	if err := json.Unmarshal(v.files[manifestName], &v.report.Manifest); err != nil || v.report.Manifest.Format != format {
		v.problem(manifestName, 0, "it is no manifest of "+format)
		return
	}
	listed := map[string]bool{manifestName: true}
	for _, f := range v.report.Manifest.Files {
		listed[f.Name] = true
		data, ok := v.files[f.Name]
		sum := sha256.Sum256(data)
		switch {
		case !ok:
			v.problem(f.Name, 0, "it is missing")
		case uint64(len(data)) != f.Size || hex.EncodeToString(sum[:]) != f.SHA256:
			v.problem(f.Name, 0, "it is not the file that the manifest lists")
		}
	}
	for _, name := range v.order {
		if !listed[name] {
			v.problem(name, 0, "the manifest does not list it")
		}
	}
}

// records checks that each record has a proof that holds, in one and the same
// checkpoint.
func (v *verifier) records() {
	if _, err := merkle.OpenCheckpoint(v.files[checkpointName], v.key); err != nil {
		v.problem(checkpointName, 0, err.Error())
	}
	proofs := 0
	for _, name := range v.order {
		if strings.HasPrefix(name, proofFolder) {
			proofs++
		}
		stem, ok := strings.CutPrefix(name, recordFolder)
		if !ok {
			continue
		}
		v.report.Records++
		v.record(name, proofFolder+strings.TrimSuffix(stem, recordSuffix)+proofSuffix)
	}
	if n := v.report.Records; n != v.report.Manifest.Records || n != proofs {
		v.problem(manifestName, 0, fmt.Sprintf("%d records and %d proofs where there were %d", n, proofs, v.report.Manifest.Records))
	}
}

func (v *verifier) record(name, proofName string) {
	r, err := audit.UnmarshalCanonical(v.files[name])
	if err != nil {
		v.problem(name, 0, err.Error())
		return
	}
	if want := recordFolder + r.Source + "-" + strconv.FormatUint(r.Seq, 10) + recordSuffix; name != want {
		v.problem(name, r.Seq, "it holds the record of "+want)
	}
	p, err := merkle.ParseProof(v.files[proofName])
	if err != nil {
		v.problem(proofName, r.Seq, err.Error())
		return
	}
	if p.Index+1 != r.Seq {
		v.problem(proofName, r.Seq, fmt.Sprintf("it proves record %d", p.Index+1))
	}
	if !bytes.Equal(p.Checkpoint, v.files[checkpointName]) {
		v.problem(proofName, r.Seq, "its checkpoint is not that of the pack")
	}
	if _, err := p.Verify(audit.Leaf(v.files[name]), v.key); err != nil {
		v.problem(proofName, r.Seq, err.Error())
	}
}
