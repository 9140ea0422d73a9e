package fhirepr

import (
	"bytes"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

//go:embed pages/*
var files embed.FS

// frame is what every page shows.
type frame struct {
	Title   string
	Who     string
	SignOut string
}

// messagePage is pages/message.html.
type messagePage struct {
	Frame frame
	Text  string
}

// listPage is pages/patients.html: a search or a ward.
type listPage struct {
	Frame    frame
	Heading  string
	Query    string
	Searched bool
	Wards    []hospital.Ward
	Patients []patientRow
	More     int // matches that are not shown
}

type patientRow struct {
	ID        string
	Name      string
	Born      string
	NHSNumber string
}

// recordPage is pages/record.html: one patient and one tab.
type recordPage struct {
	Frame   frame
	Patient patientRow
	Sex     string
	Address string
	Phone   string
	Tab     string
	Tabs    []tab
	Rows    []recordRow
}

type tab struct {
	Name string // last part of the address; "" for the summary
	Text string
	Type string // FHIR type whose resources it lists
}

type recordRow struct {
	When  string
	What  string
	Value string
}

func tabs() []tab {
	return []tab{
		{"", "Summary", "Encounter"},
		{"results", "Results", "Observation"},
		{"notes", "Notes and letters", "DocumentReference"},
		{"prescriptions", "Prescriptions", "MedicationRequest"},
		{"allergies", "Allergies", "AllergyIntolerance"},
	}
}

func (e *EPR) frame(r *http.Request, title string) frame {
	who := callerFrom(r.Context())
	f := frame{Title: title, Who: who.Name, SignOut: e.cfg.SignOut}
	if f.Who == "" {
		f.Who = who.Sub
	}
	return f
}

func (e *EPR) uiStart(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, UIPath+"/patients", http.StatusSeeOther)
}

// uiPatients finds patients by name, NHS number or hospital number.
func (e *EPR) uiPatients(w http.ResponseWriter, r *http.Request) {
	q := strings.TrimSpace(r.URL.Query().Get("q"))
	page := listPage{Frame: e.frame(r, "Find a patient"), Heading: "Find a patient", Query: q, Searched: q != "", Wards: e.cfg.Hospital.Wards}
	if q != "" {
		name := "name"
		if strings.ContainsAny(q, "0123456789") {
			name, q = "identifier", strings.ReplaceAll(q, " ", "")
		}
		found, total := e.store.search(query{typ: "Patient", count: 50, terms: []term{{name, []string{q}}}})
		page.Patients, page.More = rows(found), total-len(found)
	}
	namePatients(w, page.Patients)
	e.page(w, r, http.StatusOK, "patients.html", page)
}

func (e *EPR) uiWard(w http.ResponseWriter, r *http.Request) {
	ward, ok := e.cfg.Hospital.Ward(r.PathValue("ward"))
	if !ok {
		e.uiStart(w, r) // a page about no ward would name nobody
		return
	}
	page := listPage{Frame: e.frame(r, ward.Name), Heading: ward.Name, Searched: true, Wards: e.cfg.Hospital.Wards}
	stays, _ := e.store.search(query{typ: "Encounter", count: 200, terms: []term{{"location", []string{ward.ID}}}})
	for _, stay := range stays {
		if v, found := e.store.latest(key{"Patient", e.store.patientOf(stay.key())}); found && !v.Deleted {
			page.Patients = append(page.Patients, row(v))
		}
	}
	namePatients(w, page.Patients)
	e.page(w, r, http.StatusOK, "patients.html", page)
}

// patientHeader names the patients on a page, for gateways that record whom a
// page shows: HTML says so to people only.
const patientHeader = "X-Patient"

func namePatients(w http.ResponseWriter, shown []patientRow) {
	for _, p := range shown {
		w.Header().Add(patientHeader, p.ID)
	}
}

// patientOf is the patient whom a resource is about.
func (s *store) patientOf(k key) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.fields[k].patient
}

func rows(versions []version) []patientRow {
	out := make([]patientRow, len(versions))
	for i, v := range versions {
		out[i] = row(v)
	}
	return out
}

func row(v version) patientRow {
	m := parsed(v)
	out := patientRow{ID: v.ID, Born: birthday(text(m, "birthDate"))}
	if names := slice(m["name"]); len(names) > 0 {
		out.Name = strings.ToUpper(text(names[0], "family")) + ", " + strings.Join(lines(dig(names[0], "given")), " ")
	}
	for _, i := range slice(m["identifier"]) {
		if dig(i, "system") == nhsNumberSystem {
			out.NHSNumber = spaced(text(i, "value"))
		}
	}
	return out
}

// spaced is an NHS number as people write it.
func spaced(n string) string {
	if len(n) != 10 {
		return n
	}
	return n[:3] + " " + n[3:6] + " " + n[6:]
}

func parsed(v version) object {
	var m object
	if json.Unmarshal(v.Body, &m) != nil {
		return object{}
	}
	return m
}

func text(v any, path ...string) string {
	s, _ := dig(v, path...).(string)
	return s
}

func (e *EPR) uiPatient(w http.ResponseWriter, r *http.Request) { e.record(w, r, "") }

