package appmap

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap/openmaxims"
)

// state is the session that an exchange belongs to, and the tables that it is
// read by. Without a turn, as when a single exchange is tried by hand, it is a new
// one.
func (m *Map) state(t *turn) (*openmaxims.Session, *openmaxims.Tables) {
	if t == nil {
		return openmaxims.Begin(), m.follow.tables
	}
	return t.f.state, m.follow.tables
}

// because are the reasons of refusals that no policy makes.
func because(b openmaxims.Block) *policy.Reason {
	const desk = "Tell the service desk what you were doing, with the reference below."
	switch b {
	case openmaxims.RefusedUser:
		return &policy.Reason{Code: string(b), Text: "Nobody may sign in with this account, which comes with the software.", Remedy: "Sign in with your own account."}
	case openmaxims.OtherUser:
		return &policy.Reason{Code: string(b), Text: "This is not the account of the person who is signed in at the gateway.", Remedy: "Sign in with your own account, or sign out at the gateway first."}
	case openmaxims.StaleScreen:
		return &policy.Reason{Code: string(b), Text: "Your screen no longer shows where the record is, since its last answer was withheld. Nothing was done.", Remedy: "Press Home, or load the page again."}
	case openmaxims.NotIssued:
		return &policy.Reason{Code: string(b), Text: "This document was not made for you, or not in this session.", Remedy: "Open it again from the patient's record."}
	case openmaxims.NotSignedIn:
		return &policy.Reason{Code: string(b), Text: "Nobody is signed in to the record.", Remedy: "Sign in to the record first."}
	case openmaxims.FileRefused:
		return &policy.Reason{Code: string(b), Text: "Files of this kind, or with such a name, are not taken.", Remedy: "Save it as one of the kinds that your hospital allows, for example PDF, and send it again."}
	case openmaxims.PeopleRefused:
		return &policy.Reason{Code: string(b), Text: "This interface is for connected systems, not for people.", Remedy: desk}
	case openmaxims.NotBlocked:
	}
	return nil
}

// apply puts what the protocol says into an access.
func apply(a *proxy.Access, p openmaxims.Plan) {
	setParts(a, p.Parts)
	a.Screen, a.Patients, a.Certainty, a.Source = p.Screen, p.Patients, p.Certainty, p.Source
	a.Kind, a.KeepAlive, a.Deliberate = p.Kind, p.KeepAlive, p.Deliberate
	if p.Block != openmaxims.NotBlocked {
		a.Block, a.Because = true, because(p.Block)
	}
}

// maximsHost reads a request of the user interface.
func maximsHost(x *exchange, a *proxy.Access) error {
	body, err := x.body()
	if err != nil {
		return err
	}
	s, tables := x.m.state(x.turn)
	var people []string
	if x.turn != nil {
		people = []string{x.turn.subject.Person, x.turn.subject.Sub}
		x.turn.before, x.turn.changes = s.Place(), true
	}
	p, err := s.Request(body, tables, people)
	if err != nil {
		return malformed("body: %w", err)
	}
	apply(a, p)
	a.Hold, a.Detail = true, details(s, p)
	return nil
}

// details are the name and the role under which the application knows who is
// working, which may differ from who is signed in at the gateway (GW-07).
func details(s *openmaxims.Session, p openmaxims.Plan) []string {
	var out []string
	if name, role := s.User(); name != "" {
		out = append(out, "application-user="+name, "application-role="+role)
	}
	if p.Login != "" {
		out = append(out, "application-login="+p.Login)
	}
	return out
}

// maximsAnswer reads the answer of the user interface.
func maximsAnswer(n *answer) (proxy.Settlement, error) {
	body, err := n.whole()
	if err != nil {
		return proxy.Settlement{}, err
	}
	s, tables := n.m.state(n.turn)
	seen, err := s.Answer(n.status, body, tables, n.m.mounts())
	if n.turn != nil {
		n.turn.settled = err == nil || errors.Is(err, openmaxims.ErrFault)
	}
	return settled(seen, err)
}

