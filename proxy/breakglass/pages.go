package breakglass

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

//go:embed pages/*.html
var pageFiles embed.FS

func parsePages() (*template.Template, error) { return template.ParseFS(pageFiles, "pages/*.html") }

// endPath takes the form that ends a grant.
const endPath = Path + "/end"

// csp allows the style sheet, and forms to this gateway.
const csp = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// listed is how many of their own grants a person is shown.
const listed = 20

// furniture is what every page has.
type furniture struct{ Title, Service, Organisation, Home, Reviewer string }

func (s *Service) furniture(title string) furniture {
	return furniture{title, s.cfg.Service, s.cfg.Organisation, s.cfg.Home, s.cfg.Reviewer}
}

type fault struct{ Href, Text string }

type choice struct {
	ID, Code, Text string
	Checked        bool
}

// offerPage is the one step from a refusal to the record.
type offerPage struct {
	furniture
	Refused                []policy.Reason
	Patient, Name          string
	Lasts, Until           string
	Action                 string
	Purpose                bool // saying what for is all that is asked
	Here                   bool // it counts in this application alone
	Question               string
	SignIn                 string // where to sign in again first, "" where that is not asked for
	Unproved               bool   // it would be, and the sign-in service does not answer
	Reasons                []choice
	Note, NoteLabel        string
	MaxNote                int
	Problems               []fault
	ReasonError, NoteError string
	Reference              string
}

type listPage struct {
	furniture
	Grants []listedGrant
	Unread bool
	End    string
}

type listedGrant struct {
	ID, Began, Ends, Reason string
	Open                    bool
}

type messagePage struct {
	furniture
	Text []string
	Link *fault
}

// answer is a form as somebody filled it in.
type filled struct{ reason, note string }

// Page implements proxy.Emergency.
func (s *Service) Page(ctx context.Context, path string) ([]byte, error) {
	id := strings.TrimPrefix(path, Path+"/")
	s.mu.RLock()
	known := s.offers[id]
	var o offer
	if known != nil {
		o = *known
	}
	s.mu.RUnlock()
	if known == nil {
		return nil, errNoOffer
	}
	return s.render("offer", s.offerPage(ctx, o, o.refused.Subject, filled{}, nil))
}

func (s *Service) offerPage(ctx context.Context, o offer, who policy.Subject, f filled, problems []fault) offerPage {
	now := s.cfg.Now()
	p := offerPage{
		furniture: s.furniture("Open this record in an emergency"),
		Refused:   o.refused.Reasons, Patient: patientWords(o.refused.Patient), Name: cmp.Or(who.Name, who.Person),
		Lasts: spanWords(s.cfg.Lasts), Until: s.clock(now.Add(s.cfg.Lasts)), Action: Path + "/" + o.id,
		Note: f.note, NoteLabel: s.noteLabel(), MaxNote: maxNote, Problems: problems, Reference: o.refused.Request,
		Question: "Why do you need it now?",
		Here:     o.refused.Patient.NHSNumber == "" && s.cfg.Authority(o.refused.App) == "",
	}
	if o.refused.Offer == policy.Purpose {
		p.Title, p.Question, p.Purpose = "Say what you need this record for", "What do you need it for?", true
	}
	if o.fresh && !s.fresh(who) {
		if s.cfg.SignInWorks(ctx) {
			p.SignIn = s.cfg.SignInPath + "?again=now&return=" + url.QueryEscape(Path+"/"+o.id)
		} else {
			p.Unproved = true
		}
	}
	for i, r := range s.choices(o) {
		c := choice{"reason", r.Code, r.Text, r.Code == f.reason}
		if i > 0 {
			c.ID = fmt.Sprintf("reason-%d", i+1)
		}
		p.Reasons = append(p.Reasons, c)
	}
	for _, problem := range problems {
		if problem.Href == "#note" {
			p.NoteError = problem.Text
		} else {
			p.ReasonError = problem.Text
		}
	}
	return p
}

// choices are what an offer asks people to choose from.
func (s *Service) choices(o offer) []Reason {
	if o.refused.Offer == policy.Purpose {
		return s.cfg.Purposes
	}
	return s.cfg.Reasons
}

