package adt_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/matron-epr/matron/policy/care"
	"github.com/matron-epr/matron/policy/care/adt"
	"github.com/matron-epr/matron/policy/care/hl7"
)

func reader(t *testing.T, ward int) *adt.Reader {
	t.Helper()
	r, err := adt.New(adt.Config{Where: time.UTC, Ward: ward, NHS: []string{"NHSNBR"}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// messages reads a file of testdata, in which an empty line ends a message.
func messages(t *testing.T, name string) []string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for m := range strings.SplitSeq(string(data), "\n\n") {
		out = append(out, strings.ReplaceAll(strings.TrimSpace(m), "\n", "\r")+"\r")
	}
	return out
}

func read(r *adt.Reader, text string) (care.Message, error) {
	m, err := hl7.Parse([]byte(text))
	if err != nil {
		return nil, err
	}
	return r.Read(m)
}

var staff = care.Lists{Staff: []care.Person{
	{Person: "renal", Wards: []string{"RenalWard", "OBS1"}},
	{Person: "other", Wards: []string{"OtherWard", "MATWRD"}},
	{Person: "doctor", Numbers: []care.ID{{Authority: "DRNBR", Value: "C006"}, {Authority: "GMC", Value: "C3456789"}}},
	{Person: "gp", Numbers: []care.ID{{Authority: "GMP", Value: "G5612908"}}},
}}

// asked is a row of what the messages of a file mean.
type asked struct {
	person, patient, at, want string
}

// pathway is what the messages in testdata/simhospital.hl7 mean: admissions, a
// transfer that is cancelled, a swap of beds, a discharge that is cancelled, an
// admission that is cancelled, merges.
var pathway = []asked{
	{"renal", "2590157853", "02 12:00", "ward-stay 1"},
	{"renal", "2590157853", "03 08:30", "ward-stay 2"},
	{"doctor", "2590157853", "03 08:30", "named-clinician 2"},
	{"other", "2590157853", "03 09:10", "ward-stay 4"},
	{"other", "2590157853", "03 09:40", ""},
	{"renal", "2590157853", "03 09:40", "ward-stay 2"},
	{"other", "2590157853", "03 10:10", "ward-stay 6"},
	{"renal", "1076943130", "03 10:10", "ward-stay 6"},
	{"renal", "1076943130", "30 10:00", "ward-stay 6"},
	{"other", "80205533", "03 12:05", "ward-stay 9"},
	{"other", "80205533", "03 12:15", ""},
	{"other", "9990000042", "03 12:05", "ward-stay 9"},
	{"other", "300", "03 14:00", "ward-stay 30, ward-stay 6"},
	{"other", "400", "03 14:00", "ward-stay 30, ward-stay 6"},
	{"other", "500", "03 14:00", "ward-stay 30, ward-stay 6"},
}

var itk = []asked{
	{"renal", "1234567", "01 10:00", "ward-stay 5001"},
	{"renal", "1234567", "03 11:00", "ward-stay 5002"},
	{"doctor", "1234567", "03 11:00", "named-clinician 5002"},
	{"gp", "1234567", "03 11:00", "referral 5002"},
	{"other", "1234567", "03 12:00", "ward-stay 5003"},
	{"other", "7654321", "30 12:00", ""},
	{"other", "1234567", "12 09:00", "ward-stay 5003"},
	{"other", "9990000018", "12 09:00", "ward-stay 5003"},
	{"other", "9990000018", "12 11:00", ""},
}

// check asks every row. Patients of one of the authorities, or by NHS number.
func check(t *testing.T, r *care.Register, authority string, rows []asked) {
	t.Helper()
	for _, row := range rows {
		at, err := time.Parse("2006-01-02 15:04", "2026-11-"+row.at)
		if err != nil {
			t.Fatal(err)
		}
		id := care.ID{Authority: authority, Value: row.patient}
		if care.ValidNHS(row.patient) && strings.HasPrefix(row.patient, "999") {
			id.Authority = care.NHS
		}
		var got []string
		for _, f := range r.Relations(row.person, id, at) {
			got = append(got, f.Relation.String()+" "+f.Control)
		}
		slices.Sort(got)
		if s := strings.Join(got, ", "); s != row.want {
			t.Errorf("%s about %s at %s: %q, want %q", row.person, row.patient, row.at, s, row.want)
		}
	}
}

// Messages in the shapes of google/simhospital and of the NHS ITK samples, which
// have the ward in different components.
func TestPathwaysOfOtherPeoplesSamples(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		file, authority string
		ward            int
		asked           []asked
	}{{"simhospital.hl7", "SIMULATOR MRN", 1, pathway}, {"itk.hl7", "RCB", 2, itk}} {
		r := care.New(care.Windows{})
		r.Use(staff)
		for _, text := range messages(t, row.file) {
			m, err := read(reader(t, row.ward), text)
			if err != nil {
				t.Fatal(err)
			}
			r.Apply(m)
		}
		check(t, r, row.authority, row.asked)
		if c := r.Counts(); c.Conflicts != 0 {
			t.Errorf("%s: %+v", row.file, c)
		}
	}
}

const pid = "PID|1||1234567^^^RCB^MR~999 000 0018^^^NHS^NH~9990000019^^^NHS^NH||X\r"

func message(event, rest string) string {
	return "MSH|^~\\&|PAS|RCB|M|G|20261103120005||" + event + "|77|P|2.4\rEVN||202611031200\r" + rest
}

func TestWhatMessagesSay(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	ids := []care.ID{{Authority: "RCB", Value: "1234567"}, {Authority: care.NHS, Value: "9990000018"}}
	base := func(k care.Kind, change func(*care.Change)) care.Change {
		c := care.Change{Kind: k, Patient: ids, Source: "PAS/RCB", Control: "77", At: at, Sent: at.Add(5 * time.Second)}
		if change != nil {
			change(&c)
		}
		return c
	}
	gmc := func(n string, referring bool) care.Clinician {
		return care.Clinician{ID: care.ID{Authority: "GMC", Value: n}, Referring: referring}
	}
	prior := care.ID{Authority: "RCB", Value: "9"}
	for name, row := range map[string]struct {
		text string
		want care.Message
	}{
		"appointment": {
			message("SIU^S12", "SCH|A1^PAS|B1||||||||30|^^30^20261105140000^20261105143000\r"+pid+"PV1|1|O|^MAIN||||C1^^^^^^^^GMC~C2^^^^^^^^GMC|G1^^^^^^^^GMC\rAIL|1||CLINIC7\rAIP|1||C3^^^^^^^^GMC\r"),
			care.Message{base(care.Plan, func(c *care.Change) {
				c.Visit, c.Class, c.Clinic, c.Ward = "A1", 'O', true, "CLINIC7"
				c.Start, c.End = time.Date(2026, 11, 5, 14, 0, 0, 0, time.UTC), time.Date(2026, 11, 5, 14, 30, 0, 0, time.UTC)
				c.People = []care.Clinician{gmc("C1", false), gmc("C2", false), gmc("G1", true), gmc("C3", false)}
			})},
		},
		"appointment by its services": {
			message("SIU^S13^SIU_S12", "SCH||B1\r"+pid+"AIS|1|||20261105140000\rAIL|1||S^CLINIC7\r"),
			care.Message{base(care.Plan, func(c *care.Change) {
				c.Visit, c.Class, c.Clinic, c.Ward, c.Start = "B1", 'O', true, "CLINIC7", time.Date(2026, 11, 5, 14, 0, 0, 0, time.UTC)
			})},
		},
		"no show": {
			message("SIU^S26", "SCH|A1\r"+pid),
			care.Message{base(care.CancelPlan, func(c *care.Change) { c.Visit, c.Class, c.Clinic = "A1", 'O', true })},
		},
		"account instead of visit": {
			message("ADT^A03", strings.Replace(pid, "||X", "||X|||||||||||||ACC9", 1)+"PV1|1|I|^W\r"),
			care.Message{base(care.End, func(c *care.Change) { c.Visit, c.Class, c.Ward = "ACC9", 'I', "W" })},
		},
		"pre-admission": {
			message("ADT^A05", pid+"PV1|1|P|^W|||||||||||||||V1\rPV2||||||||20261110|20261112\r"),
			care.Message{base(care.Plan, func(c *care.Change) {
				c.Class, c.Ward = 'P', "W"
				c.Start, c.End = time.Date(2026, 11, 10, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 12, 0, 0, 0, 0, time.UTC)
			})},
		},
		"person": {message("ADT^A28", pid), care.Message{base(care.Identify, nil)}},
		"merge, by number of the hospital": {
			message("ADT^A40", pid+"MRG|9^^^RCB^MR~9990000018^^^NHS\r"),
			care.Message{base(care.Merge, func(c *care.Change) { c.Prior = prior })},
		},
		"visit merged": {
			message("ADT^A42", pid+"MRG|1234567^^^RCB||||V8\rPV1|1|I|||||||||||||||||V9\r"),
			care.Message{base(care.Move, func(c *care.Change) { c.Prior, c.Visit, c.PriorVisit = ids[0], "V9", "V8" })},
		},
		"visit moved": {
			message("ADT^A45", pid+"MRG|9^^^RCB||||V8\r"),
			care.Message{base(care.Move, func(c *care.Change) { c.Prior, c.Visit, c.PriorVisit = prior, "V8", "V8" })},
		},
		"visit renumbered": {
			message("ADT^A50", pid+"MRG|||||V8\rPV1|1|I|||||||||||||||||V9\r"),
			care.Message{base(care.Move, func(c *care.Change) { c.Prior, c.Visit, c.PriorVisit = ids[0], "V9", "V8" })},
		},
		"account moved": {message("ADT^A44", pid+"MRG|9^^^RCB\r"), nil},
		"referral": {
			message("REF^I12", "RF1|A|||||R1|20261101|20261201\rPRD|RP||||||G1^GMC\rPRD|RT||||||C1^GMC\r"+pid),
			care.Message{base(care.Referral, func(c *care.Change) {
				c.Visit, c.People = "R1", []care.Clinician{gmc("G1", true), gmc("C1", false)}
				c.Start, c.End = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
			})},
		},
		"flags": {
			message("ADT^A31", strings.TrimSuffix(pid, "\r")+strings.Repeat("|", 25)+"Y\rPD1||||||||||||N\rPV1|1|I||||||||||||||VIP\r"),
			care.Message{base(care.Identify, nil), base(care.Flag, func(c *care.Change) {
				c.Said, c.Flags = care.VIP|care.Protected|care.Deceased, care.VIP|care.Deceased
			})},
		},
		"observations":   {message("ORU^R01", "OBX|1\r"), nil},
		"allergy":        {message("ADT^A60", pid), nil},
		"accounts":       {message("ADT^A41", pid+"MRG|9\r"), nil},
		"unknown events": {message("ADT^Z99", ""), nil},
	} {
		got, err := read(reader(t, 2), row.text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(row.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// What cannot be read is refused with the place where it is wrong, and without
// what stands there.
func TestMistakesNameTheirPlace(t *testing.T) {
	t.Parallel()
	for want, text := range map[string]string{
		"PID: is missing":      message("ADT^A01", "PV1|1\r"),
		"PV1: is missing":      message("ADT^A01", pid),
		"PID-3-1: is missing":  message("ADT^A08", "PID|1||^^^RCB\rPV1|1\r"),
		"MRG: is missing":      message("ADT^A40", pid),
		"MRG-1-1: is missing":  message("ADT^A40", pid+"MRG|^^^RCB\r"),
		"SCH-1-1: is missing":  message("SIU^S12", pid),
		"SCH-11-4: is missing": message("SIU^S12", "SCH|A1\r"+pid),
		"RF1-6-1: is missing":  message("REF^I12", pid),
		"MSH-9-1: is missing":  message("", pid),
		"MSH-10: is missing":   strings.Replace(message("ADT^A08", pid), "|77|", "||", 1),
		"MSH-7: is no time":    strings.Replace(message("ADT^A08", pid), "20261103120005", "yesterday", 1),
		"EVN-2: is no time":    strings.Replace(message("ADT^A08", pid), "202611031200\r", "noon\r", 1),
		"EVN-2: is missing":    "MSH|^~\\&|PAS|RCB|M|G|||ADT^A08|77|P|2.4\r" + pid,
		"message: not a change that can be kept: a text is too long": message("ADT^A08", pid+"PV1|1|I|^"+strings.Repeat("W", 300)+"\r"),
	} {
		_, err := read(reader(t, 2), text)
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestValidNHS(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{"9990000018": true, "9990000019": false, "999000001": false, "99900000a8": false, "": false} {
		if care.ValidNHS(s) != want {
			t.Errorf("%q", s)
		}
	}
}

// Whatever a message holds, what is read from it can be kept.
func FuzzADT(f *testing.F) {
	for _, name := range []string{"testdata/itk.hl7", "testdata/simhospital.hl7"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for m := range strings.SplitSeq(string(data), "\n\n") {
			f.Add([]byte(m))
		}
	}
	r, err := adt.New(adt.Config{Where: time.UTC})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := hl7.Parse(raw)
		if err != nil {
			return
		}
		changes, err := r.Read(m)
		if err != nil {
			return
		}
		if err := changes.Check(); err != nil {
			t.Fatal(err)
		}
		reg := care.New(care.Windows{})
		reg.Use(staff)
		reg.Apply(changes)
		for _, c := range changes {
			_ = fmt.Sprint(reg.Relations("renal", c.Patient[0], c.At))
		}
	})
}
