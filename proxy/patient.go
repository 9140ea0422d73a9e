package proxy

// Agree reports whether two names can be names of one patient.
func (p Patient) Agree(q Patient) bool {
	return (p.ID == "" || q.ID == "" || p.ID == q.ID) &&
		(p.NHSNumber == "" || q.NHSNumber == "" || p.NHSNumber == q.NHSNumber)
}

// Same reports whether two names have an identifier in common and do not disagree.
func (p Patient) Same(q Patient) bool {
	shared := p.ID != "" && p.ID == q.ID || p.NHSNumber != "" && p.NHSNumber == q.NHSNumber
	return shared && p.Agree(q)
}

// Join puts two names of one patient together; what p says already stays.
func (p Patient) Join(q Patient) Patient {
	if p.ID == "" {
		p.ID = q.ID
	}
	if p.NHSNumber == "" {
		p.NHSNumber = q.NHSNumber
	}
	return p
}
