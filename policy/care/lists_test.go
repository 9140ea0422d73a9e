package care_test

import (
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/policy/care"
)

var codes = care.Codes{Roles: []string{"nurse", "coder"}, Wards: []string{"A", "B"}, LongRoles: []string{"coder"}, Where: time.UTC}

const staffList = "\ufeffperson,roles,grade,wards,team,registration_body,registration_number,ids,start,end\n" +
	"n1,nurse,5,A;B,renal,NMC,12A,LOCAL|7;C006,2026-01-01,\n" +
	"c1,\"nurse; coder\",,,,,,,,2026-12-31\n"

func TestListsAreRead(t *testing.T) {
	t.Parallel()
	staff, err := care.ReadStaff(strings.NewReader(staffList), codes)
	if err != nil {
		t.Fatal(err)
	}
	want := []care.Person{
		{
			Person: "n1", Roles: []string{"nurse"}, Wards: []string{"A", "B"}, Teams: []string{"renal"},
			Numbers: []care.ID{{Authority: "NMC", Value: "12A"}, {Authority: "LOCAL", Value: "7"}, {Value: "C006"}}, Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		},
		{Person: "c1", Roles: []string{"nurse", "coder"}, Long: true, End: time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)},
	}
	if diff := gocmp.Diff(want, staff); diff != "" {
		t.Error(diff)
	}
	rota, err := care.ReadRota(strings.NewReader("person,start,end,kind,ward\nn1,2026-11-03T07:00:00Z,2026-11-03 15:00,shift,A\nn1,2026-11-04,2026-11-09,leave,\n"), staff, codes)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff([]care.Shift{{Person: "n1", Ward: "A", Start: hours(-5), End: hours(3)}}, rota); diff != "" {
		t.Error(diff)
	}
	devices, err := care.ReadDevices(strings.NewReader("device,ward,kind,from,to\npc1,A,pc,,\n"), codes)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff([]care.Device{{Device: "pc1", Ward: "A"}}, devices); diff != "" {
		t.Error(diff)
	}
}

// A list with anything wrong is refused whole, and every wrong line is named.
// hazard:GW-21 control:C-172
func TestListsWithMistakesAreRefusedLineByLine(t *testing.T) {
	t.Parallel()
	staff := []care.Person{{Person: "n1"}}
	for name, row := range map[string]struct {
		read func(string) (int, error)
		text string
		want string
	}{
		"staff": {
			func(s string) (int, error) {
				out, err := care.ReadStaff(strings.NewReader(s), codes)
				return len(out), err
			},
			"person,roles,wards,start,end,registration_number\nn1,nurse,A,,,\n,nurse,,,,\nn2,wizard,Z,,,\nn1,,A,2026-13-01,,9\nn3,nurse,A,2026-02-01,2026-01-01,\nn4,nurse\n\"two\nlines\",nurse,,,,\nn5,king,,,,\n",
			"line 3: person is empty or too long\nline 4: roles: code \"wizard\" is unknown\nline 4: wards: code \"Z\" is unknown\nline 5: roles is empty\n" +
				"line 5: person is on line 2 already\nline 5: start is no time\nline 5: registration_body is empty or too long\nline 6: end is before start\nline 7: wrong number of fields\nline 10: roles: code \"king\" is unknown",
		},
		"rota": {
			func(s string) (int, error) {
				out, err := care.ReadRota(strings.NewReader(s), staff, codes)
				return len(out), err
			},
			"person,start,end,kind,ward\nn1,2026-11-03,2026-11-04,shift,A\nn9,2026-11-03,2026-11-04,shift,A\nn1,2026-11-03,,party,Z\n",
			"line 3: person is not in the staff list\nline 4: ward: code \"Z\" is unknown\nline 4: kind: code \"party\" is unknown\nline 4: start or end is missing",
		},
		"devices": {
			func(s string) (int, error) {
				out, err := care.ReadDevices(strings.NewReader(s), codes)
				return len(out), err
			},
			"device,ward\npc1,A\npc2,\npc3,Z\n", "line 3: ward is empty or too long\nline 4: ward: code \"Z\" is unknown",
		},
		"no columns": {
			func(s string) (int, error) {
				out, err := care.ReadDevices(strings.NewReader(s), codes)
				return len(out), err
			}, "pc1,A\n", "line 1: has no column device\nline 1: has no column ward",
		},
		"empty": {
			func(s string) (int, error) {
				out, err := care.ReadDevices(strings.NewReader(s), codes)
				return len(out), err
			}, "", "line 1: holds no names of columns",
		},
		"quotes": {
			func(s string) (int, error) {
				out, err := care.ReadDevices(strings.NewReader(s), codes)
				return len(out), err
			}, "device,ward\npc1,A\n\"pc2,A\n", "line 3: extraneous or missing \" in quoted-field",
		},
	} {
		n, err := row.read(row.text)
		if n != 0 || err == nil || err.Error() != row.want {
			t.Errorf("%s: %d lines, error\n%v\nwant\n%s", name, n, err, row.want)
		}
	}
	many := "device,ward\n" + strings.Repeat("pc,Z\n", 5000)
	_, err := care.ReadDevices(strings.NewReader(many), codes)
	if err == nil || !strings.HasSuffix(err.Error(), "\nand 990 more") {
		t.Errorf("many mistakes: %v", err)
	}
}