// noteLabel says for which reasons something must be written.
func (s *Service) noteLabel() string {
	var need []string
	for _, r := range s.cfg.Reasons {
		if r.Note {
			need = append(need, "“"+r.Text+"”")
		}
	}
	if len(need) == 0 {
		return "Say more, if you can"
	}
	return "Say more (needed for " + strings.Join(need, " and ") + ")"
}

// fresh reports whether somebody has signed in so lately that it need not be again.
func (s *Service) fresh(who policy.Subject) bool {
	age := s.cfg.Now().Sub(who.AuthTime)
	return !who.AuthTime.IsZero() && age < freshFor
}

// Handler serves the pages below Path. It finds out by itself who asks, since nothing
// that decides may stand in the way of an emergency (GW-10).
func (s *Service) Handler() http.Handler { return s.handler }

func (s *Service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, s.known(s.showList))
	mux.HandleFunc("POST "+endPath, s.known(s.endOne))
	mux.HandleFunc("GET "+Path+"/{offer}", s.known(s.showOffer))
	mux.HandleFunc("POST "+Path+"/{offer}", s.known(s.acceptOffer))
	return http.NewCrossOriginProtection().Handler(mux)
}

// known finds out who asks, and sends those who are not signed in to do so.
func (s *Service) known(next func(http.ResponseWriter, *http.Request, policy.Subject)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := s.cfg.Identifier.Identify(r)
		if err == nil && !who.Known() {
			err = proxy.ErrNoSession
		}
		switch {
		case err == nil:
			next(w, r, who)
		case errors.Is(err, proxy.ErrIdentityUnavailable):
			s.message(w, r, http.StatusServiceUnavailable, "Sign-in is not working", nil,
				"It cannot be found out who you are. Use the downtime procedure of your area, or ask a colleague who is already in the record.")
		case r.Method == http.MethodGet:
			noStore(w.Header())
			http.Redirect(w, r, s.cfg.SignInPath+"?return="+url.QueryEscape(r.URL.Path), http.StatusSeeOther)
		default:
			s.message(w, r, http.StatusUnauthorized, "Your session has ended", &fault{s.cfg.SignInPath + "?return=" + url.QueryEscape(s.backTo(r)), "Sign in and go on"},
				"Nothing was recorded. Sign in; you come back to where you were.")
		}
	}
}

// backTo is the page that a form stands on.
func (s *Service) backTo(r *http.Request) string {
	if r.URL.Path == endPath {
		return Path
	}
	return r.URL.Path
}

func (s *Service) showOffer(w http.ResponseWriter, r *http.Request, who policy.Subject) {
	o, ok := s.usable(w, r, who)
	if !ok {
		return
	}
	s.show(w, r, http.StatusOK, "offer", s.offerPage(r.Context(), o, who, filled{}, nil))
}

// usable finds the offer that an address names. When it was used already the person
// is sent on to where it led: a second click must not look like a failure.
func (s *Service) usable(w http.ResponseWriter, r *http.Request, who policy.Subject) (offer, bool) {
	o, err := s.offerOf(r.Context(), r.PathValue("offer"), who)
	again := &fault{s.cfg.Home, "Start again"}
	switch {
	case errors.Is(err, errNoOffer):
		s.message(w, r, http.StatusNotFound, "This page is not yours, or no longer there", again,
			"Open the patient's record again. If you are refused, you get a new page.")
		return o, false
	case err != nil:
		s.cfg.Logger.LogAttrs(r.Context(), slog.LevelError, "offer of emergency access not read", slog.Any("error", err))
		s.message(w, r, http.StatusServiceUnavailable, "This page cannot be shown just now", again,
			"Open the patient's record again: you get a new page, which works.")
		return o, false
	case s.serves(o, who):
		noStore(w.Header())
		w.Header().Set("Location", o.refused.Return)
		w.WriteHeader(http.StatusSeeOther)
		return o, false
	case !o.taken.IsZero() || s.cfg.Now().Sub(o.made) > offerLasts:
		s.message(w, r, http.StatusGone, "This page has been used, or is too old", &fault{o.refused.Return, "Open the record again"},
			"If you are refused, you get a new page.")
		return o, false
	}
	return o, true
}

