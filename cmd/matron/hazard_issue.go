package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/report"
)

func newHazardIssue() *cobra.Command {
	var b book
	var out, verify, sum string
	var draft bool
	c := &cobra.Command{
		Use: "issue", Short: "Make the issue pack: safety case report, hazard log, answers to the clauses, evidence, manifest", Args: cobra.NoArgs,
		Long: "Writes one ZIP file: the clinical safety case report (HTML for A4, DOCX), the hazard log (Excel workbook and\n" +
			"JSON), an answer to each clause of the standard that the log suggests, the evidence as it is now, and a\n" +
			"manifest with the SHA-256 of each file, the version of the program and the hash of its configuration. The\n" +
			"hash of the manifest, which is printed, is the hash of all: give it by another way. Gaps read \"Missing:\n" +
			"evidence for C-14\". Errors that \"matron hazard lint --issue\" finds forbid it (exit code 4); --draft allows\n" +
			"them and every document says that it is a draft. What people write in the report comes from\n" +
			"hazard_log.texts_file. --verify checks a pack (exit code 5 when it was altered).",
		Example: "  matron hazard issue --out issue-1.4.zip\n" +
			"  matron hazard issue --draft --out draft.zip\n" +
			"  matron hazard issue --verify issue-1.4.zip --sha256 3f1c…",
	}
	b.flags(c)
	b.jsonFlag(c)
	c.Flags().StringVarP(&out, "out", "o", "", "file to write, which must not be there yet")
	c.Flags().BoolVar(&draft, "draft", false, "make a draft, whatever the checks find")
	c.Flags().StringVar(&verify, "verify", "", "check this pack instead")
	c.Flags().StringVar(&sum, "sha256", "", "with --verify: the hash of all that its maker gave")
	c.MarkFlagsOneRequired("out", "verify")
	c.MarkFlagsMutuallyExclusive("out", "verify")
	c.MarkFlagsMutuallyExclusive("draft", "verify")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if verify != "" {
			return b.verifyIssue(c, verify, sum)
		}
		return b.with(c, func() error {
			pack, err := gateway.Issue(c.Context(), b.cfg, b.current, draft, time.Now())
			if errors.Is(err, hazardlog.ErrInvalid) {
				return failure{exitTests, err}
			}
			if err != nil {
				return err
			}
			data, err := pack.Zip()
			if err != nil {
				return err
			}
			if err := writeNew(out, data); err != nil {
				return err
			}
			return b.printIssue(c, pack.Manifest, pack.SHA256)
		})
	}
	return c
}

func (b *book) verifyIssue(c *cobra.Command, file, sum string) error {
	data, err := readBounded(file)
	if err != nil {
		return failure{exitFailure, err}
	}
	m, is, err := report.Verify(data, sum)
	if err != nil {
		return failure{exitIntegrity, fmt.Errorf("%s: %w", file, err)}
	}
	return b.printIssue(c, m, is)
}

func (b *book) printIssue(c *cobra.Command, m report.Manifest, sum string) error {
	out := c.OutOrStdout()
	if b.asJSON {
		return json.NewEncoder(out).Encode(struct {
			SHA256   string          `json:"sha256"`
			Manifest report.Manifest `json:"manifest"`
		}{sum, m})
	}
	if m.Draft != "" {
		_, _ = fmt.Fprintln(out, m.Draft)
	} else {
		_, _ = fmt.Fprintln(out, m.State)
	}
	for _, f := range m.Files {
		_, _ = fmt.Fprintf(out, "%s  %s\n", f.SHA256, f.Name)
	}
	_, err := fmt.Fprintf(out, "Hash of all: %s\n", sum)
	return err
}
