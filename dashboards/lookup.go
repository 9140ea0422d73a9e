package dashboards

import (
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/matron-epr/matron/policy"
)

const (
	formBytes = 16 << 10 // of a posted form
	noteRunes = 500
	idRunes   = 64
)

// The things that can be looked up.
const (
	byNHSNumber = "nhs"
	byHospital  = "hospital"
	byStaff     = "staff"
)

// lookupPage is the look-up form.
type lookupPage struct {
	chrome
	Action string
	By     radios
	Number input
	Reason selectField
	Note   textarea
	Submit button
}

// reasonPage asks why before it shows anything.
type reasonPage struct {
	chrome
	Back   backLink
	Action string
	Reason selectField
	Submit button
}

// reasons lists why somebody may look accesses up. The codes go into records
// and addresses and never change.
func reasons() []option {
	return []option{
		{Value: "patient-request", Text: "The patient asked who viewed their record"},
		{Value: "complaint", Text: "A complaint or concern"},
		{Value: "alert-review", Text: "Reviewing an alert"},
		{Value: "planned-audit", Text: "A planned audit"},
		{Value: "incident", Text: "An incident is being investigated"},
		{Value: "other", Text: "Another reason"},
	}
}

func knownReason(code string) bool {
	return slices.ContainsFunc(reasons(), func(o option) bool { return o.Value == code })
}

// lookup shows the empty form.
func (s *Site) lookup(r *http.Request) (answer, error) {
	return answer{template: "lookup", view: s.lookupView(r, lookupForm{by: byNHSNumber})}, nil
}

// lookupForm is what was typed, and what is wrong with it.
type lookupForm struct {
	by, number, reason, note             string
	byError, numberError, whyErr, noteEr string
	patient                              patientRef
	person                               string
}

// search checks the form, records the look-up, and goes to the page of whom it
// found. Nobody learns from the answer whether the number is on record.
func (s *Site) search(r *http.Request) (answer, error) {
	r.Body = http.MaxBytesReader(nil, r.Body, formBytes)
	if err := r.ParseForm(); err != nil {
		form := lookupForm{by: byNHSNumber, numberError: "The form was too long or damaged. Enter the number again"}
		return answer{status: http.StatusUnprocessableEntity, template: "lookup", view: s.lookupView(r, form)}, nil
	}
	form := readLookup(r)
	if !form.ok() {
		return answer{status: http.StatusUnprocessableEntity, template: "lookup", view: s.lookupView(r, form)}, nil
	}
	if form.patient.NHSNumber != "" && s.cfg.HospitalNumber != nil {
		form.patient.ID = s.cfg.HospitalNumber(form.patient.NHSNumber)
	}
	err := s.record(r, sight{
		screen: "look-up", action: policy.Search,
		patient: form.patient, person: form.person, reason: form.reason, note: form.note,
	})
	if err != nil {
		return answer{}, err
	}
	if form.person != "" {
		return answer{location: s.staffURL(form.person, because(form.reason))}, nil
	}
	return answer{location: s.patientURL(form.patient, because(form.reason))}, nil
}

// readLookup reads and checks the posted form.
func readLookup(r *http.Request) lookupForm {
	f := lookupForm{
		by:     r.PostForm.Get("by"),
		number: strings.TrimSpace(r.PostForm.Get("number")),
		reason: r.PostForm.Get("reason"),
		note:   strings.TrimSpace(r.PostForm.Get("note")),
	}
	f.checkNumber()
	if !knownReason(f.reason) {
		f.whyErr = "Select why you are looking this up"
	}
	switch {
	case f.reason == "other" && f.note == "":
		f.noteEr = "Say what the reason is"
	case utf8.RuneCountInString(f.note) > noteRunes || !utf8.ValidString(f.note):
		f.noteEr = "The note must be 500 characters or fewer"
	}
	return f
}

