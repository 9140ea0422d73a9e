package dashboards

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
	"github.com/matron-epr/matron/policy"
)

// release shows what the next version of the log would be, and what was signed.
func (s *Site) release(r *http.Request) (answer, error) {
	c, err := s.theCase(r)
	if err != nil {
		return answer{}, err
	}
	return s.releaseView(r, c, "")
}

// releaseView is the page, with why something was refused.
func (s *Site) releaseView(r *http.Request, c safetyCase, refused string) (answer, error) {
	page := s.safetyView(r, "Release and sign-off", "Release and sign-off")
	a := answer{template: "safety"}
	if !c.loaded() {
		page.add(noLog())
		a.view = page
		return a, nil
	}
	page.Caption = c.Title
	if refused != "" {
		a.status = http.StatusConflict
		page.fault("maincontent", refused)
	}
	content, err := c.Snapshot()
	if err != nil {
		return answer{}, unavailable("hazards", err)
	}
	findings := c.Lint(s.facts(c))
	page.add(safetyPart{Facts: &summaryList{Rows: []summaryRow{{text("State"), stateOnly(c.Log)}}}})
	page.add(changesPart(c))
	page.add(s.snapshotPart(c, content, findings))
	page.add(s.runningPart(c))
	page.Parts[len(page.Parts)-1].Heading = "Is the running gateway the one approved?"
	page.add(questionPart(c))
	page.add(allFindings(findings))
	page.add(s.signPart(r, c, findings))
	if s.cfg.Safety.Packer != nil && s.permits(r.Context(), policy.Safety, policy.Export) {
		page.add(safetyPart{
			Heading: "Issue pack", Text: []string{"One file with the safety case report, the hazard log as a workbook, the compliance workbook, the evidence and a manifest. What is missing is named in it."},
			Button: &button{Text: "Download the issue pack (ZIP)", Href: safetyBase + "/pack", Variant: "secondary"},
		})
	}
	page.add(s.versionsPart(c))
	a.view = page
	return a, nil
}

// stateOnly is the approval without the changes, which follow in full.
func stateOnly(l hazardlog.Log) cell {
	c := approvalCell(l)
	c.Lines = nil
	return c
}

// changesPart says in words all that changed since the last version.
func changesPart(c safetyCase) safetyPart {
	approved, changes := c.Since()
	p := safetyPart{ID: "changes", Heading: "What changed since the last version"}
	switch {
	case approved == nil:
		p.Text = []string{"There is no approved version to compare with: all of the log is new."}
	case len(changes) == 0:
		p.Text = []string{"Nothing has changed since version " + approved.Version + "."}
	default:
		p.Text = []string{plural(uint64(len(changes)), "change", "changes") + " since version " + approved.Version + "."}
	}
	for _, d := range changes {
		subject := d.Subject.String()
		p.Items = append(p.Items, cell{Text: subject, Href: subjectHref(d.Subject), After: strings.TrimSpace(strings.TrimPrefix(d.Full(), subject))})
	}
	return p
}

// snapshotPart says which bytes are signed.
func (s *Site) snapshotPart(c safetyCase, content []byte, findings []hazardlog.Finding) safetyPart {
	bad, all := uint64(len(hazardlog.Errors(findings))), uint64(len(findings))
	return safetyPart{Heading: "What would be signed", Facts: &summaryList{Rows: []summaryRow{
		{text("Log"), text(c.ID + ", through event " + formatCount(c.Seq()))},
		{text("Standard"), text(c.Standard.Edition)},
		{text("Contents"), text(fmt.Sprintf("%s, %s, %s, %s", plural(uint64(len(c.Hazards)), "hazard", "hazards"), plural(uint64(len(c.Controls)), "control", "controls"), plural(uint64(len(c.Incidents)), "incident", "incidents"), plural(uint64(len(c.Transfers)), "transfer", "transfers")))},
		{text("Evidence"), text(c.evidenceOf(c.Controls))},
		{text("Checks"), text(fmt.Sprintf("%s, %s", plural(bad, "error", "errors"), plural(all-bad, "warning", "warnings")))},
		{text("SHA-256 of the snapshot"), cell{Text: hazardlog.Hash(content), Class: "app-hash"}},
	}}}
}

// questionPart names the ratings that the evidence puts in question.
func questionPart(c safetyCase) safetyPart {
	p := safetyPart{Heading: "Ratings in question"}
	for _, h := range c.Hazards {
		if words := c.questioned(h.ID); words != "" {
			p.Items = append(p.Items, cell{Text: h.ID + " " + h.Name, Href: hazardsBase + "/" + h.ID, After: "Residual " + h.Residual.String() + ". " + words + "."})
		}
	}
	if p.Items == nil {
		p.Text = []string{"The evidence contradicts none. Where nothing is measured, that says nothing."}
	}
	return p
}

