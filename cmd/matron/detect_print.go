package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/matron-epr/matron/audit/detect/evaluate"
	"github.com/matron-epr/matron/audit/detect/explain"
)

// spread is how good the lists of one name are over all runs.
type spread struct {
	Name      string                     `json:"name"`
	Precision map[string]evaluate.Spread `json:"precision"` // by budget
	Recall    map[string]evaluate.Spread `json:"recall"`
	Serial    map[string]evaluate.Spread `json:"serial_people"`
	Kinds     []kindSpread               `json:"kinds"`
}

// kindSpread is the recall of one kind of misuse over all runs, by budget.
type kindSpread struct {
	Kind   string                     `json:"kind"`
	Labels int                        `json:"labels"` // of all runs
	People int                        `json:"people"`
	Recall map[string]evaluate.Spread `json:"recall"`
}

// spreads takes the lists of one name together, in the order of the first run.
func spreads(all []evaluated) []spread {
	out := []spread{}
	for i := range all[0].Lists {
		var reports []evaluate.Report
		for _, run := range all {
			reports = append(reports, run.Lists[i].Report)
		}
		s := spread{
			Name: all[0].Lists[i].Name, Kinds: kindSpreads(reports),
			Precision: over(reports, func(r evaluate.Report, b int) float64 { return r.At[b].Precision.Share() }),
			Recall:    over(reports, func(r evaluate.Report, b int) float64 { return r.At[b].Recall.Share() }),
			Serial:    over(reports, func(r evaluate.Report, b int) float64 { return r.At[b].Offenders.Share() }),
		}
		out = append(out, s)
	}
	return out
}

// over takes one figure for each budget from each report.
func over(reports []evaluate.Report, figure func(evaluate.Report, int) float64) map[string]evaluate.Spread {
	out := map[string]evaluate.Spread{}
	for b, budget := range evaluate.Budgets() {
		var values []float64
		for _, r := range reports {
			values = append(values, figure(r, b))
		}
		out[strconv.Itoa(budget)] = evaluate.NewSpread(values)
	}
	return out
}

func kindSpreads(reports []evaluate.Report) []kindSpread {
	var out []kindSpread
	at := map[string]int{}
	for _, r := range reports {
		for _, k := range r.Kinds {
			i, ok := at[k.Kind]
			if !ok {
				i = len(out)
				at[k.Kind] = i
				out = append(out, kindSpread{Kind: k.Kind})
			}
			out[i].Labels += k.Recall[0].Of
			out[i].People += k.People
		}
	}
	for i := range out {
		out[i].Recall = over(reports, func(r evaluate.Report, b int) float64 {
			for _, k := range r.Kinds {
				if k.Kind == out[i].Kind {
					return k.Recall[b].Share()
				}
			}
			return math.NaN()
		})
	}
	return out
}

// printed writes a figure with its spread, where there is one.
func printed(s evaluate.Spread) string {
	switch s.Runs {
	case 0:
		return "-"
	case 1:
		return fmt.Sprintf("%.2f", s.Mean)
	}
	return fmt.Sprintf("%.2f (%.2f-%.2f)", s.Mean, s.Least, s.Most)
}

// row is the figures of one line, one for each budget.
func row(of map[string]evaluate.Spread) string {
	cells := make([]string, 0, len(of))
	for _, b := range evaluate.Budgets() {
		cells = append(cells, printed(of[strconv.Itoa(b)]))
	}
	return strings.Join(cells, "\t")
}

