package openmaxims

import (
	"slices"

	"github.com/matron-epr/matron/proxy"
)

// Place is where a session of the application is.
type Place struct {
	patient proxy.Patient
	screen  string
	known   bool // false: somebody or something that cannot be told
}

// Place is where the session is now.
func (s *Session) Place() Place {
	return Place{s.patient, s.screen.caption, s.known && !s.nameless}
}

// Away reports whether p is no longer what was denied: back with the patient of
// before or with none, and on no screen that was not there before.
func (p Place) Away(before, denied Place) bool {
	if !p.known {
		return false
	}
	patient := p.patient == (proxy.Patient{}) || before.known && p.patient.Same(before.patient)
	screen := p.screen != denied.screen || before.known && p.screen == before.screen || p.screen == ""
	return patient && screen
}

// Away is the request that takes a session away from what nobody may see, nil
// after the last one: first home, then a new session of the same user, then out.
func (t *Tables) Away(step int) []byte {
	words := []string{"home", "role", "logout"}
	if step >= len(words) {
		return nil
	}
	var ids []string
	for id, what := range t.topButtons {
		if what == words[step] {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	event := `<logout source="App"/>`
	if len(ids) > 0 && words[step] != "logout" {
		event = `<topbutton id="` + ids[0] + `"/>`
	}
	return []byte(`<?xml version="1.0" encoding="utf-8"?><events>` + event + `</events>`)
}
