package hl7_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/policy/care/hl7"
)

const admit = "MSH|^~\\&|PAS|RCB|ROUTE|ROUTE|201010101418||ADT^A01^ADT_A01|1391320453338055|P|2.4|1|20101010141857|||GBR|UNICODE|EN||iTKv1.0\r" +
	"EVN||201010101400|||111111111^Cortana^Emily^^^Miss^^RCB55|201010101400\r" +
	"PID|1||9990000018^^^NHS~RCB123^^^RCB&2.16&ISO^MR||SMITH^FREDRICA^J^^MRS^^L|SCHMIDT^HELGAR^Y|196512131515|2\r" +
	"PV1|1|I|RCB^OBS1^BAY2-6^RCB55|13|||C3456789^Darwin^Samuel^^^Dr^^^GMC\r"

func parse(t *testing.T, s string) *hl7.Message {
	t.Helper()
	m, err := hl7.Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFieldsOfAMessage(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"CR":         admit,
		"LF":         strings.ReplaceAll(admit, "\r", "\n"),
		"CRLF":       strings.ReplaceAll(admit, "\r", "\r\n"),
		"no end":     strings.TrimSuffix(admit, "\r"),
		"batch":      "FHS|^~\\&|PAS\rBHS|^~\\&|PAS\r" + admit + "BTS|1\rFTS|1\r",
		"separators": strings.NewReplacer("|", "*", "^", "$", "~", "%", "&2.16", "@2.16", "\\&", "\\@", "&ISO", "@ISO").Replace(admit),
	} {
		m := parse(t, text)
		msh, pid, pv1 := m.Segment("MSH"), m.Segment("PID"), m.Segment("PV1")
		for what, got := range map[string][2]string{
			"MSH-3":       {msh.Field(3).Text(), "PAS"},
			"MSH-9-2":     {msh.Field(9).Component(2).Text(), "A01"},
			"MSH-10":      {msh.Field(10).Text(), "1391320453338055"},
			"PID-3(2)-4":  {pid.Field(3).Repetitions()[1].Component(4).Text(), "RCB"},
			"PID-3(2)-42": {pid.Field(3).Repetitions()[1].Component(4).Sub(2).Text(), "2.16"},
			"PV1-3-2":     {pv1.Field(3).Component(2).Text(), "OBS1"},
			"PV1-7-9":     {pv1.Field(7).Component(9).Text(), "GMC"},
			"PV1-99":      {pv1.Field(99).Text(), ""},
			"ZZZ-1":       {m.Segment("ZZZ").Field(1).Text(), ""},
		} {
			if got[0] != got[1] {
				t.Errorf("%s: %s is %q, want %q", name, what, got[0], got[1])
			}
		}
		if n := len(pid.Field(3).Repetitions()); n != 2 {
			t.Errorf("%s: PID-3 has %d repetitions", name, n)
		}
	}
}