// printEvaluation prints tables for people: all lists side by side, then each on
// its own.
func printEvaluation(out io.Writer, all []evaluated) {
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }
	for _, run := range all {
		labels := len(run.labels)
		p("%s: %d labels", run.Run, labels)
		if len(run.Lists) > 0 {
			r := run.Lists[0].Report
			p(", %d staff, %d days", r.Staff, r.Days)
		}
		p("\n")
		if x := run.Explained; x != nil {
			p("  explained: %s of all accesses, %s of first ones; of misuse %s\n", percent(x.All), percent(x.First), percent(x.Misuse))
			for _, k := range x.Kinds {
				p("    %s: %s%s\n", k.Kind, percent(k.Misuse), used(k.Templates))
			}
			if x.Shadow > 0 {
				p("    templates in shadow would explain %d more\n", x.Shadow)
			}
			p("    could be explained by")
			for _, u := range x.Templates {
				p(" %s %d", u.Template, u.Accesses)
			}
			p("\n")
		}
	}
	lists := spreads(all)
	if len(lists) == 0 {
		return
	}
	p("\nBudgets are in cases a day for 1,000 staff.\n\n")
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, what := range []struct {
		title string
		of    func(spread) map[string]evaluate.Spread
	}{
		{"PRECISION", func(s spread) map[string]evaluate.Spread { return s.Precision }},
		{"RECALL", func(s spread) map[string]evaluate.Spread { return s.Recall }},
		{"SERIAL PEOPLE FOUND", func(s spread) map[string]evaluate.Spread { return s.Serial }},
	} {
		_, _ = fmt.Fprintf(w, "%s\tAT 1\tAT 5\tAT 15\tAT 20\n", what.title)
		for _, s := range lists {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", s.Name, row(what.of(s)))
		}
		_, _ = fmt.Fprintln(w, "\t\t\t\t")
	}
	_ = w.Flush()
	for i, s := range lists {
		printList(out, s, i, all)
	}
}

// used lists by which templates misuse was explained, in their order.
func used(by map[string]int) string {
	var b strings.Builder
	for t := explain.Charted; t <= explain.Local; t++ {
		if n := by[t.Code()]; n > 0 {
			_, _ = fmt.Fprintf(&b, " %s %d", t.Code(), n)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return ", by" + b.String()
}

func percent(r evaluate.Ratio) string {
	if r.Of == 0 {
		return "none to count"
	}
	return fmt.Sprintf("%.1f %% (%d of %d)", 100*r.Share(), r.Hits, r.Of)
}

// printList prints what is known of one list beyond its figures.
func printList(out io.Writer, s spread, list int, all []evaluated) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	defer func() { _ = w.Flush() }()
	_, _ = fmt.Fprintf(w, "%s: RECALL BY MISUSE\tLABELS\tPEOPLE\tAT 1\tAT 5\tAT 15\tAT 20\n", strings.ToUpper(s.Name))
	for _, k := range s.Kinds {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", k.Kind, k.Labels, k.People, row(k.Recall))
	}
	_, _ = fmt.Fprintln(w)
	_ = w.Flush()
	for _, run := range all {
		r := run.Lists[list].Report
		_, _ = fmt.Fprintf(w, "%s in %s\tCASES A DAY\tCASES READ FOR A RIGHT ONE\tMEDIAN DAYS TO SURFACE\tLONGEST\n", s.Name, run.Run)
		for _, at := range r.At {
			_, _ = fmt.Fprintf(w, "at %d\t%.1f\t%.1f\t%d\t%d\n", at.Budget, float64(at.Shown)/float64(r.Days), at.PerHit, at.Wait, at.Longest)
		}
		_, _ = fmt.Fprintln(w)
		_ = w.Flush()
		_, _ = fmt.Fprint(w, "precision by rank")
		for _, b := range r.Bands {
			_, _ = fmt.Fprintf(w, "\t%d-%d: %.2f", b.From, b.To, b.Precision.Share())
		}
		_, _ = fmt.Fprint(w, "\nprecision by kind of case")
		for _, k := range r.Made {
			_, _ = fmt.Fprintf(w, "\t%s: %s", k.Kind, percent(k.Precision))
		}
		_, _ = fmt.Fprint(w, "\n\n")
		_ = w.Flush()
		for _, o := range r.Serial {
			if o.Waits[len(o.Waits)-1] < 0 {
				_, _ = fmt.Fprintf(w, "not surfaced at any budget: %s, %s on %d days\n", o.Person, o.Kind, o.Days)
			}
		}
	}
}
