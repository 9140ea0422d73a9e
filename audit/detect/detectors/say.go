package detectors

import "fmt"

// Say says in a sentence what a value of a detector means, neutrally.
func Say(id string, v float64) string {
	n := int(v)
	switch id {
	case "own-record":
		return "The record is the person's own."
	case "household":
		return map[int]string{
			4: "A next of kin of the patient has the person's name.", 3: "The person and the patient have the same address.",
			2: "The person and the patient have the same surname and postcode.",
		}[n]
	case "neighbour":
		return "The person and the patient live in the same postcode."
	case "co-worker":
		return map[int]string{
			1: "The patient works here.", 2: "The patient works here, in the same team, ward or cost centre.",
			3: "The patient works here, and one is the other's manager.",
		}[n]
	case crowdID:
		return fmt.Sprintf("Many departments without a known part in the care looked at the patient within a week (measure %d).", n)
	case "search":
		return "The record was opened right after a search."
	case "post-care":
		return "The patient's care had ended more than a fortnight before, and nothing was written."
	case "no-care":
		return "No care of the patient is on record around that day."
	case "break-glass":
		return "Break-glass was used, and nothing was written for the patient on that day."
	case "sensitive":
		return "A part of the record was opened that the role hardly ever opens."
	case "out-of-hours":
		return fmt.Sprintf("%d of the patients were looked at more than two hours from any shift of the rota.", n)
	}
	return sayWhole(id, v)
}

// sayWhole is about days and weeks.
func sayWhole(id string, v float64) string {
	n := int(v)
	switch id {
	case "off-ward":
		return fmt.Sprintf("Several patients of one day are not yet explained, most of them of another ward (measure %d).", n)
	case "bulk":
		return fmt.Sprintf("%d patients were opened within ten minutes.", n)
	case "enumeration":
		return fmt.Sprintf("%d patients in a row had neighbouring numbers, or as many requests were refused.", n)
	case "shared-credentials":
		return fmt.Sprintf("The account changed %d times within minutes between workstations of different wards.", n)
	case "impossible-travel":
		return fmt.Sprintf("The account was used at places so far apart, so soon after each other, that one person cannot go there (measure %d).", n)
	case "dormant-leaver":
		if n > afterEnd {
			return fmt.Sprintf("The employment had ended; this is day %d after it.", n-afterEnd)
		}
		return fmt.Sprintf("The account had been silent for %d days.", n)
	case "exfiltration":
		return fmt.Sprintf("%d records were printed or exported on one day.", n)
	case "role-mismatch":
		return fmt.Sprintf("%d looks of one day were at something that others in the role hardly ever look at or do.", n)
	case "audit-silence", "ward-silence":
		return fmt.Sprintf("Nothing was recorded for %d hours in which records are usual.", n)
	case "search-only":
		return fmt.Sprintf("There were %d searches on one day and few records opened.", n)
	case "obsession":
		return fmt.Sprintf("The same record was looked at on %d days or more of the last thirty.", max(2, n-1))
	case "serial-co-worker":
		return fmt.Sprintf("%d patients who work here were looked at within 28 days.", n)
	case "low-and-slow":
		return fmt.Sprintf("%d looks of the last 28 days were at patients without care around that day.", n)
	case "demographic-skew":
		return "Far more of the patients are of one sex and age than the role sees."
	}
	return ""
}
