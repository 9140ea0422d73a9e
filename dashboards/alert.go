package dashboards

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/matron-epr/matron/policy"
)

// ErrNoAlert says that there is no such alert, nor case of the last run.
var ErrNoAlert = errors.New("no such alert")

// AlertDetector is what one detector measured.
type AlertDetector struct {
	ID      string
	Version int
	Share   float64 // of comparable days or looks of the role with a value as high, 0 to 1; 0 is not known
}

// AlertReason is what could have been somebody's reason.
type AlertReason struct {
	Template, Sentence, Evidence string
	Strong                       bool
}

// AlertReview is what somebody made of an alert.
type AlertReview struct {
	Made          time.Time
	Name          string
	Verdict, Note string
}

// alertPage is one alert with all that speaks for and against it.
type alertPage struct {
	chrome
	Back      backLink
	Heading   string
	Facts     summaryList
	Why       []string
	Reasons   table
	NoReason  string
	Detectors table
	Evidence  table
	Partial   string // why not all evidence is shown
	Reviews   table
	Closed    string // why the viewer cannot judge it, "" where they can
	Action    string
	Verdict   radios
	Note      textarea
	Submit    button
}

// alertVerdicts are what can be made of an alert. The codes go into records and to
// what learns from them, and never change.
func alertVerdicts() []radio {
	return []radio{
		{Value: "justified", Text: "Justified", Hint: &hint{Text: "There was a reason, and you have seen it."}},
		{Value: "systemic", Text: "Justified, and will come again", Hint: &hint{Text: "A way of working that the feeds do not show."}},
		{Value: "training", Text: "A talk or training is enough"},
		{Value: "policy-breach", Text: "Against the rules, without ill intent"},
		{Value: "misuse", Text: "Misuse", Hint: &hint{Text: "Only after the person has been heard."}},
		{Value: "insufficient", Text: "Not enough to tell"},
		{Value: "duplicate", Text: "Looked at before under another reference"},
	}
}

func alertVerdictTag(code string) tag {
	i := slices.IndexFunc(alertVerdicts(), func(r radio) bool { return r.Value == code })
	switch {
	case i < 0:
		return tag{Text: "To look at", Colour: "yellow"}
	case code == "justified" || code == "systemic":
		return tag{Text: alertVerdicts()[i].Text, Colour: "green"}
	}
	return tag{Text: alertVerdicts()[i].Text, Colour: "grey"}
}

// alert shows one, with the form.
func (s *Site) alert(r *http.Request) (answer, error) {
	a, err := s.oneAlert(r, policy.Read)
	if err != nil {
		return answer{}, err
	}
	return answer{template: "alert", view: s.alertView(r, a, "", "", "", "")}, nil
}

// oneAlert finds the one in the address and records that it is looked at.
func (s *Site) oneAlert(r *http.Request, action policy.Action) (Alert, error) {
	id := r.PathValue("id")
	if len(id) > idRunes {
		return Alert{}, errOpaque
	}
	a, err := s.cfg.Alerts.Alert(r.Context(), id)
	switch {
	case errors.Is(err, ErrNoAlert):
		return Alert{}, errOpaque
	case err != nil:
		return Alert{}, unavailable("alert", err)
	}
	v := sight{screen: "alert", action: action, person: a.Person, extra: []string{"alert=" + a.ID}}
	if v.patient = refOf(a.Patient, a.NHSNumber); v.patient == (patientRef{}) {
		v.several = true
	}
	return a, s.record(r, v)
}

func (s *Site) alertView(r *http.Request, a Alert, verdict, note, verdictError, noteError string) alertPage {
	page := alertPage{
		chrome: s.chrome(r, "Alert"), Back: backLink{Text: "Alerts", Href: Base + "alerts"}, Heading: "Alert " + short(a.ID),
		Facts: summaryList{Rows: s.alertFacts(a)}, Why: a.Sentences, Reasons: reasonTable(a.Explanations), Detectors: detectorTable(a.Detectors),
		Evidence: s.eventTable("Accesses that it rests on", a.Evidence, true, true, "alert-review"), Partial: a.Partial, Reviews: s.alertReviews(a.Reviews),
		Action: Base + "alerts/" + a.ID, Submit: button{Text: "Save"},
		Verdict: radios{
			IDPrefix: "verdict", Name: "verdict", Small: true, ErrorMessage: message(verdictError), Items: alertVerdicts(),
			Fieldset: fieldset{Legend: legend{Text: "What do you make of it?", Size: "m"}},
		},
		Note: textarea{
			ID: "note", Name: "note", Label: label{Text: "Why", Size: "s"}, Value: note, Rows: 3, ErrorMessage: message(noteError),
			Hint: &hint{Text: "Say what it rests on. Do not write about the patient."},
		},
	}
	if len(a.Explanations) == 0 {
		page.NoReason = "Nothing was found in what the hospital has told Matron. That does not mean that there was no reason."
	}
	for i := range page.Verdict.Items {
		page.Verdict.Items[i].Checked = page.Verdict.Items[i].Value == verdict
	}
	page.fault("verdict", verdictError)
	page.fault("note", noteError)
	who := policy.SubjectFrom(r.Context())
	switch {
	case who.Person != "" && (who.Person == a.Person || slices.Contains(a.People, who.Person)):
		page.Closed = "This is about your own accesses. Somebody else must look at it."
	case !s.permits(r.Context(), policy.Audit, policy.Update):
		page.Closed = "Your role does not include to judge it."
	}
	return page
}

