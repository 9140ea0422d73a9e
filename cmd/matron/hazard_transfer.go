package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

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
	dry, newKey            bool
}

func newHazardReceive() *cobra.Command {
	var r receiving
	c := &cobra.Command{
		Use: "receive PACK", Short: "Take in a transfer pack of the maker, or the answers of those who deploy the system", Args: cobra.ExactArgs(1),
		Long: "Checks the signature first: an altered pack is refused, with the part and the bytes that were altered, and\n" +
			"so is one that another key signed, with its name. The first pack of a maker begins your organisation's\n" +
			"log, in which every rating is proposed and every transfer waits for \"matron hazard answer\". A later one\n" +
			"says which hazards you accepted have changed. What is new comes in, a transfer whose terms changed is\n" +
			"offered again, and each changed hazard gets a review; your words and ratings stay. A log that was begun\n" +
			"with \"matron hazard derive\" is updated likewise.\n\n" +
			"Answers (\"matron hazard reply\") go into the log whose version they answer: exit code 5 when they are to\n" +
			"other words than it transferred, or signed with another key than the last ones of that log.",
		Example: "  matron hazard receive matron-1.4.pack --from maker.key.pub --id rba --organisation \"Example NHS Trust\"\n" +
			"  matron hazard receive matron-1.5.pack --from maker.key.pub --dry-run\n" +
			"  matron hazard receive rba-1.5.answers --from rba.key.pub",
	}
	c.Flags().StringVarP(&r.config, "config", "c", "matron.yaml", "configuration file")
	c.Flags().StringVar(&r.from, "from", "", "file of the public key of who made it")
	c.Flags().StringVar(&r.id, "id", "", "first pack: name of the new log, for example your ODS code in lower case")
	c.Flags().StringVar(&r.organisation, "organisation", "", "first pack: whose log it is")
	c.Flags().BoolVar(&r.newKey, "new-key", false, "answers: you have made sure that the key is theirs, although another one signed their answers before")
	c.Flags().BoolVar(&r.dry, "dry-run", false, "only say what it would do")
	_ = c.MarkFlagRequired("from") // fails only for a flag that is not there
	c.RunE = func(c *cobra.Command, args []string) error {
		text, key, err := r.read(args[0])
		if err != nil {
			return failure{exitFailure, err}
		}
		if transfer.IsReply(text) {
			return r.answers(c, args[0], text, key)
		}
		pack, upstream, err := transfer.Open(text, key)
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

// read reads a pack and the public key of who is said to have made it.
func (r *receiving) read(path string) ([]byte, note.Verifier, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, nil, err
	}
	public, err := os.ReadFile(r.from)
	if err != nil {
		return nil, nil, err
	}
	key, err := merkle.ParseVerifier(public)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.from, err)
	}
	return text, key, nil
}

// answers takes answers into the log that asked.
func (r *receiving) answers(c *cobra.Command, path string, text []byte, key note.Verifier) error {
	reply, err := transfer.OpenReply(text, key)
	if err != nil {
		return failure{exitIntegrity, fmt.Errorf("%s: %w", path, err)}
	}
	r.log = reply.Of.Log
	return r.with(c, func() error {
		reply.ID = r.current.NextID("A")
		if r.newKey {
			reply = r.current.Theirs(reply)
		}
		change := hazardlog.Change{Act: hazardlog.Raise, Value: reply, Why: "signed with " + reply.Key}
		if _, _, err := r.current.Record(time.Now(), hazardlog.Actor{Issuer: "os", Account: "rehearsal"}, rehearsed, change); err != nil {
			return failure{exitIntegrity, fmt.Errorf("%s: %w", path, err)}
		}
		printAnswers(c.OutOrStdout(), reply)
		if r.dry {
			return nil
		}
		return r.change(c, signs{}, change)
	})
}

// rehearsed is the id of an event that is not kept.
func rehearsed() string { return "rehearsed" }

func printAnswers(out io.Writer, r hazardlog.Reply) {
	_, _ = fmt.Fprintln(out, r)
	for _, t := range r.Answers {
		if t.State != hazardlog.Offered {
			_, _ = fmt.Fprintf(out, "%s  %s %s  %s\n", t.ID, t.Hazard, t.Control, t.Answer())
		}
	}
}

func newHazardReply() *cobra.Command {
	var b book
	var out, key string
	c := &cobra.Command{
		Use: "reply", Short: "Make the signed pack of your answers, for the maker", Args: cobra.NoArgs,
		Long: "The pack says of each control and condition that was transferred to you whether your officer accepted or\n" +
			"declined it, and why, and names the version that it answers. The maker takes it in with \"matron hazard\n" +
			"receive\" and your public key, which they must have from you by another way. Make another one whenever\n" +
			"you have answered more: the newest counts.",
		Example: "  matron hazard reply --out rba-1.4.answers --key rba.key",
	}
	b.flags(c)
	c.Flags().StringVarP(&out, "out", "o", "", "file to write, which must not be there yet")
	c.Flags().StringVar(&key, "key", "", "file of the secret key that signs it, as \"matron hazard key\" makes")
	_ = errors.Join(c.MarkFlagRequired("out"), c.MarkFlagRequired("key")) // fail only for flags that are not there
	c.RunE = func(c *cobra.Command, _ []string) error {
		signer, err := readSigner(key)
		if err != nil {
			return err
		}
		return b.with(c, func() error {
			text, reply, err := transfer.MakeReply(b.current, signer, time.Now())
			if err != nil {
				return err
			}
			printAnswers(c.OutOrStdout(), reply)
			return writeNew(out, text)
		})
	}
	return c
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
	before, err := r.before(c.Context(), taken)
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

// before is the upstream log as it was taken before: from the pack that was kept or,
// where this log was derived without one, from the log beside it.
func (r *receiving) before(ctx context.Context, taken *hazardlog.Origin) (hazardlog.Log, error) {
	path := r.packFile(taken.SHA256)
	text, err := os.ReadFile(path) //nolint:gosec // in the data folder
	switch {
	case errors.Is(err, os.ErrNotExist):
		beside, err := r.store.Log(ctx, taken.Log)
		if err != nil {
			return hazardlog.Log{}, err
		}
		return beside.Held(taken.SHA256, r.current.Events()[0].At)
	case err != nil:
		return hazardlog.Log{}, err
	}
	l, err := transfer.Kept(text, taken.SHA256)
	if err != nil {
		return hazardlog.Log{}, fmt.Errorf("%s, the pack of version %s that was taken in before: %w", path, taken.Version, err)
	}
	return l, nil
}
