package signin

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strings"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

//go:embed pages/*
var files embed.FS

// pages are what people see of the service.
type pages struct {
	hospital   *hospital.Hospital
	store      *store
	callback   func(context.Context, string) string
	formAction string
	log        *slog.Logger
}

// group is the staff of one role.
type group struct {
	Role   string
	People []option
}

// option is one person to be.
type option struct {
	Person string
	Name   string
	Role   string
	Place  string
}

// formPage is pages/form.html.
type formPage struct {
	ID     string
	Hint   *option
	First  []option // one of each role
	Groups []group
}

// messagePage is pages/message.html.
type messagePage struct {
	Title string
	Text  string
}

func (p *pages) groups() []group {
	var out []group
	for _, role := range []string{
		hospital.Nurse, hospital.Doctor, hospital.AlliedHealth, hospital.Pharmacist, hospital.Receptionist,
		hospital.WardClerk, hospital.MedicalSecretary, hospital.PrivacyOfficer, hospital.SecurityAnalyst,
		hospital.SafetyOfficer, hospital.SystemAdministrator,
	} {
		g := group{Role: strings.ReplaceAll(role, "-", " ")}
		for _, s := range p.hospital.WithRole(role) {
			g.People = append(g.People, p.option(s))
		}
		out = append(out, g)
	}
	return out
}

func (p *pages) option(s hospital.Staff) option {
	o := option{Person: s.Person, Name: s.Name.Full(), Role: strings.ReplaceAll(s.Role(), "-", " "), Place: "whole hospital"}
	if len(s.Wards) > 0 {
		if w, ok := p.hospital.Ward(s.Wards[0]); ok {
			o.Place = w.Name
		}
	}
	return o
}

func (p *pages) form(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	found, err := p.store.AuthRequestByID(r.Context(), id)
	if err != nil {
		p.expired(w, r)
		return
	}
	page := formPage{ID: id, Groups: p.groups()}
	for i, g := range page.Groups {
		if len(g.People) > 0 {
			page.First = append(page.First, g.People[0])
			page.Groups[i].People = g.People[1:]
		}
	}
	if a, ok := found.(attempt); ok {
		if s, known := p.hospital.Person(a.req.LoginHint); known && !s.Machine() {
			hint := p.option(s)
			page.Hint = &hint
		}
	}
	p.render(w, r, http.StatusOK, "form.html", page)
}

func (p *pages) submit(w http.ResponseWriter, r *http.Request) {
	id := r.PostFormValue("id")
	err := p.store.choose(id, r.PostFormValue("person"))
	switch {
	case errors.Is(err, errNoPerson):
		p.render(w, r, http.StatusBadRequest, "message.html", messagePage{Title: "Nobody chosen", Text: "Go back and choose one of the names on the page."})
	case err != nil:
		p.expired(w, r)
	default:
		http.Redirect(w, r, p.callback(r.Context(), id), http.StatusSeeOther)
	}
}

func (p *pages) expired(w http.ResponseWriter, r *http.Request) {
	p.render(w, r, http.StatusBadRequest, "message.html", messagePage{
		Title: "This sign-in has expired",
		Text:  "Go back to the application and open it again: it will ask you to sign in once more.",
	})
}

func (p *pages) home(w http.ResponseWriter, r *http.Request) {
	p.render(w, r, http.StatusOK, "message.html", messagePage{
		Title: "Demonstration sign-in service",
		Text:  "There is nothing to do here. Open the application: it will bring you to the sign-in page.",
	})
}

func (p *pages) signedOut(w http.ResponseWriter, r *http.Request) {
	p.render(w, r, http.StatusOK, "message.html", messagePage{Title: "You are signed out", Text: "You can close this page."})
}

func (p *pages) style(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, files, "pages/style.css")
}

func (p *pages) icon(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, files, "pages/icon.svg")
}

func (p *pages) render(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	t, err := template.ParseFS(files, "pages/layout.html", "pages/"+name)
	if err != nil {
		p.broken(w, r, err)
		return
	}
	var buf bytes.Buffer
	if err := t.ExecuteTemplate(&buf, "layout.html", data); err != nil {
		p.broken(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action "+p.formAction)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if _, err := buf.WriteTo(w); err != nil {
		p.log.DebugContext(r.Context(), "sign-in page not delivered", slog.String("error", err.Error()))
	}
}

func (p *pages) broken(w http.ResponseWriter, r *http.Request, err error) {
	p.log.ErrorContext(r.Context(), "sign-in page", slog.String("error", err.Error()))
	http.Error(w, "The sign-in page is broken.", http.StatusInternalServerError)
}
