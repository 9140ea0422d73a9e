package dashboards

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

func controlHref(id string) string { return safetyBase + "/controls/" + id }

// hazardControl shows one control: that it is there, that it works, and how the
// second is measured.
func (s *Site) hazardControl(r *http.Request) (answer, error) {
	c, x, err := s.oneControl(r)
	if err != nil {
		return answer{}, err
	}
	page := s.safetyView(r, "Control "+x.ID, x.Text)
	page.Caption = "Control " + x.ID
	page.back("Hazard log", hazardsBase)
	first := safetyPart{Facts: &summaryList{Rows: controlFacts(x)}}
	if c.report.State(x.ID) == hazardlog.Contradicted {
		first.Trouble = "The evidence for this control is contradicted. The ratings of " + strings.Join(x.Hazards, ", ") + " are in question until a clinical safety officer rates them anew."
	}
	if s.mayEdit(r) {
		first.Links = []pageLink{{"Change this control", controlHref(x.ID) + "/edit"}, {"Change its status", controlHref(x.ID) + "/status"}}
	}
	page.add(first)
	page.add(safetyPart{Heading: "Hazards it carries", Items: c.hazardLinks(x.Hazards)})
	page.add(s.slotsPart(c, x))
	page.add(s.signalsOf(c, x))
	page.add(findingsPart("What the checks say", c.Lint(s.facts(c)), func(f hazardlog.Finding) bool { return f.Subject == x.Subject() }))
	page.add(safetyPart{Tables: []table{s.historyTable(c, x.Subject())}})
	return answer{template: "safety", view: page}, nil
}

// oneControl finds the control of the address.
func (s *Site) oneControl(r *http.Request) (safetyCase, hazardlog.Control, error) {
	c, err := s.theCase(r)
	if err != nil {
		return c, hazardlog.Control{}, err
	}
	x, ok := c.Control(r.PathValue("id"))
	if !ok {
		return c, x, errOpaque
	}
	return c, x, nil
}

func controlFacts(x hazardlog.Control) []summaryRow {
	since := "Was there before the gateway"
	if x.Timing == hazardlog.Additional {
		since = "Comes with the gateway"
	}
	brings := text("Nobody has answered")
	switch x.NewHazards.Answer {
	case hazardlog.NoNewHazards:
		brings = text("No: " + x.NewHazards.Reason)
	case hazardlog.SomeNewHazards:
		brings = text("Yes: " + strings.Join(x.NewHazards.Hazards, ", "))
	}
	return []summaryRow{
		{text("Type"), text(sentenceCase(string(x.Type)))},
		{text("Since"), text(since)},
		{text("Status in the log"), tagged(controlTag(x.Status))},
		{text("Brings hazards of its own?"), brings},
		{text("If it fails"), text(cmp.Or(x.CommonCause, "Nothing is said of what stands behind it"))},
	}
}

// slotsPart answers the two questions about a control, each for itself.
func (s *Site) slotsPart(c safetyCase, x hazardlog.Control) safetyPart {
	t := table{
		ID: "slots", Caption: caption{Text: "Evidence", Size: "m"}, FirstCellIsHeader: true, Compact: true, Responsive: true,
		Head: []cell{text("Question"), text("Answer"), text("Why"), text("Newest evidence"), text("Rests on")},
	}
	got := c.report.Controls[x.ID]
	for _, q := range []struct {
		words string
		slot  evidence.Slot
	}{{"Is it implemented?", got.Implemented}, {"Does it work?", got.Effective}} {
		newest := "None"
		if !q.slot.At.IsZero() {
			newest = s.formatTime(q.slot.At)
		}
		t.Rows = append(t.Rows, []cell{text(q.words), tagged(evidenceTag(q.slot.State)), text(cmp.Or(q.slot.Reason, "Nothing is measured")), when(newest), {Text: noneIf(q.slot.Sources), Lines: q.slot.Sources}})
	}
	p := safetyPart{Tables: []table{t}}
	if c.report.At.IsZero() {
		p.Text = []string{"Nothing has been measured yet."}
	}
	return p
}

func noneIf(list []string) string {
	if len(list) == 0 {
		return "Nothing"
	}
	return ""
}

