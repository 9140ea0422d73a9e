package report

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

// PackFormat is the version of the format of manifests.
const PackFormat = "matron-hazard-issue/1"

// ManifestName is the file of a pack that lists the others.
const ManifestName = "manifest.json"

// File is one file of a pack.
type File struct {
	Name string
	What string // it is, for people
	Data []byte
}

// Manifest lists the files of a pack by their SHA-256.
type Manifest struct {
	Format   string             `json:"format"`
	Log      string             `json:"log"`
	Title    string             `json:"title"`
	Draft    string             `json:"draft,omitempty"` // why it is no issue
	Version  string             `json:"version"`         // that was approved; "" in a draft of none
	State    string             `json:"state"`           // of the log, in words
	Snapshot string             `json:"snapshot_sha256"` // of what an officer signs
	Standard string             `json:"standard"`
	Running  hazardlog.Baseline `json:"running"` // program, hash of the configuration, rules
	Evidence time.Time          `json:"evidence_at"`
	Files    []ManifestFile     `json:"files"`
}

// ManifestFile is a file in a manifest.
type ManifestFile struct {
	Name   string `json:"name"`
	What   string `json:"what"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Pack is all that accompanies a version of a hazard log.
type Pack struct {
	Manifest Manifest
	Files    []File // the manifest is the last one
	// SHA256 is of the manifest, and so of everything in the pack.
	SHA256 string
}

// Workbooks makes the Excel files of a pack.
type Workbooks interface {
	// Log writes the log; draft, evidence and in question as the workbook's own Facts.
	Log(l hazardlog.Log, draft string, evidence func(control string) string, inQuestion map[string][]string) ([]byte, error)
	// Table writes one sheet: a headline and rows. widths are in characters.
	Table(sheet, draft string, heads []string, widths []float64, rows [][]string) ([]byte, error)
}

// Make makes the issue pack. The error wraps hazardlog.ErrInvalid and names what
// stands in the way: errors that the checks of the log find, or that it is not
// approved as it stands. A draft may have them; its documents name them.
func Make(in Input, books Workbooks) (Pack, error) {
	if in.Log.Standard == nil {
		return Pack{}, fmt.Errorf("%w: there is no log", hazardlog.ErrInvalid)
	}
	if errs := hazardlog.Errors(in.lint()); len(errs) > 0 && !in.Draft {
		return Pack{}, fmt.Errorf("%w: %d error(s) stand in the way of an issue; a draft may have them:\n%s", hazardlog.ErrInvalid, len(errs), first(errs))
	}
	content, err := in.Log.Snapshot()
	if err != nil {
		return Pack{}, err
	}
	files, err := in.files(books)
	if err != nil {
		return Pack{}, err
	}
	m := Manifest{
		Format: PackFormat, Log: in.Log.ID, Title: in.Log.Title, Draft: in.draft(), State: in.Log.State(), Snapshot: hazardlog.Hash(content),
		Standard: in.Log.Standard.Edition, Running: in.Running, Evidence: in.Evidence.At,
	}
	if a := in.Log.Approved(); a != nil {
		m.Version = a.Version
	}
	for _, f := range files {
		m.Files = append(m.Files, ManifestFile{f.Name, f.What, len(f.Data), hazardlog.Hash(f.Data)})
	}
	text, err := indented(m)
	if err != nil {
		return Pack{}, err
	}
	return Pack{m, append(files, File{ManifestName, "what is in the pack", text}), hazardlog.Hash(text)}, nil
}

func first(findings []hazardlog.Finding) string {
	const most = 10
	var lines []string
	for _, f := range findings[:min(len(findings), most)] {
		lines = append(lines, f.String())
	}
	if more := len(findings) - most; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// files makes the files but the manifest.
func (in Input) files(books Workbooks) ([]File, error) {
	d := in.safetyCase()
	page, err1 := d.html()
	word, err2 := d.docx()
	sheets, err3 := books.Log(in.Log, in.draft(), func(control string) string { return EvidenceOf(in.Evidence, control) }, evidence.InQuestion(in.Log, in.Evidence))
	export, err4 := in.Log.Export(evidence.InQuestion(in.Log, in.Evidence))
	answers, err5 := in.compliance(books)
	frozen, err6 := indented(in.Evidence)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return nil, fmt.Errorf("issue pack: %w", err)
	}
	files := []File{
		{"clinical-safety-case-report.html", "clinical safety case report, for reading and printing", page},
		{"clinical-safety-case-report.docx", "the same, for word processors", word},
		{"hazard-log.xlsx", "hazard log, for people", sheets},
		{"hazard-log.json", "hazard log with its whole history", export},
		{"compliance.xlsx", "answers to the clauses of the standard that the log suggests", answers},
		{"evidence.json", "what was known of each control when this was made, frozen", frozen},
	}
	if a := in.Log.Approved(); a != nil && a.Evidence != nil {
		files = append(files, File{"evidence-approved.json", "what the officer saw of each control when approving version " + a.Version, a.Evidence.Report})
	}
	return files, nil
}

// compliance is the workbook with an answer for each clause.
func (in Input) compliance(books Workbooks) ([]byte, error) {
	var rows [][]string
	for _, a := range in.Answers() {
		rows = append(rows, []string{
			orMissing(a.Clause.Ref, "the number of the clause, which has not been checked"), a.Clause.Title, a.Suggested, a.Evidence,
			"Awaiting", missing("evidence of the management system"), "Awaiting", missing("a clinical safety officer's confirmation"),
		})
	}
	return books.Table("Compliance", in.draft(),
		[]string{
			"Clause", "Requirement", "Project: suggested answer", "Project: evidence from the log", "Management system: answer", "Management system: evidence",
			"Answer of the clinical safety officer (" + strings.Join(answerWords(), ", ") + ")", "Confirmed by, on",
		},
		[]float64{14, 46, 16, 70, 16, 40, 24, 30}, rows)
}

func indented(v any) ([]byte, error) {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return nil, fmt.Errorf("issue pack: %w", err)
	}
	return append(text, '\n'), nil
}

// Zip is the pack as one file.
func (p Pack) Zip() ([]byte, error) { return archive(p.Files) }

// archive packs files in their order and without times: equal files make equal
// bytes.
func archive(files []File) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range files {
		entry, err := w.CreateHeader(&zip.FileHeader{Name: f.Name, Method: zip.Deflate})
		if err == nil {
			_, err = entry.Write(f.Data)
		}
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return out.Bytes(), nil
}

// ErrAltered is what the error of a pack wraps that is not as it was made.
var ErrAltered = errors.New("issue pack refused")

// mostPack bounds what is unpacked of a pack.
const mostPack = 256 << 20

// Verify checks a pack against its manifest, and the manifest against the hash that
// its maker gave, "" for none. It returns the manifest and its hash.
func Verify(data []byte, sha256 string) (m Manifest, sum string, err error) {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", ErrAltered, fmt.Errorf(format, args...))
	}
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return m, "", refuse("it is no pack: %w", err)
	}
	have, left := map[string][]byte{}, int64(mostPack)
	for _, f := range r.File {
		if _, twice := have[f.Name]; twice {
			return m, "", refuse("%s is in it twice", f.Name)
		}
		part, err := f.Open()
		if err != nil {
			return m, "", refuse("%s: %w", f.Name, err)
		}
		content, err := io.ReadAll(io.LimitReader(part, left+1))
		if err = errors.Join(err, part.Close()); err != nil {
			return m, "", refuse("%s: %w", f.Name, err)
		}
		if left -= int64(len(content)); left < 0 {
			return m, "", refuse("it holds more than %d MB", mostPack>>20)
		}
		have[f.Name] = content
	}
	text, ok := have[ManifestName]
	if !ok {
		return m, "", refuse("there is no %s in it", ManifestName)
	}
	if sum = hazardlog.Hash(text); sha256 != "" && sum != sha256 {
		return m, sum, refuse("its hash is %s, not %s", sum, sha256)
	}
	if err := json.Unmarshal(text, &m); err != nil || m.Format != PackFormat {
		return m, sum, refuse("%s is not of the format %s", ManifestName, PackFormat)
	}
	delete(have, ManifestName)
	for _, f := range m.Files {
		content, ok := have[f.Name]
		switch {
		case !ok:
			return m, sum, refuse("%s is missing", f.Name)
		case hazardlog.Hash(content) != f.SHA256:
			return m, sum, refuse("%s was altered", f.Name)
		}
		delete(have, f.Name)
	}
	for name := range have {
		return m, sum, refuse("%s is not in the manifest", name)
	}
	return m, sum, nil
}