// allFindings lists what the checks found, errors first, each kind once with all that
// it is about.
func allFindings(found []hazardlog.Finding) safetyPart {
	p := safetyPart{ID: "checks", Heading: "What the checks found"}
	if len(found) == 0 {
		p.Text = []string{"Nothing."}
		return p
	}
	t := table{
		ID: "findings", Caption: caption{Text: "What the checks found, errors first", Hidden: true}, Compact: true, Responsive: true,
		Head: []cell{text("Kind"), text("What"), text("Clause"), text("Where")},
	}
	rows := map[[2]string]int{}
	for _, isError := range []bool{true, false} {
		for _, f := range found {
			if f.Error != isError {
				continue
			}
			key := [2]string{f.Rule, f.Text}
			at, known := rows[key]
			if !known {
				at = len(t.Rows)
				rows[key] = at
				t.Rows = append(t.Rows, []cell{tagged(findingTag(f)), text(sentenceCase(f.Text)), text(f.Clause), {}})
			}
			where := pageLink{f.Subject.String(), cmp.Or(subjectHref(f.Subject), hazardsBase)}
			if links := t.Rows[at][3].Links; !slices.Contains(links, where) {
				t.Rows[at][3].Links = append(links, where)
			}
		}
	}
	p.Tables = []table{t}
	return p
}

// signPart leads to the sign-off, or says why there is none.
func (s *Site) signPart(r *http.Request, c safetyCase, findings []hazardlog.Finding) safetyPart {
	p := safetyPart{ID: "sign", Heading: "Sign-off"}
	o, ok := s.officer(r)
	bad := hazardlog.Errors(findings)
	_, changes := c.Since()
	switch {
	case !ok:
		p.Text = []string{"Only the clinical safety officers whom the configuration names sign here (hazard_log.officers). You are not one of them, so you can read all of it."}
	case !o.Current(s.today()):
		p.Trouble = expired(o)
	case len(bad) > 0:
		p.Trouble = fmt.Sprintf("%s in the way of sign-off. Each is listed above; mend them, then come back.", plural(uint64(len(bad)), "error stands", "errors stand"))
		if proposals(c) > 0 {
			p.Button = &button{Text: "Sign in again and assess proposed ratings", Href: s.signAgain(s.ticket(r, c, signAssess, "")), Variant: "secondary"}
		}
	case c.Approved() != nil && len(changes) == 0:
		p.Text = []string{"Nothing has changed since it was signed: there is no new version to sign."}
	default:
		p.Text = []string{
			"You sign as " + o.String() + ", registration until " + o.Expires.String() + ".",
			"You prove again who you are at the sign-in service, then state that the residual risk is acceptable and confirm twice. Any change of the log in between stops it.",
		}
		p.Button = &button{Text: "Sign in again and sign this version", Href: s.signAgain(s.ticket(r, c, signApprove, ""))}
	}
	return p
}

// proposals counts the ratings that nobody has assessed.
func proposals(c safetyCase) int {
	n := 0
	for _, h := range c.Hazards {
		if isProposed(h) {
			n++
		}
	}
	return n
}

func isProposed(h hazardlog.Hazard) bool {
	return h.Initial.State == hazardlog.RatingProposed || h.Residual.State == hazardlog.RatingProposed
}

func expired(o hazardlog.Officer) string {
	return "The registration of " + o.String() + " ended on " + o.Expires.String() + ". An officer signs only with one that is in force: renew it, and change hazard_log.officers."
}

// versionsPart lists what was signed, the newest first.
func (s *Site) versionsPart(c safetyCase) safetyPart {
	t := table{
		ID: "versions", Caption: caption{Text: "Signed versions", Size: "m"}, FirstCellIsHeader: true, Compact: true, Responsive: true,
		Head: []cell{text("Version"), text("Signed by"), text("When"), text("Statement"), text("What ran"), text("Evidence then"), text("SHA-256")},
	}
	for _, a := range slices.Backward(c.Versions) {
		by := cell{Text: a.Officer.String(), Lines: []string{"Registration until " + a.Officer.Expires.String()}}
		ran := cell{Lines: []string{"Program " + known(a.Baseline.Program), "Configuration " + known(a.Baseline.Config), "Rules " + known(a.Baseline.Policy)}}
		t.Rows = append(t.Rows, []cell{text(a.Version), by, when(s.formatTime(a.At)), text(a.Statement), ran, text(evidenceThen(c.Log, a)), {Text: a.SHA256, Class: "app-hash"}})
	}
	if t.Rows == nil {
		return safetyPart{Heading: "Signed versions", Text: []string{"None."}}
	}
	return safetyPart{Tables: []table{t}}
}

// evidenceThen counts the controls by what was known of them when a version was
// signed.
func evidenceThen(l hazardlog.Log, a hazardlog.Approval) string {
	frozen, err := evidence.Frozen(&a)
	then, _, missing := l.Version(a.Version)
	switch {
	case err != nil || missing != nil:
		return "Cannot be read: it was altered"
	case frozen == nil:
		return "None was kept"
	}
	return safetyCase{Log: then, report: *frozen}.evidenceOf(then.Controls)
}

// nextVersion suggests the version after the last.
func nextVersion(l hazardlog.Log) string {
	a := l.Approved()
	if a == nil {
		return "1.0"
	}
	var major, minor int
	if n, _ := fmt.Sscanf(a.Version, "%d.%d", &major, &minor); n == 2 {
		return fmt.Sprintf("%d.%d", major, minor+1)
	}
	return cmp.Or(a.Version, "1.0")
}