func (s *Site) alertFacts(a Alert) []summaryRow {
	who := cell{Text: plural(uint64(len(a.People)), "person", "people"), Lines: a.People}
	if a.Person != "" || a.ofNobody() {
		who = s.alertPerson(a)
	}
	patients := s.alertPatient(a)
	if patients.Href == "" && !a.ofNobody() {
		patients = cell{Text: plural(uint64(len(a.Patients)), "patient", "patients") + ": "}
		for _, id := range a.Patients[:min(len(a.Patients), alertPatients)] {
			ref := patientRef{ID: id}
			patients.Links = append(patients.Links, pageLink{Label: ref.label(false), Href: s.patientURL(ref, because("alert-review"))})
		}
		if len(a.Patients) > alertPatients {
			patients.Lines = lines("The first " + formatCount(alertPatients) + " are named here; all of them are among the accesses below.")
		}
	}
	from := text("Found while the gateway runs")
	if a.Rank > 0 {
		from = text("Number " + formatCount(uint64(a.Rank)) + " of the last run over the record")
	}
	state := tagged(alertVerdictTag(a.Verdict))
	return []summaryRow{
		{text("Importance"), tagged(severityTag(a.Severity))},
		{text("State"), state},
		{text("Who"), who},
		{text("Whose record"), patients},
		{text("On"), text(s.alertDays(a))},
		{text("Newest access in it"), text(s.formatTime(a.Time))},
		{text("Where from"), from},
	}
}

// alertPatients is how many patients an alert links to.
const alertPatients = 10

// alertDays writes the days as people do.
func (s *Site) alertDays(a Alert) string {
	var out []string
	for _, d := range a.Days {
		if t, err := time.Parse(time.DateOnly, d); err == nil {
			d = t.Format("2 January 2006")
		}
		out = append(out, d)
	}
	return cmp.Or(strings.Join(out, ", "), s.formatDay(a.Time))
}

func reasonTable(reasons []AlertReason) table {
	t := table{
		ID: "reasons", Caption: caption{Text: "What could explain it", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Reason"), text("How strong"), text("What to look up")},
	}
	for _, r := range reasons {
		strength := tag{Text: "Possible", Colour: "grey"}
		if r.Strong {
			strength = tag{Text: "Explains", Colour: "green"}
		}
		t.Rows = append(t.Rows, []cell{text(r.Sentence), tagged(strength), text(cmp.Or(r.Evidence, "Nothing but the rule") + " (" + r.Template + ")")})
	}
	return t
}

// detectorTable says what was measured, and how common that is among peers.
func detectorTable(all []AlertDetector) table {
	t := table{
		ID: "detectors", Caption: caption{Text: "Which detectors, and how many comparable days or looks in the role are as high", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Detector"), text("Version"), text("How many")},
	}
	for _, d := range all {
		t.Rows = append(t.Rows, []cell{text(sentenceCase(readable(d.ID))), text(formatCount(uint64(max(d.Version, 0)))), text(shareOf(d.Share))})
	}
	return t
}

// shareOf writes a share of comparable days or looks so that it can be imagined.
func shareOf(p float64) string {
	switch {
	case p <= 0 || p > 1:
		return "Not compared"
	case p >= .1:
		return trimFloat(100*p, 0) + " in 100"
	}
	return "1 in " + formatCount(uint64(1/p))
}

func (s *Site) alertReviews(reviews []AlertReview) table {
	t := table{
		ID: "reviews", Caption: caption{Text: "What was made of it", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("When"), text("Who"), text("Outcome"), text("Why")},
	}
	for _, v := range reviews {
		t.Rows = append(t.Rows, []cell{when(s.formatTime(v.Made)), text(v.Name), tagged(alertVerdictTag(v.Verdict)), text(v.Note)})
	}
	return t
}

// judgeAlert takes in what somebody made of one: recorded first, then noted.
func (s *Site) judgeAlert(r *http.Request) (answer, error) {
	r.Body = http.MaxBytesReader(nil, r.Body, formBytes)
	if err := r.ParseForm(); err != nil {
		return answer{}, errOpaque
	}
	a, err := s.oneAlert(r, policy.Read)
	if err != nil {
		return answer{}, err
	}
	verdict, note := r.PostForm.Get("verdict"), strings.TrimSpace(r.PostForm.Get("note"))
	var verdictError, noteError string
	if !slices.ContainsFunc(alertVerdicts(), func(o radio) bool { return o.Value == verdict }) {
		verdictError = "Select what you make of it"
	}
	switch {
	case note == "":
		noteError = "Say what it rests on"
	case utf8.RuneCountInString(note) > noteRunes || !utf8.ValidString(note):
		noteError = "The reason must be 500 characters or fewer"
	}
	page := s.alertView(r, a, verdict, note, verdictError, noteError)
	if page.Closed != "" {
		return answer{}, errNotPermitted
	}
	if verdictError != "" || noteError != "" {
		return answer{status: http.StatusUnprocessableEntity, template: "alert", view: page}, nil
	}
	v := sight{screen: "alert", action: policy.Update, patient: refOf(a.Patient, a.NHSNumber), person: a.Person, note: note, extra: []string{"alert=" + a.ID, "disposition=" + verdict}}
	v.several = v.patient == patientRef{}
	if err := s.record(r, v); err != nil {
		return answer{}, err
	}
	if err := s.cfg.Alerts.Judge(r.Context(), policy.SubjectFrom(r.Context()), a.ID, verdict, note); err != nil {
		return answer{}, unavailable("alert", err)
	}
	return answer{location: Base + "alerts"}, nil
}
