package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap"
	"github.com/matron-epr/matron/proxy/strictyaml"
)

func newAppmap() *cobra.Command {
	c := &cobra.Command{
		Use: "appmap", Short: "What the gateway understands of an application", GroupID: "rules",
		Long: "A map says what each request of an application does and for which patient.\n" +
			"Learn a first draft of one from what was observed, check it, and try recorded exchanges on it.\n" +
			"Nothing is sent anywhere.",
	}
	c.AddCommand(newAppmapList(), newAppmapCheck(), newAppmapTry(), newAppmapLearn(), newAppmapSchema())
	return c
}

func newAppmapList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "Name the maps that are built in", Args: cobra.NoArgs,
		Long:    "Names the built-in maps and how many rules each has. Their names stand for a FILE everywhere.",
		Example: "  matron appmap list\n  matron appmap list --json",
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the maps as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		type entry struct {
			Name  string `json:"name"`
			Rules int    `json:"rules"`
		}
		var all []entry
		for _, name := range appmap.Names() {
			m, err := appmap.Builtin(name)
			if err != nil {
				return failure{exitFailure, err}
			}
			all = append(all, entry{name, len(m.RuleIDs())})
		}
		if asJSON {
			return printJSON(c, all)
		}
		for _, e := range all {
			c.Printf("%-12s %3d rules\n", e.Name, e.Rules)
		}
		return nil
	}
	return c
}

func newAppmapCheck() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "check FILE...", Short: "Find every mistake in a map", Args: cobra.MinimumNArgs(1),
		Long: "Reads each map strictly and prints every mistake as file:line:column. FILE may be the\n" +
			"name of a built-in map. Exit code 3 when there is a mistake.",
		Example: "  matron appmap check wardbook.yaml\n  matron appmap check maps/*.yaml --json",
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the mistakes as JSON")
	c.RunE = func(c *cobra.Command, args []string) error {
		type checked struct {
			File     string               `json:"file"`
			App      string               `json:"app,omitempty"`
			Rules    int                  `json:"rules"`
			Problems []strictyaml.Problem `json:"problems"`
		}
		var all []checked
		var faults []error
		for _, name := range args {
			m, err := appmap.Load(name)
			r := checked{File: name, Problems: []strictyaml.Problem{}}
			var ps strictyaml.Problems
			switch {
			case err == nil:
				r.App, r.Rules = m.App(), len(m.RuleIDs())
			case errors.As(err, &ps):
				r.Problems = ps
			default:
				r.Problems = append(r.Problems, strictyaml.Problem{File: name, Text: err.Error()})
			}
			if err != nil {
				faults = append(faults, err)
			} else if !asJSON {
				c.Printf("%s: no mistakes (%d rules)\n", name, r.Rules)
			}
			all = append(all, r)
		}
		if asJSON {
			if err := printJSON(c, all); err != nil {
				return err
			}
			if len(faults) > 0 {
				return failure{exitConfig, fmt.Errorf("%d of %d maps have mistakes", len(faults), len(args))}
			}
		}
		if len(faults) > 0 {
			return failure{exitConfig, errors.Join(faults...)}
		}
		return nil
	}
	return c
}

func newAppmapSchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of maps", Args: cobra.NoArgs,
		Long:    "Prints the schema (draft 2020-12) that makes an editor complete and check a map as it is written.",
		Example: "  matron appmap schema > application-map.json",
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := c.OutOrStdout().Write(appmap.Schema()); err != nil {
				return failure{exitFailure, err}
			}
			return nil
		},
	}
}

