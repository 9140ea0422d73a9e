package hospital

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

const (
	patientCount = 360
	// ownRecords and households are how many members of staff are patients here
	// themselves, and how many have somebody of their household here.
	ownRecords = 8
	households = 12
)

// Maker makes up people, homes and numbers that nobody real has, from one
// reproducible stream. It is not safe for concurrent use.
type Maker struct {
	rng    *rand.Rand
	serial int // for NHS numbers
	houses int // for addresses, so that no two households share one by accident
	phones int
}

// NewMaker makes the Maker of a seed.
func NewMaker(seed uint64) *Maker {
	//nolint:gosec // the same seed must give the same hospital; nothing here is secret
	return &Maker{rng: rand.New(rand.NewPCG(seed, 0x6d6174726f6e))}
}

func pick[T any](g *Maker, from []T) T { return from[g.rng.IntN(len(from))] }

// NHSNumber is the next number of the 999 test range with a valid check digit.
func (g *Maker) NHSNumber() string {
	for {
		g.serial++
		// A step that shares no factor with 10^6 visits every number once.
		digits := fmt.Sprintf("999%06d", (g.serial*7919)%1_000_000)
		if check, ok := checkDigit(digits); ok {
			return digits + strconv.Itoa(check)
		}
	}
}

// checkDigit is the modulus 11 check digit of nine digits; ok is false where
// the number has none and is never issued.
func checkDigit(digits string) (check int, ok bool) {
	sum := 0
	for i, c := range digits {
		sum += int(c-'0') * (10 - i)
	}
	check = (11 - sum%11) % 11
	return check, check != 10
}

func surnameHeads() []string {
	return []string{"Test", "Sample", "Demo", "Mock", "Dummy", "Example", "Pretend", "Model", "Trial", "Practice", "Invented", "Paper"}
}

func surnameTails() []string {
	return []string{"ton", "by", "worth", "ley", "field", "ham", "well", "combe", "wick", "stead"}
}

func givenFemale() []string {
	return []string{"Ada", "Beatrix", "Clara", "Dorcas", "Edith", "Flora", "Greta", "Hester", "Ines", "Jemima", "Kezia", "Lydia", "Mabel", "Nora", "Ottilie", "Priya", "Rahma", "Sunita", "Thea", "Una", "Violet", "Wanda", "Xanthe", "Yasmin", "Zelda"}
}

func givenMale() []string {
	return []string{"Albert", "Basil", "Cedric", "Duncan", "Edgar", "Felix", "Gilbert", "Hamza", "Ivor", "Jasper", "Kofi", "Lionel", "Magnus", "Nigel", "Oswald", "Percy", "Quentin", "Rupert", "Silas", "Tariq", "Umar", "Vikram", "Walter", "Yusuf", "Zachary"}
}

func streets() []string {
	return []string{"Imaginary Lane", "Specimen Street", "Nowhere Road", "Fable Close", "Pretend Parade", "Sample Square", "Fiction Avenue", "Storybook Way", "Cardboard Crescent", "Placeholder Place"}
}

// Family draws a surname of a small hospital.
func (g *Maker) Family() string { return pick(g, surnameHeads()) + pick(g, surnameTails()) }

// Surname draws a surname of a town: 2,520 of them, the commonest with about one
// person in a hundred, so that two strangers share one about as often as in
// England.
func (g *Maker) Surname() string {
	const flat = 30 // ranks over which the commonest are about as common as each other
	heads, middles, tails := surnameHeads(), surnameMiddles(), surnameTails()
	all := len(heads) * len(middles) * len(tails)
	// Zipf with an offset, by inversion: rank r has weight 1/(r+flat).
	rank := int(flat*math.Pow(float64(all+flat)/flat, g.rng.Float64())) - flat
	rank = min(max(rank, 0), all-1)
	return heads[rank%len(heads)] + middles[rank/len(heads)/len(tails)] + tails[rank/len(heads)%len(tails)]
}

func surnameMiddles() []string {
	return []string{"", "ing", "er", "en", "el", "al", "am", "ar", "es", "et", "in", "is", "ol", "om", "on", "or", "os", "un", "ur", "us", "yn"}
}

// Given draws a given name.
func (g *Maker) Given(sex string) string {
	if sex == "female" {
		return pick(g, givenFemale())
	}
	return pick(g, givenMale())
}

// Sex draws female or male.
func (g *Maker) Sex() string { return pick(g, []string{"female", "male"}) }

// Address is the next home; no two are the same.
func (g *Maker) Address() Address {
	g.houses++
	all := streets()
	street := all[g.houses%len(all)]
	return Address{
		Line:     fmt.Sprintf("%d %s", 1+g.houses/len(all), street),
		Postcode: fmt.Sprintf("ZZ99 %d%c%c", g.houses%10, 'A'+rune(g.houses/10%20), 'A'+rune(g.houses/200%20)),
	}
}

// Phone lies in the range that the regulator keeps free for drama.
func (g *Maker) Phone() string {
	g.phones++
	return fmt.Sprintf("07700 900%03d", g.phones%1000)
}

// Birth draws a day in the years given.
func (g *Maker) Birth(oldest, youngest int) string {
	return time.Date(oldest+g.rng.IntN(youngest-oldest+1), time.Month(1+g.rng.IntN(12)), 1+g.rng.IntN(28), 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
}

// patients makes the staff who are patients here, members of staff households,
// then everybody else.
func (g *Maker) patients(h *Hospital) []Patient {
	out := make([]Patient, 0, patientCount)
	next := func() string { return fmt.Sprintf("H%06d", 100_001+len(out)) }
	for i := range ownRecords {
		s := &h.Staff[i*7%50]
		s.PatientID = next()
		out = append(out, Patient{
			ID: s.PatientID, NHSNumber: s.NHSNumber, Name: s.Name, BirthDate: s.BirthDate,
			Sex: s.Sex, Address: *s.Address, Phone: g.Phone(), Flags: []string{"staff"},
		})
	}
	for i := range households {
		s := h.Staff[(i*4+1)%50]
		p := g.patient(next())
		p.Name.Family, p.Address = s.Name.Family, *s.Address
		p.NextOfKin = []Kin{{Name: s.Name.Full(), Phone: g.Phone(), Relationship: pick(g, []string{"spouse", "child", "parent"})}}
		h.Households[s.Person] = append(h.Households[s.Person], p.ID)
		out = append(out, p)
	}
	for len(out) < patientCount {
		p := g.patient(next())
		if g.rng.IntN(60) == 0 {
			p.Flags = []string{"vip"}
		}
		out = append(out, p)
	}
	return out
}

func (g *Maker) patient(id string) Patient {
	sex := g.Sex()
	p := Patient{
		ID: id, NHSNumber: g.NHSNumber(), Name: Name{Family: g.Family(), Given: g.Given(sex)},
		BirthDate: g.Birth(1930, 2024), Sex: sex, Address: g.Address(), Phone: g.Phone(),
	}
	if g.rng.IntN(3) == 0 {
		kin := g.Sex()
		p.NextOfKin = []Kin{{
			Name: Name{Family: p.Name.Family, Given: g.Given(kin)}.Full(), Phone: g.Phone(),
			Relationship: pick(g, []string{"spouse", "sibling", "child", "parent", "friend"}),
		}}
	}
	return p
}