// serves reports whether what was offered is in force already.
func (s *Service) serves(o offer, who policy.Subject) bool {
	_, ok := s.together(s.held(who), o.refused.Offer, s.read(), o.refused.Site, o.refused.App, []proxy.Patient{o.refused.Patient})
	return ok
}

// acceptOffer is the one step: what it makes is durable before anybody is let in.
func (s *Service) acceptOffer(w http.ResponseWriter, r *http.Request, who policy.Subject) {
	o, ok := s.usable(w, r, who)
	if !ok {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<16)
	f := filled{r.PostFormValue("reason"), oneLine(r.PostFormValue("note"))}
	reason, problems := judge(s.choices(o), f)
	if len(problems) > 0 {
		s.show(w, r, http.StatusUnprocessableEntity, "offer", s.offerPage(r.Context(), o, who, f, problems))
		return
	}
	facts := Facts{Reason: reason.Code, Note: f.note}
	if o.fresh {
		facts.Again = AgainDone
		if !s.fresh(who) {
			if s.cfg.SignInWorks(r.Context()) {
				s.show(w, r, http.StatusForbidden, "offer", s.offerPage(r.Context(), o, who, f, nil))
				return
			}
			facts.Again = AgainUnavailable
		}
	}
	first, err := s.take(r.Context(), o)
	if err == nil && !first {
		s.message(w, r, http.StatusConflict, "This page has been used already", &fault{o.refused.Return, "Go on to the record"},
			"Nothing was recorded twice.")
		return
	}
	if err == nil {
		_, err = s.open(r, o, who, facts, purposeOf(o, reason))
		if err != nil {
			s.giveBack(r.Context(), o)
		}
	}
	if err != nil {
		s.cfg.Logger.LogAttrs(r.Context(), slog.LevelError, "emergency access not recorded", slog.Any("error", err))
		s.message(w, r, http.StatusServiceUnavailable, "It could not be recorded, so the record was not opened", &fault{Path + "/" + o.id, "Try again"},
			"If it does not work the second time, use the downtime procedure of your area, or ask a colleague who is already in the record.")
		return
	}
	noStore(w.Header())
	w.Header().Set("Location", o.refused.Return)
	w.WriteHeader(http.StatusSeeOther)
}

// purposeOf is what a grant is for: the code that was chosen, or what goes with the
// reason of an emergency.
func purposeOf(o offer, chosen Reason) string {
	if o.refused.Offer == policy.Purpose {
		return chosen.Code
	}
	return cmp.Or(chosen.Purpose, "BTG")
}

// judge says what is missing in a form.
func judge(choices []Reason, f filled) (Reason, []fault) {
	i := slices.IndexFunc(choices, func(r Reason) bool { return r.Code == f.reason })
	if i < 0 {
		return Reason{}, []fault{{"#reason", "Choose why you need the record now"}}
	}
	r := choices[i]
	switch {
	case r.Note && strings.TrimSpace(f.note) == "":
		return r, []fault{{"#note", "Write in a few words why you need the record now"}}
	case utf8.RuneCountInString(f.note) > maxNote:
		return r, []fault{{"#note", fmt.Sprintf("The note must be %d characters or fewer", maxNote)}}
	}
	return r, nil
}

// oneLine takes line ends and other control characters out of what somebody wrote, and
// those that turn the direction of writing: reviewers read it as it was meant.
func oneLine(text string) string {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "")
	}
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) || unicode.Is(unicode.Zl, c) || unicode.Is(unicode.Zp, c) {
			return ' '
		}
		return c
	}, strings.ReplaceAll(text, "\r\n", "\n"))) // as forms send what a page counts as one character
}

func (s *Service) showList(w http.ResponseWriter, r *http.Request, who policy.Subject) {
	p := listPage{furniture: s.furniture("Your emergency accesses"), End: endPath}
	ctx, cancel := context.WithTimeout(r.Context(), askWithin)
	defer cancel()
	found, err := s.Of(ctx, who, listed)
	if err != nil {
		s.cfg.Logger.LogAttrs(r.Context(), slog.LevelError, "emergency access not read", slog.Any("error", err))
		p.Unread, found = true, s.held(who)
	}
	now := s.read()
	for _, g := range found {
		p.Grants = append(p.Grants, s.listedGrant(g, now))
	}
	s.show(w, r, http.StatusOK, "list", p)
}

