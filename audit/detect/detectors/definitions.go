package detectors

import (
	"math"
	"slices"
	"strings"

	"github.com/matron-epr/matron/audit/feeds"
)

// Definitions lists the detectors in a fixed order.
func Definitions() []Definition {
	return slices.Concat(ofVisits(), ofDays(), ofAccounts(), ofWeeks(), ofSystems())
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// ofVisits are detectors of one person's looks at one patient on one day.
func ofVisits() []Definition {
	staff, patients, care := feeds.StaffFeed, feeds.PatientsFeed, feeds.CareFeed
	return []Definition{
		{
			ID: ownID, Version: 2, Title: "Own record", Needs: []feeds.Kind{staff, patients}, Streaming: true,
			Description:    "The NHS number of the patient is the person's own. Shown whatever explains it.",
			FalsePositives: "Records for testing; organisations that allow a look at one's own record.",
			Runbook:        "Ask whether the organisation allows it. If not, remind the person how to ask for their record.",
			visit:          func(_ *scanned, v *visit) float64 { return yes(v.relation&own != 0) },
		},
		{
			ID: "household", Version: 2, Title: "Household and next of kin", Needs: []feeds.Kind{staff, patients}, Streaming: true,
			Description:    "4: a next of kin of the patient has the person's name; 3: the same address, unless more than six patients live there; 2: the same surname and postcode.",
			FalsePositives: "Couples who work and are treated on one ward; common names; staff residences.",
			Runbook:        "Look whether the person took part in the care. Ask neutrally and soon, while it is remembered.",
			visit:          household,
		},
		{
			ID: "neighbour", Version: 1, Title: "Neighbour", Needs: []feeds.Kind{staff, patients}, Streaming: true,
			Description:    "The person and the patient live in one postcode unit at different addresses.",
			FalsePositives: "In small towns most patients are neighbours.",
			Runbook:        "It says nothing alone. Look at what stands beside it.",
			visit: func(_ *scanned, v *visit) float64 {
				return yes(v.relation&near != 0 && v.relation&(own|kin|home|namesake) == 0)
			},
		},
		{
			ID: "co-worker", Version: 1, Title: "Co-worker", Needs: []feeds.Kind{staff, patients}, Streaming: true,
			Description:    "The patient works here: 1; in the same team, ward or cost centre: 2; one is the other's manager: 3.",
			FalsePositives: "Occupational health; the emergency department; a name taken for another.",
			Runbook:        "Look for a referral to the person. Ask the line manager only when it is not the manager's own look.",
			visit:          coWorker,
		},
		{
			ID: crowdID, Version: 1, Title: "Crowd around one patient", Streaming: true,
			Description:    "How many departments without an explanation looked at the patient within a week; from three on. A patient marked as VIP, sealed or S-flag counts for three more.",
			FalsePositives: "Major incidents; case conferences; mortality reviews; legal work; coding.",
			Runbook:        "Look whether the patient was in the news. Compare the departments with the wards of the stay. Put one question to all, not one to each.",
			visit:          crowded,
		},
		{
			ID: "search", Version: 1, Title: "Search and open", Streaming: true, Supporting: true,
			Description:    "The record was opened within a minute and a half of a search in the same session, not from a list.",
			FalsePositives: "Reception and registration work by search.",
			Runbook:        "It says nothing alone. Look at what stands beside it.",
			visit:          func(_ *scanned, v *visit) float64 { return yes(v.is(searched)) },
		},
		{
			ID: "post-care", Version: 1, Title: "Long after care", Needs: []feeds.Kind{care},
			Description:    "The patient's care ended more than a fortnight and less than ninety days ago, none follows, and the person wrote nothing.",
			FalsePositives: "Late results; complaints; letters.",
			Runbook:        "Look for a result or letter of those days. Ask what it was about.",
			visit:          longAfter,
		},
		{
			ID: "no-care", Version: 1, Title: "No care on record", Needs: []feeds.Kind{care}, Supporting: true,
			Description:    "Nothing of the patient is on record around that day.",
			FalsePositives: "Enquiries by telephone; the wrong record opened; care that never reached the feed.",
			Runbook:        "It says nothing alone. Look at what stands beside it.",
			visit:          func(_ *scanned, v *visit) float64 { return yes(v.is(noCare) && !v.is(wrote)) },
		},
		{
			ID: "break-glass", Version: 1, Title: "Break-glass without care", Streaming: true,
			Description:    "Break-glass was used and the person wrote nothing for the patient on that day: 1; and knows the patient: 2.",
			FalsePositives: "Emergency and intensive care; relations that the feeds lack, which is for the configuration to mend.",
			Runbook:        "Read the reason that was given. Look whether the patient was where the person worked.",
			visit:          brokenGlass,
		},
		{
			ID: "sensitive", Version: 1, Title: "Sensitive section",
			Description:    "A part of the record that fewer than one in a thousand looks of the role are about; the value is how rare, as a power of ten.",
			FalsePositives: "Liaison psychiatry; safeguarding leads; a new role.",
			Runbook:        "Look whether the person's work is about that part of the record.",
			visit:          rarePart,
			ofUnexplained:  true,
		},
	}
}

func longAfter(_ *scanned, v *visit) float64 {
	if !v.is(pastCare) || v.is(wrote) {
		return 0
	}
	return 1 + yes(v.is(ours))
}

func household(_ *scanned, v *visit) float64 {
	switch r := v.relation; {
	case r&own != 0:
		return 0
	case r&kin != 0:
		return 4
	case r&home != 0:
		return 3
	case r&namesake != 0:
		return 2
	}
	return 0
}

func coWorker(_ *scanned, v *visit) float64 {
	switch r := v.relation; {
	case r&manager != 0 && r&mate != 0:
		return 3
	case r&mateNear != 0:
		return 2
	case r&mate != 0:
		return 1
	}
	return 0
}

// crowdID is the detector whose findings belong to the patient.
const crowdID = "vip-crowd"

// ownID is the detector of what is shown whatever explains it.
const ownID = "own-record"

// afterEnd is added to the days since an employment ended.
const afterEnd = 1000

// crowdFrom is how many departments make a crowd.
const crowdFrom = 3

func crowded(_ *scanned, v *visit) float64 {
	n := float64(v.crowd)
	if v.relation&watched != 0 {
		n += 3
	}
	if n < crowdFrom {
		return 0
	}
	return n
}

func brokenGlass(_ *scanned, v *visit) float64 {
	switch {
	case !v.is(glass) || v.is(wrote):
		return 0
	case v.relation&^watched != 0:
		return 2
	}
	return 1
}

func rarePart(s *scanned, v *visit) float64 {
	rarest := 0.
	role := s.people[v.person].role
	for _, word := range v.screens {
		part := s.parts[word]
		if part == 0 {
			continue
		}
		all := s.partsOf[role]
		share := float64(1+all.of[part]) / float64(1+all.total)
		rarest = max(rarest, -math.Log10(share))
	}
	if rarest < 3 {
		return 0
	}
	return rarest
}

// usual says which part of records a role looks at.
type usual struct {
	of    map[uint32]int
	total int
}

// learnParts counts the parts of records, whatever is done with them.
func (s *scanned) learnParts() {
	s.parts = make([]uint32, s.t.Words.Len())
	numbers := map[string]uint32{"": 0}
	for i := range s.parts {
		_, part, _ := strings.Cut(s.t.Words.Text(uint32(i)), " ")
		if _, ok := numbers[part]; !ok {
			numbers[part] = uint32(len(numbers)) //nolint:gosec // words are few
		}
		s.parts[i] = numbers[part]
	}
	s.partsOf = map[string]usual{}
	for group, h := range s.habits {
		u := usual{of: map[uint32]int{}, total: h.looks}
		for word, d := range h.words {
			u.of[s.parts[word]] += d.looks
		}
		s.partsOf[group] = u
	}
}

// ofDays are detectors of one person's day.
func ofDays() []Definition {
	staff, care := feeds.StaffFeed, feeds.CareFeed
	return []Definition{
		{
			ID: "out-of-hours", Version: 1, Title: "Out of hours", Needs: []feeds.Kind{feeds.RotaFeed},
			Description:    "How many patients without an explanation were looked at only more than two hours away from any shift of the rota.",
			FalsePositives: "Overtime; swaps; late notes; a rota that is late.",
			Runbook:        "Ask the rota's keeper whether the person worked. Attendance itself is no matter of this review.",
			day:            func(_ *scanned, d *day) float64 { return float64(d.offDuty) },
		},
		{
			ID: "off-ward", Version: 1, Title: "Patients of another ward", Needs: []feeds.Kind{staff, care},
			Description:    "How many patients without an explanation and without a word written for them, most of them of one ward; from three on.",
			FalsePositives: "Bank and float staff; the hospital at night; outreach; site managers.",
			Runbook:        "Ask the ward whether the person helped out on that day.",
			day: func(_ *scanned, d *day) float64 {
				if d.unexplained < 3 {
					return 0
				}
				return float64(d.unexplained + d.mostOfWard)
			},
		},
		{
			ID: "bulk", Version: 2, Title: "Many records within minutes", Streaming: true,
			Description:    "Most patients within ten minutes, from twenty on.",
			FalsePositives: "Clinical audits; the preparation of clinics; coding in batches; machines in nobody's list.",
			Runbook:        "Ask for the list that was worked through. If there is none, speak to security on the same day.",
			day:            func(_ *scanned, d *day) float64 { return from(20, d.burst) },
		},
		{
			ID: "enumeration", Version: 1, Title: "Numbers in sequence", Streaming: true,
			Description:    "The longest run of patients whose numbers are neighbours, from eight on; or how many requests were refused, when ten or more and a fifth of all were.",
			FalsePositives: "Lists that are sorted by number; scanning of old notes; migrations.",
			Runbook:        "Speak to security on the same day: it may be a program.",
			day: func(_ *scanned, d *day) float64 {
				if d.denied >= 10 && 5*d.denied > d.patients+d.denied {
					return float64(max(d.sequence, d.denied))
				}
				return from(8, d.sequence)
			},
		},
		{
			ID: "exfiltration", Version: 1, Title: "Printing and exporting", Streaming: true,
			Description:    "Records printed or exported on one day, from five on.",
			FalsePositives: "Discharge packs; transfers; subject access requests.",
			Runbook:        "Ask where the papers are.",
			day:            func(_ *scanned, d *day) float64 { return from(5, d.taken) },
		},
		{
			ID: "search-only", Version: 1, Title: "Many searches", Streaming: true, Supporting: true,
			Description:    "Searches of one day, when there are more than ten and more than three for each patient opened.",
			FalsePositives: "Registration; switchboard.",
			Runbook:        "It says nothing alone. Look at what stands beside it.",
			day: func(_ *scanned, d *day) float64 {
				if d.searches <= 3*d.patients {
					return 0
				}
				return from(10, d.searches)
			},
		},
	}
}

// ofAccounts are detectors of how an account is used on one day.
func ofAccounts() []Definition {
	staff, devices := feeds.StaffFeed, feeds.DevicesFeed
	return []Definition{
		{
			ID: "shared-credentials", Version: 1, Title: "One account in two places", Needs: []feeds.Kind{devices},
			Description:    "How often unexplained looks come from another ward's workstation within ten minutes of explained work; from two on.",
			FalsePositives: "Tap-and-go; workstations on wheels that have moved.",
			Runbook:        "Ask security where the account was signed in. Ask the person whether somebody else used it.",
			day:            func(_ *scanned, d *day) float64 { return from(2, d.pingPong) },
		},
		{
			ID: "impossible-travel", Version: 1, Title: "One account where one person cannot be", Needs: []feeds.Kind{devices}, Streaming: true,
			Description:    "Looks at workstations that stay in their place, so far apart and so soon after each other that one person cannot go there: another ward within a minute, when one of the looks is not explained, counts 1; another site within ten minutes, or the internet and a workstation within a minute, 5; from five on. What moves, what is virtual and what many accounts use at once is left out.",
			FalsePositives: "Workstations that were moved without the list; sessions that follow a badge; a telephone of one's own beside the workstation; wards that share a corridor.",
			Runbook:        "Ask security where the account was signed in, and whether the list of workstations is right. Have the password changed before anything is asked. Ask the person whether somebody else used it.",
			day:            func(_ *scanned, d *day) float64 { return from(leapsFrom, d.leaps) },
		},
		{
			ID: "dormant-leaver", Version: 1, Title: "Account that should rest", Needs: []feeds.Kind{staff}, Streaming: true,
			Description:    "Days of silence before this day, from forty-five on, counted from when the person started or the records begin; after the end of employment 1,000 and the days since.",
			FalsePositives: "Parental and sick leave; bank staff; people who were taken on again.",
			Runbook:        "Ask HR whether the person works here. If not, have the account closed today.",
			day: func(_ *scanned, d *day) float64 {
				if d.afterEnd > 0 {
					return afterEnd + float64(d.afterEnd)
				}
				return from(45, d.gap)
			},
		},
		{
			ID: "role-mismatch", Version: 1, Title: "Unlike the role", Needs: []feeds.Kind{staff},
			Description:    "Looks of one day at what peers hardly ever look at or do, from three on, explained or not: an action on a part of the record that is fewer than one in a thousand of the looks of the others in the role, and that no more than one in twenty of them ever did. The others must be fifteen with 2,000 looks. Of a role with five to fourteen others none must ever have done it, and the profession, else everybody, is asked; smaller roles are left out.",
			FalsePositives: "A new role or task that the staff list does not know; somebody who acts for another profession; a screen that was brought in this week.",
			Runbook:        "Ask who keeps the staff list whether the role is right, then the line manager whether the task is the person's. If it is, have the list mended; if the application lets a role do what it need not, mend its rights first.",
			day:            func(_ *scanned, d *day) float64 { return float64(d.unlike) },
		},
	}
}

func from(least, n int32) float64 {
	if n < least {
		return 0
	}
	return float64(n)
}

// ofWeeks are detectors of what one person does over weeks.
func ofWeeks() []Definition {
	staff, patients, care := feeds.StaffFeed, feeds.PatientsFeed, feeds.CareFeed
	return []Definition{
		{
			ID: "obsession", Version: 1, Title: "The same record again and again",
			Description:    "On how many days of the last thirty the person looked at the same patient without an explanation, from two on, and a tenth for each further look.",
			FalsePositives: "Long follow-up that no feed knows; research.",
			Runbook:        "Look for a relation between the two. Ask for the patient's view only through the person who leads the case.",
			visit: func(_ *scanned, v *visit) float64 {
				if v.again < 2 {
					return 0
				}
				return float64(v.again) + .1*float64(v.againLooks)
			},
		},
		{
			ID: "serial-co-worker", Version: 1, Title: "Several co-workers", Needs: []feeds.Kind{staff, patients},
			Description:    "How many patients who work here the person looked at in the last 28 days without an explanation, from two on.",
			FalsePositives: "Occupational health.",
			Runbook:        "As for one co-worker. Look at all of them together.",
			visit:          func(_ *scanned, v *visit) float64 { return from(2, v.mates) },
		},
		{
			ID: "low-and-slow", Version: 1, Title: "A few a day, for weeks", Needs: []feeds.Kind{care},
			Description:    "How many patients without care around that day the person looked at in the last 28 days without an explanation and without writing, from five on.",
			FalsePositives: "Screening; recall lists; a registry that no feed knows.",
			Runbook:        "Compare with people of the same role and team. Ask for the list that was worked through.",
			day:            func(_ *scanned, d *day) float64 { return from(5, d.slow) },
		},
		{
			ID: "demographic-skew", Version: 1, Title: "Mostly patients of one age and sex", Needs: []feeds.Kind{patients},
			Description:    "Of the patients without an explanation of the last 28 days, eight or more, far more of one sex and age than the role sees: minus the logarithm of the binomial tail, from four on.",
			FalsePositives: "Specialties; screening.",
			Runbook:        "Compare with people of the same specialty.",
			day: func(_ *scanned, d *day) float64 {
				if d.skew < 4 {
					return 0
				}
				return d.skew
			},
		},
	}
}
