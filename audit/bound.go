package audit

import (
	"strconv"
	"unicode/utf8"
)

// MaxBytes is the longest canonical encoding that a record may have: an entry
// of a bundle of the C2SP tlog-tiles specification has a 16-bit length.
const MaxBytes = 1<<16 - 1

// The longest that fields may be, in bytes. A field that is not named here may
// have MaxField bytes. Together with every tag and length they stay below
// MaxBytes.
const (
	MaxTarget = 4 << 10
	MaxQuery  = 16 << 10
	MaxField  = 256
	MaxID     = 512     // of patients, people and resources; screens and versions too
	MaxIssuer = 1 << 10 // UserIssuer
	MaxParts  = 8 << 10 // Detail, all of it
)

// Bound shortens what is too long, so that no record can be refused for its
// size (GW-12). Requests that are worth writing down whole are refused before
// they come to that. Site, Source, Seq and Nonce are the Log's and stay as they
// are. Lists that r shares with others are not changed in place.
func (r *Record) Bound() {
	for _, f := range [...]struct {
		text *string
		most int
	}{
		{(*string)(&r.Kind), MaxField},
		{&r.Request, MaxField},
		{&r.App, MaxField},
		{&r.Method, MaxField},
		{&r.Target, MaxTarget},
		{&r.Query, MaxQuery},
		{&r.Route, MaxField},
		{&r.Action, MaxField},
		{&r.Area, MaxField},
		{&r.Screen, MaxID},
		{&r.Resource, MaxField},
		{&r.ResourceID, MaxID},
		{&r.ResourceVersion, MaxID},
		{&r.Deliberate, MaxField},
		{&r.Patient, MaxID},
		{&r.NHSNumber, MaxID},
		{(*string)(&r.PatientSource), MaxField},
		{(*string)(&r.Certainty), MaxField},
		{&r.UserIssuer, MaxIssuer},
		{&r.UserSub, MaxID},
		{&r.Person, MaxID},
		{&r.UserName, MaxField},
		{&r.Org, MaxField},
		{&r.RoleID, MaxField},
		{&r.ACR, MaxField},
		{&r.Session, MaxField},
		{&r.Token, MaxField},
		{&r.Purpose, MaxField},
		{&r.Basis, MaxField},
		{&r.ClientIP, MaxField},
		{&r.Device, MaxField},
		{&r.UserAgent, MaxField},
		{&r.ClientCN, MaxField},
		{&r.Effect, MaxField},
		{&r.PolicyRev, MaxField},
		{&r.Mode, MaxField},
		{(*string)(&r.Outcome), MaxField},
		{&r.Error, MaxField},
		{&r.UpstreamTo, MaxField},
	} {
		*f.text = shorten(*f.text, f.most)
	}
	r.Roles = shortenList(r.Roles, 6<<10)
	r.Activities = shortenList(r.Activities, 4<<10)
	r.AMR = shortenList(r.AMR, 1<<10)
	r.Reasons = shortenList(r.Reasons, 2<<10)
	r.Rules = shortenList(r.Rules, 4<<10)
	r.Detail = shortenList(r.Detail, MaxParts)
}

// shorten cuts text to at most n bytes, at the end of a character.
func shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for i := n; i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			return text[:i]
		}
	}
	return text[:n]
}

// listItem is what an item takes besides its bytes: its length, at most.
const listItem = 3

// shortenList keeps as many whole items as fit into n bytes and says how many
// more there were.
func shortenList(list []string, n int) []string {
	size := 0
	for _, item := range list {
		size += len(item) + listItem
	}
	if size <= n {
		return list
	}
	var kept []string
	left := n - 32 // for the last item below
	for _, item := range list {
		if left -= len(item) + listItem; left < 0 {
			break
		}
		kept = append(kept, item)
	}
	return append(kept, "and "+strconv.Itoa(len(list)-len(kept))+" more")
}
