package dashboards

import (
	"errors"
	"strings"
)

// errNHSNumber is what parseNHSNumber returns for anything that no patient can
// have.
var errNHSNumber = errors.New("not an NHS number")

// parseNHSNumber reads ten digits whose last is the modulus 11 check digit.
// Spaces and dashes are allowed, as people type them; nothing else is. Numbers
// beginning 999 are never given to patients and are accepted for test data.
func parseNHSNumber(s string) (string, error) {
	digits := strings.Map(func(r rune) rune {
		switch r {
		case ' ', '-', '\u2013', '\u00a0':
			return -1
		}
		return r
	}, strings.TrimSpace(s))
	if len(digits) != 10 {
		return "", errNHSNumber
	}
	sum := 0
	for i := range 9 {
		if digits[i] < '0' || digits[i] > '9' {
			return "", errNHSNumber
		}
		sum += int(digits[i]-'0') * (10 - i)
	}
	check := (11 - sum%11) % 11
	if check == 10 || int(digits[9]) != '0'+check {
		return "", errNHSNumber
	}
	return digits, nil
}

// formatNHSNumber groups ten digits 3-3-4; anything else stays as it is.
func formatNHSNumber(n string) string {
	if len(n) != 10 {
		return n
	}
	return n[:3] + " " + n[3:6] + " " + n[6:]
}

// maskNHSNumber shows the last four digits only.
func maskNHSNumber(n string) string {
	if len(n) != 10 {
		return mask(n)
	}
	return "··· ··· " + n[6:]
}

// mask shows the last two characters of a longer identifier and none of a
// short one.
func mask(id string) string {
	runes := []rune(id)
	if len(runes) < 6 {
		return "····"
	}
	return "····" + string(runes[len(runes)-2:])
}
