package appmap

import (
	"slices"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// rule is one compiled rule of a map.
type rule struct {
	id         string
	methods    []string
	pattern    pattern
	conditions []condition

	action, area, screen, resource, resourceID, version value

	patients  []patientSource
	nobody    bool // concerns no patient
	others    bool // may concern others besides those whom the request names
	response  *responseRule
	extractor *extractor

	kind       proxy.LimitKind
	deny       proxy.DenyForm
	deliberate string
	static     bool
	keepAlive  bool
	block      bool
	redact     []string
}

// responseRule says where the response of a rule names patients.
type responseRule struct {
	each     pointer // one result per element; nil when the response is one thing
	counted  bool    // each is set
	handles  bool    // elements that are texts show nothing of anybody
	complete bool    // a response that names nobody shows nobody
	patients []patientSource
}

// patientSource is a place that names patients.
type patientSource struct {
	from *source
	nhs  bool // the text is an NHS number, not the application's own id
	many bool // several different patients may be named
}

// condition is one requirement besides method and path.
type condition struct {
	from *source
	want string // "*" present, "!" absent, else the exact text
}

func (r *rule) holds() bool {
	return r.response != nil || r.extractor != nil && r.extractor.holds()
}

func (r *rule) matches(x *exchange) (bool, error) {
	method := x.method
	if method == "HEAD" {
		method = "GET" // a HEAD asks for the header of the same thing
	}
	if !slices.Contains(r.methods, method) || !r.pattern.match(x.segments) {
		return false, nil
	}
	for i := range r.conditions {
		ok, err := r.conditions[i].holds(x)
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

func (c *condition) holds(x *exchange) (bool, error) {
	texts, err := x.read(c.from)
	if err != nil {
		return false, err
	}
	switch {
	case c.want == "*":
		return len(texts) > 0, nil
	case c.want == "!":
		return len(texts) == 0, nil
	case len(texts) > 1:
		return false, malformed("%s is given more than once", c.from.name)
	}
	return len(texts) == 1 && texts[0] == c.want, nil
}

// access fills in what the rule says about an exchange that it matches.
func (r *rule) access(x *exchange) (proxy.Access, error) {
	a := proxy.Access{
		Rule: r.id, Kind: r.kind, Deny: r.deny, Deliberate: r.deliberate,
		Static: r.static, KeepAlive: r.keepAlive, Block: r.block, Hold: r.response != nil, Redact: r.redact,
	}
	var action, area string
	for _, f := range []struct {
		to   *string
		from *value
	}{
		{&action, &r.action},
		{&area, &r.area},
		{&a.Screen, &r.screen},
		{&a.Resource, &r.resource},
		{&a.ID, &r.resourceID},
		{&a.Version, &r.version},
	} {
		text, err := f.from.get(x)
		if err != nil {
			return proxy.Access{}, err
		}
		*f.to = text
	}
	a.Action, a.Area = policy.Action(action), policy.Area(area)
	found, err := collect(r.patients, x)
	if err != nil {
		return proxy.Access{}, err
	}
	a.Patients = found
	a.Certainty, a.Source = certaintyOf(found), sourceOf(r.patients, found)
	if r.others {
		a.Certainty = audit.Unknown
	}
	if r.nobody {
		a.Certainty, a.Source = audit.None, audit.SourceNone
	}
	if r.extractor != nil {
		if err := r.extractor.request(x, &a); err != nil {
			return proxy.Access{Deny: a.Deny, Because: a.Because, Reply: a.Reply}, err
		}
	}
	if a.Reason == "" {
		a.Reason = doubt(&a)
	}
	return a, nil
}

// doubt says why the patients of a request are not certain, "" when they are. An
// extractor that knows better says so itself.
func doubt(a *proxy.Access) string {
	switch {
	case a.Certainty == audit.Unknown && len(a.Patients) == 0 && a.Hold:
		return "the request names no patient: the answer tells"
	case a.Certainty == audit.Unknown && len(a.Patients) == 0:
		return "neither the request nor its answer names a patient"
	case a.Certainty == audit.Unknown:
		return "besides those whom it names, the request may concern others"
	case a.Certainty == audit.Several && len(a.Patients) == 1:
		return "the request names one patient: the answer may name others"
	case a.Certainty == audit.Several:
		return "the request names several patients"
	}
	return ""
}

// sourceOf says where patients were named: in the body as soon as any place is
// in the body.
func sourceOf(from []patientSource, found []proxy.Patient) audit.PatientSource {
	if len(found) == 0 {
		return ""
	}
	for i := range from {
		switch from[i].from.kind {
		case fromForm, fromJSON, fromDICOM:
			return audit.SourceBody
		case fromPath, fromQuery, fromHeader, fromContent:
		}
	}
	return audit.SourceURL
}
