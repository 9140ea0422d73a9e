package appmap

import (
	"strings"

	"github.com/matron-epr/matron/proxy"
)

// openehrQuery is a query in AQL. Whose data it yields stands in its text, which is
// not read: the rows tell.
func openehrQuery(_ *exchange, a *proxy.Access) error {
	a.Hold = true
	return nil
}

// openehrRows names the patients in the rows of a result set by the columns that hold
// the id of the EHR. A row without one may be anybody's.
func openehrRows(n *answer) (found, error) {
	if n.body.Len() == 0 {
		return found{seen: !n.failed()}, nil
	}
	doc, err := n.document()
	if err != nil || n.failed() {
		return found{}, err
	}
	set, ok := doc.(*object)
	if !ok || !hasList(set, "rows") {
		return found{}, unreadable("the response is no result set")
	}
	var at []int
	for i, c := range set.list("columns") {
		if o, ok := c.(*object); ok && namesEHR(o.text("path")) {
			at = append(at, i)
		}
	}
	f := found{seen: true}
	for _, r := range set.list("rows") {
		row, ok := r.([]any)
		if !ok {
			return found{}, unreadable("a row of the result set cannot be read")
		}
		f.results++
		named := false
		for _, i := range at {
			if i >= len(row) {
				continue
			}
			if id, ok := row[i].(string); ok && id != "" {
				f.patients, named = addPatient(f.patients, proxy.Patient{ID: id}), true
			}
		}
		if !named {
			f.nameless++
		}
		if len(f.patients) > maxPatients {
			return found{}, n.refuse("too many patients are named")
		}
	}
	return f, nil
}

// namesEHR reports whether a column holds the id of the EHR: e/ehr_id/value itself,
// not a function of it.
func namesEHR(path string) bool {
	alias, ok := strings.CutSuffix(path, "/ehr_id/value")
	return ok && only(strings.ToLower(alias), "abcdefghijklmnopqrstuvwxyz0123456789_")
}

func hasList(o *object, key string) bool {
	v, _ := o.get(key)
	return isList(v)
}