// checkNumber turns the number into a patient or a member of staff.
func (f *lookupForm) checkNumber() {
	switch f.by {
	case byNHSNumber:
		digits, err := parseNHSNumber(f.number)
		if err != nil {
			f.numberError = "Enter a valid NHS number: 10 digits, like 999 000 0018. Check for a digit that is wrong or missing"
			return
		}
		f.patient = patientRef{NHSNumber: digits}
	case byHospital, byStaff:
		if f.number == "" || utf8.RuneCountInString(f.number) > idRunes || !utf8.ValidString(f.number) {
			f.numberError = "Enter the number, 64 characters or fewer"
			return
		}
		if f.by == byStaff {
			f.person = f.number
			return
		}
		f.patient = patientRef{ID: f.number}
	default:
		f.byError = "Select what you are looking up"
	}
}

func (f *lookupForm) ok() bool {
	return f.byError == "" && f.numberError == "" && f.whyErr == "" && f.noteEr == ""
}

// lookupView makes the form, with what was typed and what is wrong with it.
func (s *Site) lookupView(r *http.Request, f lookupForm) lookupPage {
	off := false
	page := lookupPage{
		chrome: s.chrome(r, "Look up"),
		Action: Base + "lookup",
		By: radios{
			IDPrefix: "by", Name: "by", Small: true, ErrorMessage: message(f.byError),
			Fieldset: fieldset{Legend: legend{Text: "What are you looking up?", Size: "s"}},
			Items: []radio{
				{Value: byNHSNumber, Text: "A patient, by NHS number", Checked: f.by == byNHSNumber},
				{Value: byHospital, Text: "A patient, by hospital number", Checked: f.by == byHospital},
				{Value: byStaff, Text: "A member of staff, by staff number", Checked: f.by == byStaff},
			},
		},
		Number: input{
			ID: "number", Name: "number", Label: label{Text: "Number", Size: "s"}, Value: f.number,
			Hint:         &hint{Text: "An NHS number is 10 digits, like 999 000 0018. Spaces and dashes are allowed."},
			ErrorMessage: message(f.numberError), Autocomplete: "off", Width: 20, Spellcheck: &off, Code: true,
		},
		Reason: reasonField(f.reason, f.whyErr),
		Note: textarea{
			ID: "note", Name: "note", Label: label{Text: "Note (optional)", Size: "s"}, Value: f.note, Rows: 2,
			Hint:         &hint{Text: "Say more if it helps, such as a complaint reference. Needed for another reason."},
			ErrorMessage: message(f.noteEr),
		},
		Submit: button{Text: "Look up"},
	}
	page.fault("by", f.byError)
	page.fault("number", f.numberError)
	page.fault("reason", f.whyErr)
	page.fault("note", f.noteEr)
	return page
}

func reasonField(chosen, wrong string) selectField {
	items := []option{{Value: "", Text: "Select a reason"}}
	for _, o := range reasons() {
		o.Selected = o.Value == chosen
		items = append(items, o)
	}
	return selectField{
		ID: "reason", Name: "reason", Label: label{Text: "Why are you looking this up?", Size: "s"},
		Hint: &hint{Text: "The reason is recorded."}, ErrorMessage: message(wrong), Items: items,
	}
}

// fault lists an error in the summary of the page; the title begins with Error.
func (c *chrome) fault(field, text string) {
	if text == "" {
		return
	}
	c.Problems.Heading = "There is a problem"
	c.Problems.ErrorList = append(c.Problems.ErrorList, errorItem{Text: text, Href: "#" + field})
}

func message(s string) *errorMessage {
	if s == "" {
		return nil
	}
	return &errorMessage{Text: s}
}

// askWhy is shown instead of a page that was opened without a reason. It names
// nobody and shows nothing of the record.
func (s *Site) askWhy(r *http.Request, given string) answer {
	page := reasonPage{
		chrome: s.chrome(r, "Why are you looking this up?"),
		Back:   backLink{Text: "Back to look up", Href: Base + "lookup"},
		Action: r.URL.Path,
		Reason: reasonField("", ""),
		Submit: button{Text: "Continue"},
	}
	if given != "" {
		page.Reason.ErrorMessage = message("Select one of the reasons")
		page.fault("reason", "Select one of the reasons")
		return answer{status: http.StatusUnprocessableEntity, template: "reason", view: page}
	}
	return answer{template: "reason", view: page}
}