// held are the grants of a person that are known here.
func (s *Service) held(who policy.Subject) []Grant {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.grants[accountOf(who)])
}

// Open lists until when grants of a person are in force, for a banner.
func (s *Service) Open(who policy.Subject) []time.Time {
	now := s.read()
	var until []time.Time
	for _, g := range s.held(who) {
		if g.Kind == policy.BreakGlass && g.inForce(now) {
			until = append(until, g.ends(now))
		}
	}
	return until
}

func (s *Service) listedGrant(g Grant, now reading) listedGrant {
	l := listedGrant{ID: g.ID, Began: s.when(g.Began), Open: g.inForce(now), Reason: s.reasonWords(g)}
	switch {
	case l.Open:
		l.Ends = s.when(g.ends(now))
	case g.Ended.IsZero():
		l.Ends = s.when(g.Until)
	default:
		l.Ends = s.when(g.Ended) + ", " + causeWords(g.Cause)
	}
	return l
}

// ReasonText is a reason as staff read it, or its code where it is no longer one.
func (s *Service) ReasonText(code string) string {
	if i := slices.IndexFunc(s.cfg.Reasons, func(r Reason) bool { return r.Code == code }); i >= 0 {
		return s.cfg.Reasons[i].Text
	}
	return code
}

func (s *Service) reasonWords(g Grant) string {
	words := s.ReasonText(g.Reason)
	if g.Note != "" {
		words += ": " + g.Note
	}
	return words
}

func causeWords(c Cause) string {
	switch c {
	case ByPerson:
		return "by you"
	case BySession:
		return "with your session"
	case ByTime:
	}
	return "when its time was over"
}

func (s *Service) endOne(w http.ResponseWriter, r *http.Request, who policy.Subject) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<12)
	_ = s.End(r.Context(), who, r.PostFormValue("grant")) // one that has ended meanwhile is shown as ended
	noStore(w.Header())
	w.Header().Set("Location", Path)
	w.WriteHeader(http.StatusSeeOther)
}

// patientWords is a patient as staff know them: a number, nothing else.
func patientWords(p proxy.Patient) string {
	var words []string
	if p.ID != "" {
		words = append(words, "number "+p.ID)
	}
	if n := p.NHSNumber; len(n) == 10 {
		words = append(words, "NHS number "+n[:3]+" "+n[3:6]+" "+n[6:])
	}
	return strings.Join(words, ", ")
}

func spanWords(d time.Duration) string {
	if d%time.Hour == 0 && d > time.Hour {
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	}
	if d < time.Minute {
		return fmt.Sprintf("%d seconds", int(d/time.Second))
	}
	return fmt.Sprintf("%d minutes", int(d/time.Minute))
}

func (s *Service) clock(t time.Time) string { return t.In(s.cfg.Location).Format("15:04") }
func (s *Service) when(t time.Time) string {
	return t.In(s.cfg.Location).Format("2 January 2006, 15:04")
}

func noStore(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
}

func (s *Service) message(w http.ResponseWriter, r *http.Request, status int, title string, link *fault, lines ...string) {
	s.show(w, r, status, "message", messagePage{s.furniture(title), lines, link})
}

func (s *Service) render(name string, view any) ([]byte, error) {
	var page bytes.Buffer
	err := s.pages.ExecuteTemplate(&page, name, view)
	return page.Bytes(), err
}

func (s *Service) show(w http.ResponseWriter, r *http.Request, status int, name string, view any) {
	page, err := s.render(name, view)
	if err != nil {
		s.cfg.Logger.LogAttrs(r.Context(), slog.LevelError, "page not made", slog.Any("error", err))
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	noStore(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", csp)
	w.WriteHeader(status)
	_, _ = w.Write(page) //nolint:gosec // html/template escaped it; a client that has gone needs no page
}
