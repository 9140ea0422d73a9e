package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/transfer"
)

func newHazardPack() *cobra.Command {
	var b book
	var out, key string
	c := &cobra.Command{
		Use: "pack VERSION", Short: "Make the signed transfer pack of an approved version, for those who deploy it", Args: cobra.ExactArgs(1),
		Long: "The pack holds the version as it was approved, with its approval. Whoever deploys the system takes it in\n" +
			"with \"matron hazard receive\" and your public key, which they must have from you by another way.",
		Example: "  matron hazard pack 1.4 --log matron --out matron-1.4.pack --key maker.key",
	}
	b.flags(c)
	c.Flags().StringVarP(&out, "out", "o", "", "file to write, which must not be there yet")
	c.Flags().StringVar(&key, "key", "", "file of the secret key that signs it, as \"matron hazard key\" makes")
	_ = errors.Join(c.MarkFlagRequired("out"), c.MarkFlagRequired("key")) // fail only for flags that are not there
	c.RunE = func(c *cobra.Command, args []string) error {
		signer, err := readSigner(key)
		if err != nil {
			return err
		}
		return b.with(c, func() error {
			text, err := transfer.Make(b.current, args[0], signer, time.Now())
			if err != nil {
				return err
			}
			return writeNew(out, text)
		})
	}
	return c
}

// writeNew writes a file that is not there yet.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names it
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// receiving is what "matron hazard receive" is told.
type receiving struct {
	book
	from, id, organisation string
	dry                    bool
}

func newHazardReceive() *cobra.Command {
	var r receiving
	c := &cobra.Command{
		Use: "receive PACK", Short: "Take in a transfer pack: the first begins your log, later ones update it", Args: cobra.ExactArgs(1),
		Long: "Checks the signature first: an altered pack, or one of somebody else, is refused. The first pack begins\n" +
			"your organisation's log, in which every rating is proposed and every transfer waits for \"matron hazard\n" +
			"answer\". A later one says which hazards you accepted have changed. What is new comes in, a transfer whose\n" +
			"terms changed is offered again, and each changed hazard gets a review; your words and ratings stay.",
		Example: "  matron hazard receive matron-1.4.pack --from maker.key.pub --id rba --organisation \"Example NHS Trust\"\n" +
			"  matron hazard receive matron-1.5.pack --from maker.key.pub --dry-run",
	}
	c.Flags().StringVarP(&r.config, "config", "c", "matron.yaml", "configuration file")
	c.Flags().StringVar(&r.from, "from", "", "file of the maker's public key")
	c.Flags().StringVar(&r.id, "id", "", "first pack: name of the new log, for example your ODS code in lower case")
	c.Flags().StringVar(&r.organisation, "organisation", "", "first pack: whose log it is")
	c.Flags().BoolVar(&r.dry, "dry-run", false, "only say what it would do")
	_ = c.MarkFlagRequired("from") // fails only for a flag that is not there
	c.RunE = func(c *cobra.Command, args []string) error {
		text, pack, upstream, err := r.open(args[0])
		if err != nil {
			return failure{exitIntegrity, fmt.Errorf("%s: %w", args[0], err)}
		}
		return r.with(c, func() error {
			out := c.OutOrStdout()
			_, _ = fmt.Fprintf(out, "Version %s of log %s, approved by %s on %s.\n", pack.Approval.Version, upstream.ID, pack.Approval.Officer, hazardlog.DayOf(pack.Approval.At))
			if r.log == gateway.HazardLogID {
				return r.begin(c, text, pack, upstream)
			}
			return r.update(c, text, pack, upstream)
		})
	}
	return c
}

func (r *receiving) open(path string) ([]byte, transfer.Pack, hazardlog.Log, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, transfer.Pack{}, hazardlog.Log{}, err
	}
	public, err := os.ReadFile(r.from)
	if err != nil {
		return nil, transfer.Pack{}, hazardlog.Log{}, err
	}
	key, err := merkle.ParseVerifier(public)
	if err != nil {
		return nil, transfer.Pack{}, hazardlog.Log{}, err
	}
	pack, upstream, err := transfer.Open(text, key)
	return text, pack, upstream, err
}

// begin begins the organisation's log with the first pack.
func (r *receiving) begin(c *cobra.Command, text []byte, pack transfer.Pack, upstream hazardlog.Log) error {
	if r.id == "" || r.organisation == "" {
		return errors.New("there is no log of your organisation yet: --id and --organisation begin it")
	}
	head := hazardlog.Head{Title: "Hazard log of " + r.organisation, StandardID: "dcb0160-3.2", Organisation: r.organisation}
	changes, err := hazardlog.Derive(upstream, pack.Approval.Version, head)
	if err != nil || r.dry {
		return err
	}
	by, err := r.account()
	if err != nil {
		return err
	}
	if err := r.keepPack(pack, text); err != nil {
		return err
	}
	l, err := r.store.Begin(c.Context(), r.id, by, changes...)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "Log %s: %d hazards, every rating proposed; %d transfers wait for an answer.\n", l.ID, len(l.Hazards), len(l.Transfers))
	return err
}

// update takes a later pack in.
func (r *receiving) update(c *cobra.Command, text []byte, pack transfer.Pack, upstream hazardlog.Log) error {
	taken := r.current.Upstream
	switch {
	case taken == nil || taken.Log != upstream.ID:
		return fmt.Errorf("log %s was not begun from log %s", r.log, upstream.ID)
	case taken.SHA256 == pack.Approval.SHA256:
		return fmt.Errorf("version %s was taken in before", pack.Approval.Version)
	}
	before, err := r.keptPack(taken)
	if err != nil {
		return err
	}
	u := r.current.Upgrade(before, upstream, pack.Approval.Version)
	printUpdate(c.OutOrStdout(), u)
	changes, err := r.current.Changes(u, upstream, today())
	if err != nil || r.dry {
		return err
	}
	if err := r.keepPack(pack, text); err != nil {
		return err
	}
	return r.change(c, signs{}, changes...)
}

func printUpdate(out io.Writer, u hazardlog.Update) {
	_, _ = fmt.Fprintln(out, u)
	for _, h := range u.Hazards {
		accepted := ""
		if h.Accepted {
			accepted = " (accepted here)"
		}
		_, _ = fmt.Fprintf(out, "%s  %s%s\n", h.ID, h.Name, accepted)
		for _, d := range h.Changes {
			_, _ = fmt.Fprintln(out, "    "+d.String())
		}
	}
}

// packFile is where a pack is kept that was taken in, for comparing the next one.
func (r *receiving) packFile(sha256 string) string {
	return filepath.Join(r.cfg.DataDir, "transfers", sha256+".pack")
}

func (r *receiving) keepPack(p transfer.Pack, text []byte) error {
	path := r.packFile(p.Approval.SHA256)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	half := path + ".new" // of a run that was broken off
	if err := os.Remove(half); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := writeNew(half, text); err != nil {
		return err
	}
	return os.Rename(half, path)
}

// keptPack is the upstream log as it was taken before, from the pack that was kept.
func (r *receiving) keptPack(taken *hazardlog.Origin) (hazardlog.Log, error) {
	_, _, l, err := r.open(r.packFile(taken.SHA256))
	if err != nil {
		return hazardlog.Log{}, fmt.Errorf("read the pack of version %s, which was taken in before: %w", taken.Version, err)
	}
	return l, nil
}