func TestEscapesAreResolvedOnce(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		`a\F\b\S\c\T\d\R\e\E\f`: `a|b^c&d~e\f`,
		`\X41C3A9\`:             "Aé",
		`\XE9\`:                 "é",
		`\H\bold\N\`:            "bold",
		`one\.br\two`:           "one\ntwo",
		`\E\F\E\`:               `\F\`,
		`C:\dir`:                `C:\dir`,
		`\Xzz\`:                 `\Xzz\`,
		`\`:                     `\`,
	} {
		m := parse(t, "MSH|^~\\&|A\rNTE|"+sent+"\r")
		if got := m.Segment("NTE").Field(1).String(); got != want {
			t.Errorf("%q is read as %q, want %q", sent, got, want)
		}
	}
	if v := parse(t, "MSH|^~\\&|A\rNTE|\"\"\r").Segment("NTE").Field(1); !v.Null() || v.Text() != "" {
		t.Error("a null is no text")
	}
}

func TestCharacterSets(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ set, sent, want string }{
		{"", "Ren\xe9e", "Renée"},
		{"ASCII", "Renée", "Renée"},
		{"UNICODE", "Renée", "Renée"},
		{"UNICODE UTF-8", "Renée", "Renée"},
		{"8859/1", "Ren\xe9e", "Renée"},
		{"8859/1~UNICODE UTF-8", "Ren\xe9e", "Renée"},
	} {
		m := parse(t, "MSH|^~\\&|A||||||ADT^A01|1|P|2.4||||||"+row.set+"\rPID|||||"+row.sent+"\r")
		if got := m.Segment("PID").Field(5).Text(); got != row.want {
			t.Errorf("%s: %q", row.set, got)
		}
	}
}

func TestMessagesThatAreNone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                        "MSH: is not the first segment",
		"PID|1\rMSH|^~\\&|A\r":    "MSH: is not the first segment",
		"MSH":                     "MSH-1: is missing",
		"MSH|":                    "MSH-2: does not declare the separators",
		"MSH|^^\\&|":              "MSH-2: declares a separator twice or one that cannot separate",
		"MSH|^~\\|\\&|A":          "", // an escape character that is the field separator's neighbour
		"MSH|^~\\&|A\rgarbage\r":  "message: has a line that is no segment",
		"MSH|^~\\&|A\r" + admit:   "MSH[2]: begins a second message",
		"MSH|^~\\&|A\rPID|\x00\r": "message: holds a zero byte",
		"MSH|^~\\&|A\rPID|" + strings.Repeat("|", 500):                     "PID: has too many fields",
		"MSH|^~\\&|A\r" + strings.Repeat("NTE|1\r", 2000):                  "message: has too many segments",
		"MSH|^~\\&|A\rNTE|" + strings.Repeat("x", hl7.MaxBytes):            "message: is too large",
		"MSH|^~\\&|A||||||ADT^A01|1|P|2.4||||||UNICODE UTF-16\rPID|1":      "MSH-18: names a character set that is not supported",
		"MSH|^~\\&|A||||||ADT^A01|1|P|2.4||||||UNICODE UTF-8\rPID|\xff":    "message: is not in UTF-8 as it says",
		"MSH|^~\\&|A||||||ADT^A01|1|P|2.4||||||8859/1\rPID|1\r\r\rpid|9\r": "message: has a line that is no segment",
	} {
		_, err := hl7.Parse([]byte(text))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%.60q: %q, want %q", text, got, want)
		}
	}
}

func TestErrorNamesThePlace(t *testing.T) {
	t.Parallel()
	e := &hl7.Error{Segment: "PID", Sequence: 2, Field: 3, Component: 1, What: "is missing"}
	if got := e.Error(); got != "PID[2]-3-1: is missing" {
		t.Error(got)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	for sent, want := range map[string]string{
		"2026":                      "2026-01-01T00:00:00Z",
		"20260703":                  "2026-07-03T00:00:00+01:00",
		"202607031415":              "2026-07-03T14:15:00+01:00",
		"20261103141516":            "2026-11-03T14:15:16Z",
		"20261103141516.25":         "2026-11-03T14:15:16.25Z",
		"20261103141516+0500":       "2026-11-03T14:15:16+05:00",
		"202611031415-0130^S":       "2026-11-03T14:15:00-01:30",
		"20261303":                  "",
		"2026110":                   "",
		"20261103141516.1234567890": "",
		"20261103+99":               "",
		"today":                     "",
		"":                          "",
	} {
		got, err := parse(t, "MSH|^~\\&|A\rEVN|"+sent+"\r").Segment("EVN").Field(1).Time(london)
		if (err != nil) != (want == "") || err == nil && got.Format(time.RFC3339Nano) != want {
			t.Errorf("%q is read as %v, %v; want %s", sent, got, err, want)
		}
	}
}

func TestAcknowledgements(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 3, 14, 15, 16, 0, time.UTC)
	missing := &hl7.Error{Code: hl7.FieldMissing, Segment: "PID", Field: 3, What: "is missing"}
	for _, row := range []struct {
		accept, application string
		answer              hl7.Answer
		err                 error
		want                string
	}{
		{"", "", hl7.Accept, nil, "MSA|AA|7"},
		{"", "", hl7.TryAgain, errors.New("disk"), "MSA|AE|7\rERR|||207|E||||message: cannot be taken now"},
		{"", "", hl7.Reject, missing, "MSA|AR|7\rERR||PID^1^3|101|E||||PID-3: is missing"},
		{"AL", "", hl7.Accept, nil, "MSA|CA|7"},
		{"AL", "NE", hl7.Reject, missing, "MSA|CR|7\rERR||PID^1^3|101|E||||PID-3: is missing"},
		{"NE", "AL", hl7.Accept, nil, "MSA|AA|7"},
		{"ER", "NE", hl7.Accept, nil, ""},
		{"SU", "ER", hl7.TryAgain, errors.New("disk"), "MSA|AE|7\rERR|||207|E||||message: cannot be taken now"},
		{"NE", "NE", hl7.Reject, missing, ""},
	} {
		raw := "MSH|^~\\&|PAS|RCB|MATRON|GW|20261103||ADT^A01^ADT_A01|7|T|2.5|||" + row.accept + "|" + row.application + "\rPID|1\r"
		got := string(hl7.HeaderOf([]byte(raw)).Acknowledge(row.answer, row.err, now))
		if row.want == "" {
			if got != "" {
				t.Errorf("%+v: %q, want no answer", row, got)
			}
			continue
		}
		head, rest, _ := strings.Cut(got, "\r")
		if !strings.HasPrefix(head, `MSH|^~\&|MATRON|GW|PAS|RCB|20261103141516+0000||ACK^A01|A`) || !strings.HasSuffix(head, "|T|2.5") {
			t.Errorf("%+v: header %q", row, head)
		}
		if rest != row.want+"\r" {
			t.Errorf("%+v: %q", row, rest)
		}
		if _, err := hl7.Parse([]byte(got)); err != nil {
			t.Errorf("%+v: the answer is no message: %v", row, err)
		}
	}
}

// What a sender puts into its header cannot break out of the acknowledgement.
func TestAcknowledgementOfGarbage(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "\xff\xfe", "MSH|^~\\&|A\x1c\x0b|B||||||9\x0b9|P", "MSH|^~\\&|" + strings.Repeat("A", 5000)} {
		got := hl7.HeaderOf([]byte(raw)).Acknowledge(hl7.Reject, nil, time.Unix(0, 0))
		if bytes.ContainsAny(got, "\x0b\x1c") || len(got) > 1000 {
			t.Errorf("%.40q is answered by %q", raw, got)
		}
		if _, err := hl7.Parse(got); err != nil {
			t.Errorf("%.40q: %v", raw, err)
		}
	}
}

func TestSplitAndGroups(t *testing.T) {
	t.Parallel()
	batch := "BHS|^~\\&|A\r" + admit + strings.ReplaceAll(admit, "OBS1", "OBS2") + "BTS|2\r"
	parts := hl7.Split([]byte(batch))
	if len(parts) != 2 {
		t.Fatalf("%d messages", len(parts))
	}
	for i, want := range []string{"OBS1", "OBS2"} {
		if got := parse(t, string(parts[i])).Segment("PV1").Field(3).Component(2).Text(); got != want {
			t.Errorf("message %d: %q", i, got)
		}
	}
	swap := parse(t, "MSH|^~\\&|A\rEVN|A17\rPID|1\rPV1|1\rOBX|1\rPID|2\rPV1|2\r").Groups()
	if len(swap) != 2 || swap[0].Segment("PV1").Field(1).Text() != "1" || swap[1].Segment("PV1").Field(1).Text() != "2" {
		t.Errorf("groups: %v", swap)
	}
}

// Whatever is sent, the reader neither panics nor loops, and its answer is a message.
func FuzzHL7(f *testing.F) {
	f.Add([]byte(admit))
	f.Add([]byte("FHS|^~\\&\rMSH|^~\\&|A\rMSH|^~\\&|B\r"))
	f.Add([]byte("MSH*$%!@*A\nPID***\\F\\!\"\"\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, part := range hl7.Split(raw) {
			ack := hl7.HeaderOf(part).Acknowledge(hl7.Reject, nil, time.Unix(0, 0))
			if ack != nil {
				if _, err := hl7.Parse(ack); err != nil {
					t.Fatalf("answer %q: %v", ack, err)
				}
			}
			m, err := hl7.Parse(part)
			if err != nil {
				continue
			}
			for s := range m.All() {
				for n := range 4 {
					v := s.Field(n)
					_, _ = v.Time(time.UTC)
					for _, r := range v.Repetitions() {
						_ = r.Component(2).Sub(1).String()
					}
				}
			}
			_ = m.Groups()
		}
	})
}
