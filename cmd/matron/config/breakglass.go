package config

import (
	"fmt"
	"net"
	"net/mail"
	"time"
)

const (
	longestBreakGlass = 2 * time.Hour
	mostReasons       = 6
)

func (b BreakGlass) validate(ps *problems) {
	if b.Lasts <= 0 || b.Lasts > longestBreakGlass {
		ps.add("break_glass.lasts", "must be above 0 and at most %s", longestBreakGlass)
	}
	ps.required("break_glass.reviewer", b.Reviewer)
	ps.within("break_glass.review_days", b.ReviewDays, 1, 30)
	if b.Probe.Path != "" {
		ps.matches("break_glass.probe.path", b.Probe.Path, `^/[^/\\?#\s][^?#\s]*$`, "a path, for example /fhir/Patient/9990000018")
	}
	ps.positive("break_glass.probe.every", b.Probe.Every)
	validateReasons(ps, "break_glass.reasons", b.Reasons, `^[a-z][a-z0-9-]{0,31}$`, "a short lower-case word, for example emergency")
	validateReasons(ps, "break_glass.purposes", b.Purposes, codeOfPurpose, "a code of HL7 v3 PurposeOfUse, for example TREAT")
	for i, p := range b.Purposes {
		if p.Note || p.Purpose != "" {
			ps.add(fmt.Sprintf("break_glass.purposes[%d]", i), "has a code and a text, nothing else")
		}
	}
	for i, r := range b.Reasons {
		if r.Purpose != "" {
			ps.matches(fmt.Sprintf("break_glass.reasons[%d].purpose", i), r.Purpose, codeOfPurpose, "a code of HL7 v3 PurposeOfUse, for example BTG")
		}
	}
}

// codeOfPurpose is what codes of HL7 v3 PurposeOfUse look like.
const codeOfPurpose = `^[A-Z]{2,16}$`

func validateReasons(ps *problems, at string, list []BreakGlassReason, pattern, example string) {
	if len(list) > mostReasons {
		ps.add(at, "has %d entries: nobody reads more than %d in an emergency", len(list), mostReasons)
	}
	codes := map[string]int{}
	for i, r := range list {
		ps.matches(fmt.Sprintf("%s[%d].code", at, i), r.Code, pattern, example)
		ps.unique(fmt.Sprintf("%s[%d].code", at, i), r.Code, i, codes)
		ps.required(fmt.Sprintf("%s[%d].text", at, i), r.Text)
	}
}

func (n Notices) validate(ps *problems) {
	if n.Server == "" {
		if n != (Notices{}) {
			ps.add("notices.server", "is missing: the other settings of notices need it")
		}
		return
	}
	if _, _, err := net.SplitHostPort(n.Server); err != nil {
		ps.add("notices.server", "%q is not host:port: write for example smtp.example.org:465", n.Server)
	}
	for name, address := range map[string]string{"from": n.From, "officer": n.Officer} {
		if a, err := mail.ParseAddress(address); err != nil || a.Name != "" {
			ps.add("notices."+name, "%q is not an address: write for example privacy@example.org", address)
		}
	}
	if (n.User == "") != (n.PasswordFile == "") {
		ps.add("notices", "user and password_file belong together: give both or neither")
	}
}
