package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
)

func newAuditProof() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "proof RECORD FOLDER...", Short: "Prove that one record stands in the log", Args: cobra.MinimumNArgs(2),
		Long: "Writes the proof of one record in the form of c2sp.org/tlog-proof: anybody can check it offline with\n" +
			"the record, which a receipt (the response header Matron-Receipt) names by number and hash.",
		Example: "  matron audit proof gw1/1234 /var/lib/matron/journal > gw1-1234.tlog-proof",
	}
	c.Flags().StringVar(&key, "key", "", "public key of the log; default: checkpoint.pub beside the journal")
	c.RunE = func(c *cobra.Command, args []string) error {
		seq, err := recordNumber(args[0])
		if err != nil {
			return failure{exitUsage, err}
		}
		p, cp, note, err := openSigned(args[1:], key)
		if err != nil {
			return failure{exitFailure, err}
		}
		defer p.close()
		hashes, err := p.tree.Prove(seq-1, cp)
		if err != nil {
			return failure{exitFailure, err}
		}
		_, err = c.OutOrStdout().Write(merkle.Proof{Index: seq - 1, Hashes: hashes, Checkpoint: note}.Format())
		return err
	}
	return c
}

// recordNumber reads "gw1/1234" or "1234".
func recordNumber(text string) (uint64, error) {
	if _, number, ok := strings.Cut(text, "/"); ok {
		text = number
	}
	seq, err := strconv.ParseUint(text, 10, 63)
	if err != nil || seq == 0 {
		return 0, fmt.Errorf("%q is not the number of a record: write for example gw1/1234", text)
	}
	return seq, nil
}

// openSigned opens the hashes of a journal and the newest checkpoint over them.
func openSigned(dirs []string, key string) (proofs, merkle.Checkpoint, []byte, error) {
	p, err := openProofs(dirs, key)
	if err != nil {
		return p, merkle.Checkpoint{}, nil, err
	}
	switch {
	case p.tree == nil:
		err = fmt.Errorf("%s holds no hash tree: name the folder of the journal", strings.Join(dirs, ", "))
	case p.key == nil:
		err = errors.New("there is no checkpoint.pub beside the journal: give --key")
	}
	if err != nil {
		p.close()
		return p, merkle.Checkpoint{}, nil, err
	}
	cp, note, err := p.checkpoint()
	if err != nil {
		p.close()
	}
	return p, cp, note, err
}

func newAuditTiles() *cobra.Command {
	var key, out string
	c := &cobra.Command{
		Use: "tiles FOLDER... --out DIR", Short: "Write the log as static tiles for other verifiers", Args: cobra.MinimumNArgs(1),
		Long: "Writes the whole log in the layout of c2sp.org/tlog-tiles: checkpoint, hash tiles and entry bundles,\n" +
			"for verifiers that know nothing of Matron. The entries are the records: keep the folder safe.",
		Example: "  matron audit tiles /var/lib/matron/journal /var/lib/matron/archive --out /mnt/inquiry/log",
	}
	c.Flags().StringVar(&key, "key", "", "public key of the log; default: checkpoint.pub beside the journal")
	c.Flags().StringVar(&out, "out", "", "folder to write, which must not hold a log yet")
	_ = c.MarkFlagRequired("out") // fails only for a flag that is not there
	c.RunE = func(c *cobra.Command, dirs []string) error {
		p, cp, note, err := openSigned(dirs, key)
		if err != nil {
			return failure{exitFailure, err}
		}
		defer p.close()
		if err := exportTiles(c.Context(), c, dirs, out, p, cp, note); err != nil {
			return failure{exitFailure, err}
		}
		c.PrintErrf("%d records in %s\n", cp.Size, out)
		return nil
	}
	return c
}

func exportTiles(ctx context.Context, c *cobra.Command, dirs []string, out string, p proofs, cp merkle.Checkpoint, note []byte) error {
	shown := newBar(c.ErrOrStderr(), "tiles")
	defer shown.close()
	return p.tree.Export(ctx, out, cp, note, func(visit func(uint64, []byte) error) error {
		_, err := journal.Verify(journal.VerifyOptions{
			Dirs: dirs, Progress: shown.set,
			Visit: func(seq uint64, canonical []byte, _ *audit.Record) error { return visit(seq-1, canonical) },
		})
		return err
	})
}
