package dashboards

import (
	"fmt"
	"net/http"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// sight is what somebody is about to see.
type sight struct {
	screen  string
	action  policy.Action
	patient patientRef // empty when the page is not about one patient
	person  string     // member of staff looked up
	several bool       // a list in which several patients may be named
	reason  string     // code of reasons
	note    string     // in the viewer's own words
	reveal  bool       // identifiers in full
	subject string     // record that was opened, as source/seq
	extra   []string   // what else the record says, as name=value
}

// record makes a look-up durable before anything of it is read or shown. On
// error nothing is shown, even though the record may have been written after
// all (GW-12).
func (s *Site) record(r *http.Request, v sight) error {
	if err := s.cfg.Record(r.Context(), s.sightRecord(r, v)); err != nil {
		return fmt.Errorf("%w: %w", errNotRecorded, err)
	}
	return nil
}

// sightRecord is the record of a look-up: who looks, at whom, and why.
func (s *Site) sightRecord(r *http.Request, v sight) *audit.Record {
	subject := policy.SubjectFrom(r.Context())
	rec := &audit.Record{
		Site: s.cfg.Site, Kind: audit.KindAuditViewed, Time: s.cfg.Now().UTC().Truncate(time.Microsecond),
		App: "matron", Method: r.Method, Action: string(v.action), Area: string(policy.Audit), Screen: v.screen,
		Resource: "AuditEvent", Deliberate: "true", Detail: v.detail(),
		Patient: v.patient.ID, NHSNumber: v.patient.NHSNumber, PatientSource: v.source(r.Method), Certainty: v.certainty(),
		UserIssuer: subject.Issuer, UserSub: subject.Sub, Person: subject.Person, UserName: subject.Name,
		Roles: subject.Roles, Activities: subject.Activities, Org: subject.Organisation, RoleID: subject.RoleID,
		ACR: subject.ACR, AMR: subject.AMR, Assurance: uint64(max(subject.Assurance, 0)), AuthTime: subject.AuthTime,
		Session: subject.Session, Token: subject.Token,
		UserAgent: r.UserAgent(), Effect: policy.Allow.String(), Outcome: audit.Success,
	}
	rec.Bound()
	return rec
}

func (v sight) certainty() audit.Certainty {
	switch {
	case v.patient != patientRef{}:
		return audit.Authoritative
	case v.several:
		return audit.Several
	}
	return audit.None
}

func (v sight) source(method string) audit.PatientSource {
	switch {
	case v.patient == patientRef{} && v.several:
		return audit.SourceResponse
	case v.patient == patientRef{}:
		return audit.SourceNone
	case method == http.MethodPost:
		return audit.SourceBody
	}
	return audit.SourceURL
}

// detail lists what the record has no field for, only what is known.
func (v sight) detail() []string {
	var out []string
	add := func(key, value string) {
		if value != "" {
			out = append(out, key+"="+value)
		}
	}
	add("reason", v.reason)
	add("note", v.note)
	add("person", v.person)
	add("record", v.subject)
	if v.reveal {
		add("revealed", "identifiers")
	}
	return append(out, v.extra...)
}
