package retention

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
)

const (
	noteFormat = "matron-disposal/v1"
	noteSuffix = ".disposal"
	keptSuffix = ".kept.zst"
)

// Disposal is what the log says of a stretch of itself that was disposed of: the
// content of a note that its key has signed.
type Disposal struct {
	Plan       Plan       `json:"plan"`
	PlanSHA256 string     `json:"plan_sha256"`
	Approvals  []Approval `json:"approvals"`
	AppliedBy  string     `json:"applied_by"`
	At         time.Time  `json:"at"`
	// KeptSHA256 is the hash of the file of records that stay; "" when none do.
	KeptSHA256 string `json:"kept_sha256,omitempty"`

	dir string
}

// ApprovedBy names the approvers.
func (d Disposal) ApprovedBy() string {
	names := make([]string, len(d.Approvals))
	for i, a := range d.Approvals {
		names[i] = a.Name
	}
	return strings.Join(names, " and ")
}

// Who says in a line who planned, approved and applied it, and when.
func (d Disposal) Who() string {
	const day = "2 January 2006"
	return fmt.Sprintf("planned by %s on %s, approved by %s, applied by %s on %s",
		d.Plan.MadeBy, d.Plan.MadeAt.UTC().Format(day), d.ApprovedBy(), d.AppliedBy, d.At.UTC().Format(day))
}

// CheckApprovals checks the approvals in the note with the keys of those who may
// approve now, and names the approvers who are not among them any more: theirs
// cannot be checked. The log's own key has signed all of it, so that a note
// without two approvals would be the work of somebody who has that key.
func (d Disposal) CheckApprovals(approvers []Approver) (unknown []string, err error) {
	seen := map[string]bool{}
	for _, a := range d.Approvals {
		if !d.Plan.madeBy(a.Name) {
			seen[strings.ToLower(a.Name)] = true
		}
		i := slices.IndexFunc(approvers, func(b Approver) bool { return b.Name == a.Name })
		if i < 0 {
			unknown = append(unknown, a.Name)
			continue
		}
		if err := checkApproval([]byte(a.Note), d.Plan.Origin, d.PlanSHA256, approvers[i].Key); err != nil {
			return nil, fmt.Errorf("%w: that of %s: %w", ErrApproval, a.Name, err)
		}
	}
	if len(seen) < 2 {
		return nil, fmt.Errorf("%w: the note names %d", ErrApproval, len(seen))
	}
	return unknown, nil
}

// KeptFile is the file of the records that stay; "" when none do.
func (d Disposal) KeptFile() string {
	if d.KeptSHA256 == "" {
		return ""
	}
	return filepath.Join(d.dir, stem(d.Plan)+keptSuffix)
}

// stem names the files of a disposal.
func stem(p Plan) string { return fmt.Sprintf("%020d-%020d", p.First, p.Last) }

// Kept hands the records that stay to visit. The file must be the one that the
// log has signed, which shows when it was read to its end.
func (d Disposal) Kept(visit func(seq uint64, canonical []byte, r *audit.Record) error) error {
	if d.KeptSHA256 == "" {
		return nil
	}
	n := uint64(0)
	sum, err := journal.ReadKept(d.KeptFile(), func(seq uint64, canonical []byte, r *audit.Record) error {
		n++
		return visit(seq, canonical, r)
	})
	switch {
	case err != nil:
		return err
	case hex.EncodeToString(sum[:]) != d.KeptSHA256 || n != d.Plan.Kept:
		return fmt.Errorf("%w: it is not the file of kept records that was signed", journal.ErrCorrupt)
	}
	return nil
}

func (d Disposal) sign(signer note.Signer) ([]byte, error) {
	content, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: noteFormat + "\n" + d.Plan.Origin + "\n" + string(content) + "\n"}, signer)
}

// openNote checks that the log whose key is v has signed a note.
func openNote(signed []byte, v note.Verifier) (Disposal, error) {
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return Disposal{}, err
	}
	lines := strings.SplitN(n.Text, "\n", 3)
	if len(n.Sigs) != 1 || !merkle.CanonicalSignature(n.Sigs[0]) || len(lines) != 3 || lines[0] != noteFormat || lines[1] != v.Name() {
		return Disposal{}, fmt.Errorf("it is no disposal note of %s", v.Name())
	}
	var d Disposal
	if err := json.Unmarshal([]byte(lines[2]), &d); err != nil {
		return Disposal{}, err
	}
	text, err := d.Plan.Encode()
	if err != nil {
		return Disposal{}, err
	}
	if p, sum, err := ParsePlan(text); err != nil || sum != d.PlanSHA256 || p.Origin != v.Name() || p.First == 0 || p.Last < p.First {
		return Disposal{}, errors.Join(err, errors.New("what it says of its plan does not fit together"))
	}
	return d, nil
}

// Bad is a file that claims to be a disposal note and is none.
type Bad struct {
	File string
	Err  error
}

// Disposals reads the notes in the archive folder, the oldest stretch first. A
// note counts when the log's key has signed it and it follows the one before
// from record 1 on. The others are bad.
func Disposals(archive string, v note.Verifier) (list []Disposal, bad []Bad, err error) {
	files, err := filepath.Glob(filepath.Join(archive, "*"+noteSuffix))
	if err != nil {
		return nil, nil, fmt.Errorf("read disposal notes: %w", err)
	}
	slices.Sort(files) // their names begin with the first record
	next := uint64(1)
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // in the archive
		if err != nil {
			return nil, nil, fmt.Errorf("read disposal notes: %w", err)
		}
		d, err := openNote(text, v)
		if err == nil && (d.Plan.First != next || filepath.Base(file) != stem(d.Plan)+noteSuffix) {
			err = fmt.Errorf("it does not begin with record %d or is not named after its records", next)
		}
		if err != nil {
			bad = append(bad, Bad{file, fmt.Errorf("%w: %w", ErrNote, err)})
			continue
		}
		d.dir = archive
		list, next = append(list, d), d.Plan.Last+1
	}
	return list, bad, nil
}

// UpTo is the last record that was disposed of; 0 for none.
func UpTo(list []Disposal) uint64 {
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].Plan.Last
}
