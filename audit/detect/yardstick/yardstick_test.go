package yardstick

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
)

const staffFile = `{"person":"ann","roles":["nurse"],"name":{"family":"Testby","given":"Ann"},"nhs_number":"9990000069","address":{"line":"1 Fable Close","postcode":"ZZ99 1AA"}}
{"person":"bob","roles":["nurse"],"name":{"family":"Mockham","given":"Bob"},"nhs_number":"9990000018","address":{"line":"2 Fable Close","postcode":"ZZ99 2AA"}}
`

const patientsFile = `{"patient":"H1","nhs_number":"9990000069","name":{"family":"Testby"},"address":{"line":"1 Fable Close","postcode":"ZZ99 1AA"}}
{"patient":"H5","name":{"family":"Demoton"},"next_of_kin":[{"name":"Mockham, Bob"}],"address":{"line":"9 Fable Close","postcode":"ZZ99 9AA"}}
{"patient":"H6","name":{"family":"Mockham"},"address":{"line":"3 Fable Close","postcode":"ZZ99 2AA"}}
{"patient":"H7","name":{"family":"Paperwick"},"flags":["vip"]}
{"patient":"H8","merged_into":"H5"}
`

// hospital has a week: everybody opens three records of the ward a day, which are
// explained; on the last day Ann opens twenty strangers in sequence.
func hospital(t *testing.T) Input {
	t.Helper()
	h, err := feeds.NewHasher(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	r := feeds.Reader{Hasher: h}
	in := Input{Accesses: table.New(), Location: time.UTC, Machines: map[uint32]bool{}, Limit: 100}
	if in.Context.Staff, _, err = r.Staff(strings.NewReader(staffFile)); err != nil {
		t.Fatal(err)
	}
	if in.Context.Patients, _, err = r.Patients(strings.NewReader(patientsFile)); err != nil {
		t.Fatal(err)
	}
	in.Explained = func(row int) bool {
		patient := in.Accesses.Patients.Text(in.Accesses.Patient[row])
		return strings.HasPrefix(patient, "W") || patient == "H6"
	}
	in.InUse = func(patient string) string { return strings.Replace(patient, "H8", "H5", 1) }
	open := func(day, minute int, person, patient string) {
		in.Accesses.Add(&audit.Imported{
			ID: fmt.Sprint(in.Accesses.Len()), Time: time.Date(2026, 9, 1+day, 9, minute, 0, 0, time.UTC), Person: person, Patient: patient,
			Action: "read", Deliberate: "true",
		})
	}
	for day := range 7 {
		for i, person := range []string{"ann", "bob", "robot"} {
			for k := range 3 + (day+i)%2 {
				open(day, 20*k, person, fmt.Sprintf("W%d", 10*(k+1)))
			}
		}
	}
	open(1, 50, "bob", "H1") // a colleague
	open(2, 50, "ann", "H1") // her own
	open(3, 50, "bob", "H6") // of his name and postcode, on his ward
	open(3, 51, "bob", "H8") // who named him as next of kin, by the old number
	open(4, 50, "ann", "H7") // a VIP
	open(4, 51, "ann", "H7")
	for i := range 20 {
		open(6, 30+i/4, "ann", fmt.Sprintf("H%d", 100+i))
	}
	n, _ := in.Accesses.People.Find("robot")
	in.Machines[n] = true
	in.Accesses.Sort()
	return in
}

// TestLists: what each way puts first, and what it leaves out.
func TestLists(t *testing.T) {
	got := map[string][]string{}
	for _, l := range Lists(hospital(t)) {
		for i, c := range l.Cases {
			if c.Rank != i+1 || c.Lane != "budget" || c.ID == "" || len(c.Days) != 1 || c.Person == "robot" {
				t.Errorf("%s: %+v", l.Name, c)
			}
			got[l.Name] = append(got[l.Name], fmt.Sprintf("%s %s %s", c.Person, c.Days[0][8:], strings.Join(c.Patients, ",")))
		}
	}
	bulk := "ann 07 H100,H101,"
	for _, name := range []string{"volume", "raw-sum", "isolation-forest"} {
		if len(got[name]) != 14 || !strings.HasPrefix(got[name][0], bulk) {
			t.Errorf("%s: %v", name, got[name])
		}
	}
	rules := []string{"ann 03 H1", "bob 04 H5", "bob 04 H6", "bob 02 H1", "ann 05 H7"}
	if d := cmp.Diff(rules, got["rules"]); d != "" {
		t.Errorf("rules:\n%s", d)
	}
	if d := cmp.Diff([]string{rules[0], rules[1], rules[3], rules[4]}, got["rules-unexplained"]); d != "" {
		t.Errorf("rules without what is explained:\n%s", d)
	}
}

func TestSameInputSameLists(t *testing.T) {
	a, b := Lists(hospital(t)), Lists(hospital(t))
	if d := cmp.Diff(a, b); d != "" {
		t.Error(d)
	}
	in := hospital(t)
	in.Limit = 2
	for _, l := range Lists(in) {
		if len(l.Cases) > 2 {
			t.Errorf("%s: %d cases", l.Name, len(l.Cases))
		}
	}
}

// TestIsolation: of a cloud and one point apart the latter is the oddest; scores
// are as the paper has them, about 0.5 inside a cloud.
func TestIsolation(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	points := make([][]float64, 500)
	for i := range points {
		points[i] = []float64{rng.NormFloat64(), rng.NormFloat64(), 0}
	}
	points[123] = []float64{8, -8, 0}
	scores := isolate(points)
	inside := 0.
	for i, s := range scores {
		if i != 123 && s >= scores[123] {
			t.Errorf("point %d: %.2f, the one apart %.2f", i, s, scores[123])
		}
		inside += s / float64(len(scores))
	}
	if scores[123] < .7 || inside < .4 || inside > .55 {
		t.Errorf("apart %.2f, mean %.2f", scores[123], inside)
	}
	if got := isolate([][]float64{{1}, {1}, {1}}); got[0] != got[2] {
		t.Errorf("equal points: %v", got)
	}
}