// signalsOf lists the indicators of a control with their definitions.
func (s *Site) signalsOf(c safetyCase, x hazardlog.Control) safetyPart {
	p := safetyPart{Heading: "Safety signals of this control"}
	for _, i := range c.report.Indicators {
		if i.Control == x.ID {
			p.Tables = append(p.Tables, s.signalTable(i))
		}
	}
	if p.Tables == nil {
		p.Text = []string{"None is defined: that it works cannot be measured."}
	}
	return p
}

// signalTable is one indicator in full.
func (s *Site) signalTable(i evidence.Indicator) table {
	t := table{ID: "signal-" + i.ID, Caption: caption{Text: i.ID + " " + i.Name, Size: "s"}, FirstCellIsHeader: true, Compact: true, Head: []cell{text("Part"), text("What it says")}}
	row := func(name string, c cell) { t.Rows = append(t.Rows, []cell{text(name), c}) }
	state := tagged(evidenceTag(i.State))
	state.Lines = lines(i.Reason)
	row("State", state)
	row("Value", text(signalValue(i)))
	row("Sample", text(signalSample(i)))
	row("Window", text(signalWindow(i.Window)))
	row("Threshold", text(i.Threshold))
	row("Definition", text(i.Definition))
	row("Taken from", text(i.Query))
	row("Measured", text(s.formatTime(i.At)))
	row("Owner", text(cmp.Or(i.Owner, "Nobody is named")))
	row("When it is missed", text(cmp.Or(i.Action, "Nothing is agreed")))
	return t
}

// signalValue is a value with its unit. None is not nought.
func signalValue(i evidence.Indicator) string {
	if i.Value == nil {
		return "None"
	}
	return strings.TrimSuffix(strings.TrimRight(trimFloat(*i.Value, 3), "0"), ".") + " " + i.Unit
}

func signalSample(i evidence.Indicator) string {
	return formatCount(uint64(max(i.Sample, 0))) + " of at least " + formatCount(uint64(max(i.MinSample, 0)))
}

func signalWindow(d time.Duration) string {
	if d == 0 {
		return "As it is now"
	}
	return "Last " + formatSpan(d)
}

// signals lists every indicator, those that need somebody first.
func (s *Site) signals(r *http.Request) (answer, error) {
	c, err := s.theCase(r)
	if err != nil {
		return answer{}, err
	}
	page := s.safetyView(r, "Safety signals", "Safety signals")
	page.Intro = "What is measured of the controls, all the time. No data is never good evidence; software never changes a rating."
	if len(c.report.Indicators) == 0 {
		page.add(safetyPart{Inset: &insetText{Text: "Nothing is measured here yet. That does not mean that every control works."}})
		return answer{template: "safety", view: page}, nil
	}
	page.add(safetyPart{Facts: &summaryList{Rows: []summaryRow{
		{text("Measured"), text(s.formatTime(c.report.At))},
		{text("Program"), text(known(c.report.Build))},
		{text("Signals"), text(countSignals(c.report.Indicators))},
		{text("Controls"), text(c.evidenceOf(c.Controls))},
	}}})
	t := table{
		ID: "signals", Caption: caption{Text: "Signals, those that need somebody first", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Signal"), text("State"), text("Value"), text("Threshold"), text("Sample"), text("Window"), text("Control"), text("Owner and action")},
	}
	for _, w := range evidenceWords() {
		for _, i := range c.report.Indicators {
			if i.State == w.State {
				t.Rows = append(t.Rows, s.signalRow(i))
			}
		}
	}
	page.add(safetyPart{Tables: []table{t}, Class: "wide"})
	return answer{template: "safety", view: page}, nil
}

func (s *Site) signalRow(i evidence.Indicator) []cell {
	state := tagged(evidenceTag(i.State))
	state.Lines = lines(i.Reason)
	control := text(i.Hazard)
	if i.Control != "" {
		control = link(i.Control, controlHref(i.Control))
		control.Lines = lines(i.Hazard)
	}
	return []cell{
		text(i.ID + " " + i.Name), state, text(signalValue(i)), text(i.Threshold), text(signalSample(i)), text(signalWindow(i.Window)), control,
		{Text: cmp.Or(i.Owner, "Nobody is named"), Lines: lines(i.Action)},
	}
}

func countSignals(list []evidence.Indicator) string {
	var parts []string
	for _, w := range evidenceWords() {
		n := uint64(0)
		for _, i := range list {
			if i.State == w.State {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, formatCount(n)+" "+strings.ToLower(w.Text))
		}
	}
	return strings.Join(parts, ", ")
}