func (e *EPR) uiTab(w http.ResponseWriter, r *http.Request) { e.record(w, r, r.PathValue("tab")) }

func (e *EPR) record(w http.ResponseWriter, r *http.Request, name string) {
	i := slices.IndexFunc(tabs(), func(t tab) bool { return t.Name == name })
	v, ok := e.store.latest(key{"Patient", r.PathValue("id")})
	if i < 0 || !ok || v.Deleted {
		e.fail(w, r, notFound())
		return
	}
	t, m := tabs()[i], parsed(v)
	page := recordPage{
		Frame: e.frame(r, t.Text), Patient: row(v), Sex: text(m, "gender"), Tab: t.Name, Tabs: tabs(),
	}
	for _, a := range slice(m["address"]) {
		page.Address = strings.Join(append(lines(dig(a, "line")), text(a, "postalCode")), ", ")
	}
	for _, p := range slice(m["telecom"]) {
		page.Phone = text(p, "value")
	}
	found, _ := e.store.search(query{typ: t.Type, count: 500, terms: []term{{"patient", []string{v.ID}}}})
	slices.Reverse(found)
	for _, f := range found {
		page.Rows = append(page.Rows, e.recordLine(f))
	}
	e.page(w, r, http.StatusOK, "record.html", page)
}

func lines(v any) []string {
	var out []string
	for _, l := range slice(v) {
		out = append(out, texts(l)...)
	}
	return out
}

// recordLine is one resource in one line.
func (e *EPR) recordLine(v version) recordRow {
	m := parsed(v)
	switch v.Type {
	case "Encounter":
		where := ""
		for _, l := range slice(m["location"]) {
			where = text(l, "location", "display")
		}
		return recordRow{e.day(text(m, "period", "start")), where, text(m, "serviceType", "text") + ", " + strings.ReplaceAll(text(m, "status"), "-", " ")}
	case "Observation":
		return recordRow{e.day(text(m, "effectiveDateTime")), text(m, "code", "text"), fmt.Sprint(dig(m, "valueQuantity", "value"), " ", text(m, "valueQuantity", "unit"))}
	case "DocumentReference":
		return recordRow{e.day(text(m, "date")), text(m, "type", "text"), attachment(m)}
	case "MedicationRequest":
		return recordRow{e.day(text(m, "authoredOn")), text(m, "medicationCodeableConcept", "text"), text(m, "status")}
	}
	return recordRow{e.day(text(m, "recordedDate")), text(m, "code", "text"), ""}
}

// birthday is a date as the NHS writes it in records.
func birthday(date string) string {
	if t, err := time.Parse(time.DateOnly, date); err == nil {
		return t.Format("02-Jan-2006")
	}
	return date
}

// day is a time as people in the hospital read it, on their clocks.
func (e *EPR) day(stamp string) string {
	t, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return birthday(stamp)
	}
	return t.In(e.clock).Format("02-Jan-2006 15:04")
}

func attachment(m object) string {
	for _, c := range slice(m["content"]) {
		if data, err := base64.StdEncoding.DecodeString(text(c, "attachment", "data")); err == nil {
			return string(data)
		}
	}
	return ""
}

func (e *EPR) uiAddNote(w http.ResponseWriter, r *http.Request) {
	e.uiWrite(w, r, "notes", func(id, words string) object {
		return document("", id, "note", "Clinical note", words, e.cfg.Now().UTC())
	})
}

func (e *EPR) uiPrescribe(w http.ResponseWriter, r *http.Request) {
	e.uiWrite(w, r, "prescriptions", func(id, words string) object {
		return prescription("", id, words, e.cfg.Now().UTC())
	})
}

// uiWrite stores what a form holds and shows the tab again.
func (e *EPR) uiWrite(w http.ResponseWriter, r *http.Request, tab string, draft func(id, words string) object) {
	id, words := r.PathValue("id"), strings.TrimSpace(r.PostFormValue("text"))
	if words == "" {
		e.fail(w, r, &fault{http.StatusBadRequest, "required", "There was nothing to save: write something first."})
		return
	}
	body := draft(id, words)
	typ, _ := body["resourceType"].(string)
	if _, err := e.store.apply([]change{{method: http.MethodPost, key: key{Type: typ}, body: body}}); err != nil {
		e.fail(w, r, err)
		return
	}
	http.Redirect(w, r, UIPath+"/patients/"+url.PathEscape(id)+"/"+tab, http.StatusSeeOther)
}

func (e *EPR) uiStyle(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, files, "pages/style.css")
}

func (e *EPR) page(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	t, err := template.ParseFS(files, "pages/layout.html", "pages/"+name)
	var buf bytes.Buffer
	if err == nil {
		err = t.ExecuteTemplate(&buf, "layout.html", data)
	}
	if err != nil {
		e.cfg.Log.ErrorContext(r.Context(), "page", slog.String("page", name), slog.String("error", err.Error()))
		http.Error(w, "The record cannot show this page.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if _, err := buf.WriteTo(w); err != nil {
		e.cfg.Log.DebugContext(r.Context(), "page not delivered", slog.String("error", err.Error()))
	}
}
