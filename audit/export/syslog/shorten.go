package syslog

import (
	"strings"
	"unicode/utf8"

	"github.com/matron-epr/matron/audit"
)

// bound is how much of a record's fields goes into a message; 0 is all of it.
type bound struct {
	text  int // octets of what clients and applications write
	ident int // octets of identifiers and codes
	items int // of a list
}

// bounds are tried in turn until the message fits. With the last one it always
// does: TestEverythingFits holds that against MinMessage.
func bounds() []bound {
	return []bound{{}, {4096, 0, 0}, {1024, 1024, 64}, {256, 256, 32}, {64, 64, 8}, {12, 12, 2}}
}

// maxSource bounds the gateway id in any case; the configuration keeps it far
// shorter.
const maxSource = 64

// field is a field of a record that may have to be shortened.
type field struct {
	name string
	one  *string
	list *[]string
	text bool // may be long by its nature
}

// fields lists every string in r but Source.
func fields(r *audit.Record) []field {
	return []field{
		{name: "target", one: &r.Target, text: true},
		{name: "query", one: &r.Query, text: true},
		{name: "user_agent", one: &r.UserAgent, text: true},
		{name: "detail", list: &r.Detail, text: true},
		{name: "activities", list: &r.Activities, text: true},
		{name: "rules", list: &r.Rules, text: true},
		{name: "reasons", list: &r.Reasons, text: true},
		{name: "roles", list: &r.Roles, text: true},
		{name: "basis", one: &r.Basis, text: true},
		{name: "token", one: &r.Token, text: true},
		{name: "site", one: &r.Site},
		{name: "kind", one: (*string)(&r.Kind)},
		{name: "request", one: &r.Request},
		{name: "app", one: &r.App},
		{name: "method", one: &r.Method},
		{name: "route", one: &r.Route},
		{name: "action", one: &r.Action},
		{name: "area", one: &r.Area},
		{name: "screen", one: &r.Screen},
		{name: "resource", one: &r.Resource},
		{name: "resource_id", one: &r.ResourceID},
		{name: "resource_version", one: &r.ResourceVersion},
		{name: "deliberate", one: &r.Deliberate},
		{name: "patient", one: &r.Patient},
		{name: "nhs_number", one: &r.NHSNumber},
		{name: "patient_source", one: (*string)(&r.PatientSource)},
		{name: "certainty", one: (*string)(&r.Certainty)},
		{name: "user_issuer", one: &r.UserIssuer},
		{name: "user_sub", one: &r.UserSub},
		{name: "person", one: &r.Person},
		{name: "user_name", one: &r.UserName},
		{name: "org", one: &r.Org},
		{name: "role_id", one: &r.RoleID},
		{name: "acr", one: &r.ACR},
		{name: "amr", list: &r.AMR},
		{name: "session", one: &r.Session},
		{name: "purpose", one: &r.Purpose},
		{name: "client_ip", one: &r.ClientIP},
		{name: "device", one: &r.Device},
		{name: "client_cn", one: &r.ClientCN},
		{name: "effect", one: &r.Effect},
		{name: "policy_rev", one: &r.PolicyRev},
		{name: "mode", one: &r.Mode},
		{name: "outcome", one: (*string)(&r.Outcome)},
		{name: "error", one: &r.Error},
		{name: "upstream_to", one: &r.UpstreamTo},
	}
}

// shorten returns r with its fields within the bound, and the names of those
// that lost something. What is cut ends in an ellipsis. r stays as it is.
func shorten(r audit.Record, to bound) (short audit.Record, names []string) {
	if len(r.Source) > maxSource {
		r.Source, names = cut(r.Source, maxSource), append(names, "source")
	}
	for _, f := range fields(&r) {
		limit := to.ident
		if f.text {
			limit = to.text
		}
		var lost bool
		if f.one != nil {
			lost = cutTo(f.one, limit)
		} else {
			lost = cutList(f.list, limit, to.items)
		}
		if lost {
			names = append(names, f.name)
		}
	}
	return r, names
}

func cutTo(s *string, limit int) bool {
	if limit == 0 || len(*s) <= limit {
		return false
	}
	*s = cut(*s, limit)
	return true
}

// cutList bounds the whole of a list, which is sent as one text.
func cutList(list *[]string, limit, items int) bool {
	few := items == 0 || len(*list) <= items
	if limit == 0 || few && len(strings.Join(*list, " ")) <= limit {
		return false
	}
	whole := *list
	if !few {
		whole = whole[:items]
	}
	var kept []string
	for _, s := range whole {
		if limit < len(s) {
			kept = append(kept, cut(s, max(limit, 0)))
			break
		}
		kept = append(kept, s)
		limit -= len(s) + 1
	}
	if len(kept) < len(*list) && (len(kept) == 0 || kept[len(kept)-1] != "…") {
		kept = append(kept, "…")
	}
	*list = kept
	return true
}

// cut keeps at most limit octets of s, whole characters, and adds an ellipsis.
func cut(s string, limit int) string {
	for limit > 0 && limit < len(s) && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:min(limit, len(s))] + "…"
}