func newAppmapTry() *cobra.Command {
	var asJSON bool
	var base string
	var origins []string
	c := &cobra.Command{
		Use: "try FILE", Short: "Show what a map makes of recorded exchanges", Args: cobra.ExactArgs(1),
		Long: "Reads exchanges from standard input: a request in plain HTTP with its response after it if\n" +
			"there is one, or a .txtar file of NAME.request and NAME.response. Prints for each rule whether\n" +
			"it matched and why, what each place yielded, and what the gateway would decide and record.\n" +
			"What is printed holds the patient data of the recording.",
		Example: "  printf 'GET /Patient/1 HTTP/1.1\\nHost: epr.example\\n' | matron appmap try fhir-r4\n" +
			"  matron appmap try wardbook.yaml --base /ward < exchanges.txtar\n" +
			"  matron appmap try orthanc --json < exchange.http",
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	c.Flags().StringVar(&base, "base", "", "path under which the application is mounted (default: as the recording or the map says)")
	c.Flags().StringArrayVar(&origins, "origin", nil, "address that absolute references to the application have; may be given several times")
	c.RunE = func(c *cobra.Command, args []string) error {
		m, err := appmap.Load(args[0])
		if err != nil {
			return failure{exitConfig, err}
		}
		src, err := io.ReadAll(c.InOrStdin())
		if err != nil {
			return failure{exitFailure, fmt.Errorf("read exchanges: %w", err)}
		}
		recording, err := appmap.ReadExchanges(src)
		if err != nil {
			return failure{exitFailure, fmt.Errorf("standard input: %w", err)}
		}
		if c.Flags().Changed("base") {
			m = m.WithBase(base, origins...)
		} else if recording.Base != "" || len(origins) > 0 {
			m = m.WithBase(recording.Base, origins...)
		}
		tries := make([]tried, 0, len(recording.Exchanges))
		for _, e := range recording.Exchanges {
			tries = append(tries, newTried(&e, appmap.Explain(m, e.Exchange)))
		}
		if asJSON {
			return printJSON(c, tries)
		}
		for i := range tries {
			tries[i].print(c)
		}
		return nil
	}
	return c
}

func printJSON(c *cobra.Command, v any) error {
	if err := encodeJSON(c.OutOrStdout(), v); err != nil {
		return failure{exitFailure, err}
	}
	return nil
}

func encodeJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// tried is what a map made of one exchange, as scripts read it.
type tried struct {
	Name    string `json:"name,omitempty"`
	Request string `json:"request"`
	appmap.Explanation
	Unmapped   string       `json:"unmapped,omitempty"` // why, when no rule describes the exchange
	Refused    string       `json:"refused,omitempty"`
	Access     *accessView  `json:"access,omitempty"`
	Settlement *settledView `json:"settlement,omitempty"`
	Withheld   string       `json:"withheld,omitempty"`
}

type accessView struct {
	Rule       string        `json:"rule"`
	Action     string        `json:"action,omitempty"`
	Area       string        `json:"area,omitempty"`
	Screen     string        `json:"screen,omitempty"`
	Resource   string        `json:"resource,omitempty"`
	ID         string        `json:"id,omitempty"`
	Version    string        `json:"version,omitempty"`
	Parts      []partView    `json:"parts,omitempty"`
	Patients   []patientView `json:"patients"`
	Certainty  string        `json:"certainty"`
	Reason     string        `json:"reason,omitempty"` // why it is not certain
	Source     string        `json:"source,omitempty"`
	Limit      string        `json:"limit"`
	Deliberate string        `json:"deliberate,omitempty"`
	Held       bool          `json:"held"`
	Static     bool          `json:"static,omitempty"`
	KeepAlive  bool          `json:"keepalive,omitempty"`
	Block      bool          `json:"block,omitempty"`
}

type partView struct {
	Action   string `json:"action"`
	Area     string `json:"area"`
	Resource string `json:"resource,omitempty"`
}

type patientView struct {
	ID        string `json:"id,omitempty"`
	NHSNumber string `json:"nhs_number,omitempty"`
}

type settledView struct {
	Patients  []patientView `json:"patients"`
	Certainty string        `json:"certainty"`
	Results   uint64        `json:"results"`
}

func newTried(e *appmap.Recorded, ex appmap.Explanation) tried {
	t := tried{Name: e.Name, Request: e.Request.Method + " " + e.Request.URL.RequestURI(), Explanation: ex}
	trial := &ex.Trial
	switch {
	case trial.Refused != nil:
		t.Refused = trial.Refused.Error()
		return t
	case trial.Unmapped != nil:
		t.Unmapped = trial.Unmapped.Error()
		return t
	case trial.Access.Rule == "":
		t.Unmapped = "no rule matches"
		return t
	}
	t.Access = viewOf(&trial.Access)
	switch {
	case trial.Withheld != nil:
		t.Withheld = trial.Withheld.Error()
	case trial.Settled:
		s := &trial.Settlement
		t.Settlement = &settledView{patientViews(s.Patients), string(s.Certainty), s.Results}
	}
	return t
}

func viewOf(a *proxy.Access) *accessView {
	v := &accessView{
		Rule: a.Rule, Action: string(a.Action), Area: string(a.Area), Screen: a.Screen, Resource: a.Resource,
		ID: a.ID, Version: a.Version, Patients: patientViews(a.Patients), Certainty: string(a.Certainty), Reason: a.Reason,
		Source: string(a.Source), Limit: string(a.Kind), Deliberate: a.Deliberate, Held: a.Hold,
		Static: a.Static, KeepAlive: a.KeepAlive, Block: a.Block,
	}
	for _, p := range a.Parts {
		v.Parts = append(v.Parts, partView{string(p.Action), string(p.Area), p.Resource})
	}
	return v
}

func patientViews(list []proxy.Patient) []patientView {
	views := make([]patientView, 0, len(list))
	for _, p := range list {
		views = append(views, patientView(p))
	}
	return views
}

func (t *tried) print(c *cobra.Command) {
	c.Println(strings.TrimSpace(t.Name + "  " + t.Request))
	for _, r := range t.Rules {
		mark := "no "
		if r.Matched {
			mark = "YES"
		}
		c.Printf("  rule   %s %-28s %s\n", mark, r.ID, r.Why)
	}
	for _, p := range t.Places {
		got := "nothing"
		if len(p.Values) > 0 {
			got = strings.Join(p.Values, ", ")
		}
		if p.Problem != "" {
			got = "PROBLEM " + p.Problem
		}
		if p.Setting == "use" {
			got = "the built-in extractor; see access"
		}
		c.Printf("  place  %-20s %-32s %s\n", p.Setting, p.Place, got)
	}
	switch {
	case t.Refused != "":
		c.Println("  access refused with 400: " + t.Refused)
	case t.Unmapped != "":
		c.Println("  access unmapped, denied in enforce mode: " + t.Unmapped)
	default:
		t.Access.print(c)
	}
	switch {
	case t.Withheld != "":
		c.Println("  settle withheld: " + t.Withheld)
	case t.Settlement != nil:
		s := t.Settlement
		c.Printf("  settle %s; patients %s; %d results\n", s.Certainty, namesOf(s.Patients), s.Results)
	}
	c.Println()
}

func (a *accessView) print(c *cobra.Command) {
	c.Printf("  access rule %s; patients %s; certainty %s\n", a.Rule, namesOf(a.Patients), a.Certainty)
	if a.Reason != "" {
		c.Println("  access not certain: " + a.Reason)
	}
	parts := a.Parts
	if len(parts) == 0 {
		parts = []partView{{a.Action, a.Area, a.Resource}}
	}
	for _, p := range parts {
		if p != (partView{}) {
			c.Println("  access asks to " + strings.TrimSpace(p.Action+" "+p.Area+" "+p.Resource))
		}
	}
	if a.Block {
		c.Println("  access blocked for everybody")
	}
	if a.Held {
		c.Println("  access the answer is held until its patients are recorded")
	}
}

func namesOf(list []patientView) string {
	var names []string
	for _, p := range list {
		names = append(names, strings.TrimSpace(p.ID+" "+p.NHSNumber))
	}
	if len(names) == 0 {
		return "none named"
	}
	return strings.Join(names, ", ")
}
