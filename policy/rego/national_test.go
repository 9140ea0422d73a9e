package rego_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/policy/rego"
)

// allowsWhen is a rule that holds when a condition about the tables does.
func allowsWhen(condition string) string {
	return "package matron\n\ndefault allow := false\n\nallow if {\n\tinput.rule != \"\"\n\t" + condition + "\n}\n" + explained
}

func TestNationalTables(t *testing.T) {
	const roles = "\ufeffOrganisation,Code,Name,Role\nRBA,S8000:G8000:R8001,\"Nurse Access Role, any\",nurse\nRBA,R8000,Clinical,doctor\n"
	const activities = "code,name,includes,baseline\n" +
		"B0001,All,B0002 B0004,R8000\n" +
		"B0002,Some,\"B0003;B0001\",\n" + // includes the one that includes it
		"B0003,Least,,R8000 S8000:G8000:R8001\n" +
		"B0004,Other,,\n"
	for _, condition := range []string{
		`data.codes == {"R8001": "nurse", "R8000": "doctor"}`,
		`data.job_roles.R8001 == "Nurse Access Role, any"`,
		`data.activities.B0001 == {"name": "All", "implies": ["B0001", "B0002", "B0003", "B0004"]}`,
		`data.activities.B0002.implies == ["B0001", "B0002", "B0003", "B0004"]`,
		`data.activities.B0003.implies == ["B0003"]`,
		`data.baseline == {"R8000": ["B0001", "B0002", "B0003", "B0004"], "R8001": ["B0003"]}`,
	} {
		dir := bundle(t, map[string]string{"access.rego": allowsWhen(condition), "job-roles.csv": roles, "activities.csv": activities})
		if d := newEngine(t, rego.Config{Dir: dir}).Decide(t.Context(), nurseReads()); !d.Allowed() {
			t.Errorf("not so: %s", condition)
		}
	}
}

// A table with one wrong line is refused whole, and each wrong line is named.
func TestNationalTablesSayWhatIsWrong(t *testing.T) {
	const refused = "package matron\n\ndefault allow := false\n\nallow if input.rule == \"x\"\n" + explained
	for name, c := range map[string]struct{ file, text, want string }{
		"no role code":       {"job-roles.csv", "code,name,role\nR8000,a,doctor\nB0360,b,nurse\nR80,c,nurse\n", `3:1: code "B0360" is not a national role code, such as R8000 or S8000:G8000:R8000|4:1: code "R80" is not a national role code, such as R8000 or S8000:G8000:R8000`},
		"twice":              {"job-roles.csv", "code,name,role\nR8000,a,doctor\nS1000:G1000:R8000,b,nurse\n", `3:1: code "S1000:G1000:R8000" stands in the file before`},
		"no role":            {"job-roles.csv", "code,name,role\nR8000,a,\n", `2:9: role "" is empty: name the role here that the code stands for, or leave the line out`},
		"no column":          {"job-roles.csv", "code,name\nR8000,a\n", `1:1: no column "role": the first line names the columns`},
		"too few cells":      {"job-roles.csv", "code,name,role\nR8000\n", `2:1: wrong number of fields`},
		"a quote left open":  {"job-roles.csv", "code,name,role\nR8000,\"a,doctor\n", `2:17: extraneous or missing " in quoted-field`},
		"empty":              {"activities.csv", "", `1:1: the file is empty: the first line names the columns`},
		"includes nothing":   {"activities.csv", "code,name,includes,baseline\nB0001,a,B0002,\n", `2:9: includes "B0002" names "B0002", which is not in the file`},
		"includes garbage":   {"activities.csv", "code,name,includes\nB0001,a,all of them\n", `2:9: includes "all of them" names "all", which is not in the file|2:9: includes "all of them" names "of", which is not in the file|2:9: includes "all of them" names "them", which is not in the file`},
		"baseline of nobody": {"activities.csv", "code,name,includes,baseline\nB0001,a,,nurses\n", `2:10: baseline "nurses" names "nurses", which is not a national role code`},
		"no activity code":   {"activities.csv", "code,name,includes\nR8000,a,\n", `2:1: code "R8000" is not an activity code, such as B0360`},
		"another table":      {"staff.csv", "code\n", `1:1: a table in CSV is job-roles.csv or activities.csv; others are YAML or JSON`},
	} {
		dir := bundle(t, map[string]string{"access.rego": refused, c.file: c.text})
		_, err := rego.New(t.Context(), rego.Config{Dir: dir})
		problems, ok := errors.AsType[rego.Problems](err)
		if !ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, p := range problems {
			got = append(got, strings.TrimPrefix(p.String(), fmt.Sprintf("%s/%s:", dir, c.file)))
		}
		if diff := cmp.Diff(c.want, strings.Join(got, "|")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
