package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/cmd/matron/trace"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

func newHazardTrace() *cobra.Command {
	var results []string
	var out, before, commit, build string
	c := &cobra.Command{
		Use: "trace [SOURCE]", Short: "Find the controls in the source, and which of their tests passed", Args: cobra.MaximumNArgs(1),
		Long: "For whoever makes a release. Collects the lines \"hazard:GW-03 control:C-13\" above Go tests, rules and\n" +
			"settings, takes in what \"go test -json\" said, and writes a file that comes with the release: a gateway\n" +
			"is told of it by hazard_log.trace_file. A test that failed, was not run, or was in the file before and is\n" +
			"gone makes its control stale. SOURCE is the folder with go.mod (default: this one).",
		Example: "  go test -json ./... > tests.json\n" +
			"  matron hazard trace --tests tests.json --commit $(git rev-parse HEAD) --build v1.4 --out matron-trace.json",
	}
	c.Flags().StringArrayVar(&results, "tests", nil, "what \"go test -json\" printed; may be given again; - for standard input")
	c.Flags().StringVarP(&out, "out", "o", "", "file to write; one that is there is the one before (default: standard output)")
	c.Flags().StringVar(&before, "before", "", "the trace of the release before (default: the file at --out)")
	c.Flags().StringVar(&commit, "commit", "", "commit of the source")
	c.Flags().StringVar(&build, "build", version, "version of the program that is made of it")
	_ = errors.Join(c.MarkFlagRequired("tests"), c.MarkFlagRequired("commit")) // fail only for flags that are not there
	c.RunE = func(c *cobra.Command, args []string) error {
		root := "."
		if len(args) > 0 {
			root = args[0]
		}
		l, err := hazardlog.StarterLog()
		if err != nil {
			return failure{exitFailure, err}
		}
		tags, err := trace.Collect(os.DirFS(root), l)
		if err != nil {
			return failure{exitTests, err}
		}
		ran, err := readResults(c.InOrStdin(), results)
		if err != nil {
			return failure{exitFailure, err}
		}
		if before == "" {
			before = out
		}
		old, err := oldTrace(before)
		if err != nil {
			return failure{exitFailure, err}
		}
		t := trace.Make(tags, ran, old, evidence.Trace{Build: build, Commit: commit, At: time.Now().UTC().Truncate(time.Second)})
		text, err := json.MarshalIndent(t, "", " ")
		if err != nil {
			return failure{exitFailure, err}
		}
		text = append(text, '\n')
		if out == "" {
			_, err = c.OutOrStdout().Write(text)
		} else {
			err = os.WriteFile(out, text, 0o644) //nolint:gosec // it comes with a release
		}
		if err != nil {
			return failure{exitFailure, err}
		}
		sumUp(c.ErrOrStderr(), t)
		return nil
	}
	return c
}

func readResults(stdin io.Reader, files []string) (trace.Results, error) {
	all := trace.Results{}
	for _, name := range files {
		if name == "-" {
			if err := all.Read("standard input", stdin); err != nil {
				return nil, err
			}
			continue
		}
		f, err := os.Open(filepath.Clean(name))
		if err != nil {
			return nil, err
		}
		if err := errors.Join(all.Read(name, f), f.Close()); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func oldTrace(path string) (*evidence.Trace, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // none is an answer
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator names it
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // none is an answer
	}
	if err != nil {
		return nil, err
	}
	t, err := evidence.ReadTrace(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// sumUp counts what was found, and names what does not show its control any more.
func sumUp(out io.Writer, t evidence.Trace) {
	kinds, controls := map[evidence.TagKind]int{}, map[string]bool{}
	for _, tag := range t.Tags {
		kinds[tag.Kind]++
		controls[tag.Control] = true
		if tag.Kind == evidence.TestTag && tag.Result != evidence.Passed {
			_, _ = fmt.Fprintf(out, "%s (%s): %s: %s\n", tag.Control, strings.Join(tag.Hazards, ", "), tag.Name, tag.Result)
		}
	}
	_, _ = fmt.Fprintf(out, "%d controls: %d tests, %d rules, %d settings\n", len(controls), kinds[evidence.TestTag], kinds[evidence.RuleTag], kinds[evidence.SettingTag])
}
