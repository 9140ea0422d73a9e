package appmap

import (
	"slices"
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// maxPatients bounds what telling the patients of one exchange apart may cost.
const maxPatients = 10_000

// collect returns the patients that places name. Places without many speak of
// one patient: two different ids there are an error, never a choice (GW-08).
func collect(from []patientSource, x reader) ([]proxy.Patient, error) {
	var one proxy.Patient
	var found []proxy.Patient
	for i := range from {
		texts, err := x.read(from[i].from)
		if err != nil {
			return nil, err
		}
		for _, text := range texts {
			p := from[i].patient(text)
			if from[i].many {
				if found = addPatient(found, p); len(found) > maxPatients {
					return nil, x.refuse("too many patients are named")
				}
				continue
			}
			if !one.Agree(p) {
				return nil, x.refuse("two different patients are named")
			}
			one = one.Join(p)
		}
	}
	return addPatient(found, one), nil
}

func (s *patientSource) patient(text string) proxy.Patient {
	if s.nhs {
		return proxy.Patient{NHSNumber: nhsNumber(text)}
	}
	return proxy.Patient{ID: text}
}

// addPatient adds a patient, or completes the one that is there already. A
// patient without any name is not added.
func addPatient(list []proxy.Patient, p proxy.Patient) []proxy.Patient {
	if p == (proxy.Patient{}) {
		return list
	}
	for i := range list {
		if list[i].Same(p) {
			if both := list[i].Join(p); both != list[i] {
				list[i] = ownCopy(both)
			}
			return list
		}
	}
	return append(list, ownCopy(p))
}

// ownCopy keeps the names without the long text that they may be part of.
func ownCopy(p proxy.Patient) proxy.Patient {
	return proxy.Patient{ID: strings.Clone(p.ID), NHSNumber: strings.Clone(p.NHSNumber)}
}

// nhsNumber returns the ten digits of an NHS number, "" when it is none. The
// check digit is not verified: what an application calls an NHS number is
// recorded as such.
func nhsNumber(text string) string {
	digits := strings.NewReplacer(" ", "", "-", "").Replace(text)
	if len(digits) != 10 || !only(digits, "0123456789") {
		return ""
	}
	return digits
}

// certaintyOf never says more than the names themselves do.
func certaintyOf(patients []proxy.Patient) audit.Certainty {
	switch len(patients) {
	case 0:
		return audit.Unknown
	case 1:
		return audit.Authoritative
	}
	return audit.Several
}

// everyIn reports whether each of list is one of the others.
func everyIn(list, others []proxy.Patient) bool {
	for _, p := range list {
		if !slices.ContainsFunc(others, func(o proxy.Patient) bool { return o.Same(p) }) {
			return false
		}
	}
	return true
}