// settled is what an answer of the application shows, as the gateway asks.
func settled(seen openmaxims.Seen, err error) (proxy.Settlement, error) {
	switch {
	case errors.Is(err, openmaxims.ErrFault):
		return proxy.Settlement{}, fmt.Errorf("%w: %w", err, proxy.ErrApplicationFault)
	case err != nil:
		return proxy.Settlement{}, unreadable("response: %w", err)
	}
	return proxy.Settlement{
		Patients: seen.Patients, Certainty: seen.Certainty, Results: seen.Results,
		Stranger: seen.Stranger, Parts: seen.Parts,
	}, nil
}

// maximsLogout is the servlet that ends a session.
func maximsLogout(x *exchange, _ *proxy.Access) error {
	if x.turn != nil {
		x.turn.ends = true
	}
	return nil
}

// maximsDocument is a report, a letter or an uploaded file: for whoever was given
// its address, about the patient on the screen then (weak spots S9, S11).
func maximsDocument(x *exchange, a *proxy.Access) error {
	s, _ := x.m.state(x.turn)
	address := "/"
	for i, part := range x.segments {
		if i > 0 {
			address += "/"
		}
		address += part
	}
	if x.rawQuery != "" {
		address += "?" + x.rawQuery
	}
	g, ok := s.Granted(address)
	if !ok {
		a.Block, a.Because = true, because(openmaxims.NotIssued)
		return nil
	}
	a.Screen = g.Screen
	switch {
	case g.Unknown || g.Patient == proxy.Patient{}:
		a.Certainty, a.Source = audit.Unknown, audit.SourceSession
	default:
		a.Patients, a.Certainty, a.Source = []proxy.Patient{g.Patient}, audit.Learned, audit.SourceSession
	}
	return nil
}

// maximsUpload is a file for the current patient.
func maximsUpload(x *exchange, a *proxy.Access) error {
	body, err := x.body()
	if err != nil {
		return err
	}
	s, tables := x.m.state(x.turn)
	p, err := s.Upload(x.header.Values("Content-Type"), body, tables)
	if err != nil {
		return malformed("body: %w", err)
	}
	apply(a, p)
	a.Hold = true
	return nil
}

// maximsUploaded reads where an uploaded file can be fetched.
func maximsUploaded(n *answer) (proxy.Settlement, error) {
	if n.status >= http.StatusBadRequest {
		return proxy.Settlement{Certainty: audit.None}, nil
	}
	body, err := n.whole()
	if err != nil {
		return proxy.Settlement{}, err
	}
	s, _ := n.m.state(n.turn)
	if err := s.Uploaded(body, n.m.mounts()); err != nil {
		return proxy.Settlement{}, unreadable("response: %w", err)
	}
	return proxy.Settlement{Patients: n.access.Patients, Certainty: n.access.Certainty}, nil
}

// maximsCall is a SOAP call.
func maximsCall(x *exchange, a *proxy.Access) error {
	body, err := x.body()
	if err != nil {
		return err
	}
	_, tables := x.m.state(x.turn)
	p, err := tables.Call(body, x.turn != nil && x.turn.subject.Machine)
	if errors.Is(err, openmaxims.ErrOperation) {
		return unmappedSince("the SOAP operation is not in the table soap")
	}
	if err != nil {
		return malformed("body: %w", err)
	}
	apply(a, p)
	a.Resource, a.Hold = p.Screen, true
	return nil
}

// maximsResult reads the result of a SOAP call. What the call named it is about.
func maximsResult(n *answer) (proxy.Settlement, error) {
	body, err := n.whole()
	if err != nil {
		return proxy.Settlement{}, err
	}
	_, tables := n.m.state(n.turn)
	nobody := slices.Contains([]policy.Area{policy.Home, policy.Administration}, n.access.Area)
	seen, err := tables.Result(body, nobody || len(n.access.Patients) > 0)
	s, err := settled(seen, err)
	if err == nil && len(s.Patients) == 0 && len(n.access.Patients) > 0 {
		s.Patients, s.Certainty = n.access.Patients, n.access.Certainty
	}
	return s, err
}
