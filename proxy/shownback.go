package proxy

import (
	"net/http"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// The answer to a change may show the record that was changed: because the client asked
// for it (Prefer: return=representation), or because the application always does. Who
// may change a record may not be one who may read it, so that what is shown back is
// decided as a read. The change itself has been made by then, and whoever made it is
// told so: repeating it would make it twice (GW-05).

// does are the things that the exchange does, each with its action and area.
func (a *Access) does() []Part {
	if len(a.Parts) > 0 {
		return a.Parts
	}
	return []Part{{Action: a.Action, Area: a.Area, Resource: a.Resource}}
}

// shownBack is what the answer to a change shows of what was changed, as parts that
// are to be read; nil for nothing.
func (x *exchange) shownBack(status int, s Settlement) []Part {
	if s.Bare || bodiless(status) || x.access.Certainty == audit.None || x.entered(status) {
		return nil
	}
	var back []Part
	for _, p := range x.access.does() {
		if p.Action.Writes() {
			p.Action = policy.Read
			back = append(back, p)
		}
	}
	return back
}

// entered reports whether the application has just entered a patient whom it did not
// know: nobody can be caring for them yet, and what is shown is what was entered.
func (x *exchange) entered(status int) bool {
	if x.access.Action != policy.Create || status != http.StatusCreated {
		return false
	}
	for _, p := range x.access.Patients {
		if p.ID != "" {
			return false
		}
	}
	return true
}

// lateRefusal is the error of a decision that does not allow what an answer shows.
func (x *exchange) lateRefusal(status int, d policy.Decision) error {
	if !x.writes() || status >= http.StatusMultipleChoices || x.access.Conditional && status == http.StatusOK {
		return refusalOf(d)
	}
	x.saved = status
	return errNotShown
}

// showBack decides about the answer to a change that is not held: its patients are
// those whom the request names. What a redirection leads to is decided by itself, so
// that it goes on without what else it says.
func (x *exchange) showBack(res *http.Response) error {
	s := Settlement{Patients: x.access.Patients, Certainty: x.access.Certainty}
	if x.access.Hold || x.would || res.ContentLength == 0 || len(x.shownBack(res.StatusCode, s)) == 0 {
		return nil
	}
	w := x.weigh(res.StatusCode, s)
	if err := x.appendAll(w.records); err != nil {
		return err
	}
	if w.refusal == nil {
		return nil
	}
	if res.StatusCode >= http.StatusMultipleChoices && res.StatusCode < http.StatusBadRequest {
		emptied(res)
		return nil
	}
	x.keepNames(res.Header)
	return w.refusal
}

// emptied takes the body off a response.
func emptied(res *http.Response) {
	_ = res.Body.Close()
	res.Body, res.ContentLength, res.TransferEncoding, res.Trailer = http.NoBody, 0, nil, nil
	for _, name := range [...]string{"Content-Type", "Content-Encoding", "Trailer"} {
		res.Header.Del(name)
	}
	res.Header.Set("Content-Length", "0")
}

// keepNames keeps of a saved answer under which address and version it was saved: who
// saves again without them would make it twice, or over somebody else's change.
func (x *exchange) keepNames(h http.Header) {
	if x.saved == 0 {
		return
	}
	x.savedAs = http.Header{}
	for _, name := range [...]string{"Location", "Content-Location", "Etag", "Last-Modified"} {
		if v := h.Values(name); len(v) > 0 {
			x.savedAs[name] = v
		}
	}
}
