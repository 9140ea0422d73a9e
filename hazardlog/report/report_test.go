package report_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
	"github.com/matron-epr/matron/hazardlog/report"
	"github.com/matron-epr/matron/hazardlog/workbook"
)

func when() time.Time { return time.Date(2026, time.November, 26, 9, 30, 0, 0, time.UTC) }

func ann() hazardlog.Officer {
	return hazardlog.Officer{Name: "Dr Ann Example", Body: "GMC", Number: "0000001", Expires: "2027-03-31"}
}

func officer() hazardlog.Actor {
	return hazardlog.Actor{Issuer: "os", Account: "ann", Officer: ann().String(), Proof: &hazardlog.Proof{Method: "test", Evidence: "seen", At: when()}}
}

// present is an officer who is there.
type present struct{}

func (present) Confirm(context.Context, hazardlog.Officer, string) (hazardlog.Proof, error) {
	return hazardlog.Proof{Method: "test", Evidence: "seen", At: when()}, nil
}

func record(t *testing.T, l hazardlog.Log, by hazardlog.Actor, changes ...hazardlog.Change) hazardlog.Log {
	t.Helper()
	n := l.Seq()
	next, _, err := l.Record(when(), by, func() string { n++; return fmt.Sprint("e", n) }, changes...)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func baseline() hazardlog.Baseline {
	return hazardlog.Baseline{Program: "1.0", Config: "aaaa", Policy: "bbbb"}
}

// approved is a log of one hazard that an officer has assessed, accepted and signed.
func approved(t *testing.T) hazardlog.Log {
	t.Helper()
	rating := func(l hazardlog.Likelihood) hazardlog.Rating {
		return hazardlog.Rating{Severity: "Major", Likelihood: l, Justification: "As reasoned.", State: hazardlog.RatingAssessed, By: ann().String()}
	}
	h := hazardlog.Hazard{
		ID: "GW-01", Name: "The record is <b>not</b> there & needed", Effect: "The gateway refuses a request.", Hazard: "Care goes on without the record.",
		Harm: "A patient is given the wrong drug.", Causes: []string{"A rule"}, Owner: "CSO", Status: hazardlog.Open,
		Conditions: []hazardlog.Condition{hazardlog.Normal, hazardlog.Fault}, Initial: rating("Medium"), Residual: rating("Very Low"),
		Acceptance: hazardlog.Acceptance{Accepted: true, Reason: "Going lower is impractical.", By: ann().String()},
	}
	c := hazardlog.Control{
		ID: "C-14", Hazards: []string{"GW-01"}, Type: hazardlog.Design, Timing: hazardlog.Additional, Status: hazardlog.Implemented, Text: "Every refusal offers a way through",
		NewHazards: hazardlog.NewHazards{Answer: hazardlog.NoNewHazards, Reason: "It only opens."},
	}
	l := record(t, hazardlog.Begin("test"), officer(),
		hazardlog.Change{Act: hazardlog.OpenLog, Value: hazardlog.Head{Title: "Test log", Role: hazardlog.Manufacturer, StandardID: "dcb0129-4.2", Organisation: "Example Maker"}},
		hazardlog.Change{Act: hazardlog.Raise, Value: h}, hazardlog.Change{Act: hazardlog.Raise, Value: c})
	known, err := evidence.Make(l, evidence.Input{Now: when(), Running: baseline()})
	if err != nil {
		t.Fatal(err)
	}
	seen, err := hazardlog.Freeze(known)
	if err != nil {
		t.Fatal(err)
	}
	by, change, err := l.Approve(t.Context(), officer(), hazardlog.SignOff{
		Version: "1.0", Officer: ann(), Statement: "The residual risk is acceptable.", Confirmed: [2]bool{true, true}, Baseline: baseline(), Evidence: seen,
	}, present{}, when())
	if err != nil {
		t.Fatal(err)
	}
	return record(t, l, by, change)
}

func input(t *testing.T, l hazardlog.Log) report.Input {
	t.Helper()
	known, err := evidence.Make(l, evidence.Input{Now: when(), Running: baseline()})
	if err != nil {
		t.Fatal(err)
	}
	return report.Input{Log: l, Evidence: known, Running: baseline(), Texts: map[string]string{"scope": "Inpatients.\n\nAnd <outpatients>."}}
}

func pack(t *testing.T, in report.Input) report.Pack {
	t.Helper()
	p, err := report.Make(in, workbook.Books{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func file(t *testing.T, p report.Pack, name string) string {
	t.Helper()
	for _, f := range p.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	t.Fatalf("there is no %s", name)
	return ""
}

// parts are what an archive holds.
func parts(t *testing.T, data string) map[string]string {
	t.Helper()
	r, err := zip.NewReader(strings.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, f := range r.File {
		part, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		have[f.Name] = string(content)
	}
	return have
}

func starter(t *testing.T) hazardlog.Log {
	t.Helper()
	l, err := hazardlog.StarterLog()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// One command, one manifest, one hash: and the same bytes for the same version.
func TestAnIssuePackHoldsEverythingUnderOneHash(t *testing.T) {
	l := approved(t)
	p := pack(t, input(t, l))
	var names []string
	for _, f := range p.Manifest.Files {
		names = append(names, f.Name)
		if hazardlog.Hash([]byte(file(t, p, f.Name))) != f.SHA256 {
			t.Errorf("%s has another hash", f.Name)
		}
	}
	if want := []string{"clinical-safety-case-report.html", "clinical-safety-case-report.docx", "hazard-log.xlsx", "hazard-log.json", "compliance.xlsx", "evidence.json", "evidence-approved.json"}; !slices.Equal(names, want) {
		t.Errorf("files %q", names)
	}
	if m := p.Manifest; m.Version != "1.0" || m.Draft != "" || m.Running != baseline() || m.Snapshot != l.Approved().SHA256 || m.Evidence != when() {
		t.Errorf("manifest %+v", m)
	}
	data, err := p.Zip()
	if err != nil {
		t.Fatal(err)
	}
	again, _ := pack(t, input(t, l)).Zip()
	if !bytes.Equal(data, again) {
		t.Error("two packs of one version differ")
	}
	if _, sum, err := report.Verify(data, p.SHA256); err != nil || sum != p.SHA256 {
		t.Errorf("verify: %v", err)
	}
	if back, err := hazardlog.Import([]byte(file(t, p, "hazard-log.json"))); err != nil || back.State() != l.State() {
		t.Errorf("the log in the pack: %v", err)
	}
	var frozen evidence.Report
	if err := json.Unmarshal([]byte(file(t, p, "evidence.json")), &frozen); err != nil || frozen.Build != "1.0" {
		t.Errorf("frozen evidence: %v %+v", err, frozen)
	}
	if file(t, p, "evidence-approved.json") != string(l.Approved().Evidence.Report) {
		t.Error("the evidence under the approval is another")
	}
}

func TestAnAlteredPackIsRefusedByName(t *testing.T) {
	p := pack(t, input(t, approved(t)))
	altered := func(change func(f *report.File)) []byte {
		q := report.Pack{}
		for _, f := range p.Files {
			if change(&f); f.Name != "" {
				q.Files = append(q.Files, f)
			}
		}
		data, err := q.Zip()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	whole := altered(func(*report.File) {})
	extra, err := report.Pack{Files: append(slices.Clone(p.Files), report.File{Name: "extra"})}.Zip()
	if err != nil {
		t.Fatal(err)
	}
	for words, data := range map[string][]byte{
		"evidence.json was altered": altered(func(f *report.File) {
			if f.Name == "evidence.json" {
				f.Data = bytes.Replace(f.Data, []byte("1.0"), []byte("1.1"), 1)
			}
		}),
		"hazard-log.xlsx is missing": altered(func(f *report.File) {
			if f.Name == "hazard-log.xlsx" {
				f.Name = ""
			}
		}),
		"extra is not in the manifest": extra,
		"no pack":                      whole[:len(whole)/2],
	} {
		if _, _, err := report.Verify(data, ""); !errors.Is(err, report.ErrAltered) || !strings.Contains(err.Error(), words) {
			t.Errorf("error %v, want %q", err, words)
		}
	}
	if _, _, err := report.Verify(whole, strings.Repeat("0", 64)); !errors.Is(err, report.ErrAltered) {
		t.Errorf("another hash: %v", err)
	}
}

// Errors block an issue; a draft says that it is one in every document.
func TestOnlyAnApprovedLogIsIssued(t *testing.T) {
	in := input(t, starter(t))
	if _, err := report.Make(in, workbook.Books{}); !errors.Is(err, hazardlog.ErrInvalid) || !strings.Contains(err.Error(), "no clinician has assessed it") {
		t.Errorf("issue of a draft: %v", err)
	}
	later := approved(t)
	h, _ := later.Find("GW-01")
	h.Harm = "Another harm to a patient."
	later = record(t, later, officer(), hazardlog.Change{Act: hazardlog.Edit, Value: h, Expect: later.Revision(h.Subject())})
	if _, err := report.Make(input(t, later), workbook.Books{}); !errors.Is(err, hazardlog.ErrInvalid) || !strings.Contains(err.Error(), "change(s) since version 1.0 are not approved") {
		t.Errorf("issue of a changed log: %v", err)
	}
	in.Draft = true
	p := pack(t, in)
	const words = "DRAFT: no version has been approved"
	word := parts(t, file(t, p, "clinical-safety-case-report.docx"))
	for where, text := range map[string]string{
		"manifest": file(t, p, "manifest.json"), "HTML": file(t, p, "clinical-safety-case-report.html"), "DOCX": word["word/document.xml"], "DOCX pages": word["word/header1.xml"],
	} {
		if !strings.Contains(text, words) {
			t.Errorf("%s does not say that it is a draft", where)
		}
	}
	for _, book := range []string{"hazard-log.xlsx", "compliance.xlsx"} {
		for name, part := range parts(t, file(t, p, book)) {
			if strings.HasPrefix(name, "xl/worksheets/sheet") && !strings.Contains(part, words) {
				t.Errorf("%s: pages of %s do not say that it is a draft", book, name)
			}
		}
	}
	if issued := pack(t, input(t, approved(t))); strings.Contains(file(t, issued, "clinical-safety-case-report.html"), "DRAFT") {
		t.Error("an issue calls itself a draft")
	}
}

// A gap is named, never blank, and nothing claims compliance.
func TestGapsAreNamed(t *testing.T) {
	in := input(t, starter(t))
	in.Draft, in.Texts = true, nil
	page := file(t, pack(t, in), "clinical-safety-case-report.html")
	for _, words := range []string{
		"Missing: evidence for C-14 (that it is there).", "Missing: the intended use", "Missing: the statement of a clinical safety officer", "Missing: an approval",
		"Missing: acceptance of GW-01", "Missing: a measurement of SPI-01",
	} {
		if !strings.Contains(page, words) {
			t.Errorf("the report does not say %q", words)
		}
	}
	if blank := regexp.MustCompile(`<(td|th|p|h[123]|caption)[^>]*>\s*</`).FindString(page); blank != "" {
		t.Errorf("blank: %s", blank)
	}
	for _, l := range []hazardlog.Log{starter(t), approved(t)} {
		for _, a := range input(t, l).Answers() {
			if a.Suggested == "" || a.Evidence == "" || strings.Contains(strings.ToLower(a.Evidence), "complian") {
				t.Errorf("clause %s: %+v", a.Clause, a)
			}
			if strings.HasSuffix(a.Evidence, ": .") || strings.HasSuffix(a.Evidence, ": ") {
				t.Errorf("nothing answers clause %s", a.Clause)
			}
		}
	}
}

// Every clause has an answer, in the order of the numbers, and none is answered twice.
func TestEveryClauseIsAnswered(t *testing.T) {
	in := input(t, approved(t))
	var refs []string
	topics := map[string]string{}
	for _, a := range in.Answers() {
		refs = append(refs, a.Clause.Ref)
		if topics[a.Clause.Topic] != "" {
			t.Errorf("%s is answered twice", a.Clause.Topic)
		}
		topics[a.Clause.Topic] = a.Evidence
	}
	for _, ref := range []string{"2.1.1", "2.2.1, 2.2.2", "2.5.1, 2.5.2", "3.2.1 to 3.2.4", "3.4.1", "4.2.2", "5.1.2", "7.1.1, 7.1.2", "7.3.4"} {
		if !slices.Contains(refs, ref) {
			t.Errorf("clause %s is not answered", ref)
		}
	}
	if !slices.IsSorted(refs) || len(refs) != 40 {
		t.Errorf("%d clauses: %q", len(refs), refs)
	}
	if !strings.HasPrefix(topics["plan"], "Missing: ") {
		t.Errorf("the plan: %s", topics["plan"])
	}
	in.Texts = nil
	in.Log.Standard, _ = hazardlog.LoadStandard("dcb0160-3.2")
	answers := in.Answers()
	for _, a := range answers {
		if a.Clause.Ref != "" || strings.HasSuffix(a.Evidence, ": .") || strings.HasSuffix(a.Evidence, ": ") {
			t.Errorf("%+v", a)
		}
	}
	if len(answers) != 38 {
		t.Errorf("%d clauses of the deployer's standard", len(answers))
	}
}

// A contradicted control leaves the signed rating where it is, and says so beside it.
func TestAContradictedControlPutsItsRatingsInQuestion(t *testing.T) {
	in := input(t, approved(t))
	in.Evidence.Controls["C-14"] = evidence.Control{
		Implemented: evidence.Slot{State: hazardlog.Supported, Reason: "Tests pass.", Sources: []string{"TestX"}},
		Effective:   evidence.Slot{State: hazardlog.Contradicted, Reason: "3 of 10 failed."},
	}
	p := pack(t, in)
	page := file(t, p, "clinical-safety-case-report.html")
	const beside = "Major x Very Low = 2, assessed by Dr Ann Example (GMC 0000001). In question: evidence contradicts C-14; the rating is as it was signed"
	if !strings.Contains(page, beside) || !strings.Contains(page, "contradicted: 3 of 10 failed.") {
		t.Error("the report does not say that the rating is in question")
	}
	sheet := parts(t, file(t, p, "hazard-log.xlsx"))["xl/sharedStrings.xml"]
	if !strings.Contains(sheet, "in question, evidence contradicts C-14; the rating is as it was signed") {
		t.Error("the workbook does not say that the rating is in question")
	}
	by := map[string]report.Answer{}
	for _, a := range in.Answers() {
		by[a.Clause.Topic] = a
	}
	if by["implemented"].Suggested != "Yes" || by["effective"].Suggested != "No" || by["approval"].Suggested != "Yes" || by["configuration"].Suggested != "Yes" {
		t.Errorf("answers %+v", by)
	}
	in.Running.Config = "cccc"
	for _, a := range in.Answers() {
		if a.Clause.Topic == "configuration" && a.Suggested != "No" {
			t.Errorf("what runs is another: %+v", a)
		}
	}
}

// The page stands alone, reads in order, and takes no text for markup.
func TestTheReportIsAPageThatAnybodyCanRead(t *testing.T) {
	page := file(t, pack(t, input(t, approved(t))), "clinical-safety-case-report.html")
	at := -1
	for i, heading := range []string{
		"Introduction", "System definition and overview", "Clinical risk management system", "Clinical risk analysis", "Clinical risk evaluation", "Clinical risk control",
		"Hazard log", "Test issues", "Summary safety statement", "Quality assurance and document approval", "Configuration control and management",
	} {
		next := strings.Index(page, fmt.Sprintf(`<h2 id="s%d">%d. %s</h2>`, i+1, i+1, heading))
		if next <= at {
			t.Errorf("%q is not where it belongs", heading)
		}
		at = next
	}
	for _, must := range []string{`<html lang="en-GB">`, `<th scope="col">`, `<th scope="row">`, `<caption>`, "size: A4", "And &lt;outpatients&gt;.", "The record is &lt;b&gt;not&lt;/b&gt; there &amp; needed", "The residual risk is acceptable."} {
		if !strings.Contains(page, must) {
			t.Errorf("%q is not in the page", must)
		}
	}
	if found := regexp.MustCompile(`<script|<link|<img|https?://|Zgotmpl`).FindString(page); found != "" {
		t.Errorf("the page has %q", found)
	}
}

// The DOCX has well-formed parts and the same headings and texts.
func TestTheReportIsADocumentForWordProcessors(t *testing.T) {
	word := parts(t, file(t, pack(t, input(t, approved(t))), "clinical-safety-case-report.docx"))
	for name, part := range word {
		d := xml.NewDecoder(strings.NewReader(part))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	var body struct {
		Paragraphs []struct {
			Style struct {
				Val string `xml:"val,attr"`
			} `xml:"pPr>pStyle"`
			Text []string `xml:"r>t"`
		} `xml:"body>p"`
		Tables []struct{} `xml:"body>tbl"`
	}
	if err := xml.Unmarshal([]byte(word["word/document.xml"]), &body); err != nil {
		t.Fatal(err)
	}
	headings := 0
	for _, p := range body.Paragraphs {
		if p.Style.Val == "Heading1" {
			headings++
		}
	}
	if headings != 11 || len(body.Tables) < 8 || !strings.Contains(word["word/document.xml"], "The record is &lt;b&gt;not&lt;/b&gt; there &amp; needed") {
		t.Errorf("%d headings, %d tables", headings, len(body.Tables))
	}
}
