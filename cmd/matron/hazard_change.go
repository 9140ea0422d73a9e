package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/cmd/matron/gateway"
	"github.com/matron-epr/matron/hazardlog"
)

// signs is what commands need that only a clinical safety officer may give.
type signs struct{ officer, key string }

func (s *signs) flags(c *cobra.Command, always bool) {
	c.Flags().StringVar(&s.officer, "officer", "", "your name in hazard_log.officers")
	c.Flags().StringVar(&s.key, "key", "", "file of your secret key")
	c.MarkFlagsRequiredTogether("officer", "key")
	if always {
		_ = c.MarkFlagRequired("officer") // fails only for a flag that is not there
	}
}

// who is the officer that the flags name, with a registration in force.
func (b *book) who(s signs) (gateway.Officer, error) {
	officers, err := gateway.Officers(b.cfg)
	if err != nil {
		return gateway.Officer{}, err
	}
	for _, o := range officers {
		switch {
		case o.Name != s.officer:
		case o.Key == nil:
			return gateway.Officer{}, fmt.Errorf("hazard_log.officers names no key_file for %s, who signs on the pages", o.Name)
		default:
			return o, nil
		}
	}
	return gateway.Officer{}, fmt.Errorf("%q is not among hazard_log.officers of the configuration", s.officer)
}

// keyProof lets an officer sign with the secret key: whoever has it is present.
type keyProof struct {
	file string
	key  note.Verifier
}

// Confirm implements hazardlog.Authenticator.
func (k keyProof) Confirm(_ context.Context, o hazardlog.Officer, text string) (hazardlog.Proof, error) {
	signer, err := readSigner(k.file)
	if err != nil {
		return hazardlog.Proof{}, err
	}
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return hazardlog.Proof{}, fmt.Errorf("sign: %w", err)
	}
	if _, err := note.Open(signed, note.VerifierList(k.key)); err != nil {
		return hazardlog.Proof{}, fmt.Errorf("the key in %s is not the one that hazard_log.officers names for %s", k.file, o.Name)
	}
	return hazardlog.Proof{Method: "key", Evidence: string(signed), At: time.Now().UTC().Truncate(time.Microsecond)}, nil
}

// account is who runs the command.
func (b *book) account() (hazardlog.Actor, error) {
	by, err := operator(b.cfg.DataDir)
	return hazardlog.Actor{Issuer: "os", Account: by}, err
}

// change makes changes, signed where an officer is named, and says what they did.
func (b *book) change(c *cobra.Command, s signs, changes ...hazardlog.Change) error {
	by, err := b.account()
	if err != nil {
		return err
	}
	if s.officer != "" {
		o, err := b.who(s)
		if err != nil {
			return err
		}
		text, err := hazardlog.Text(b.log, changes)
		if err != nil {
			return err
		}
		if by, err = by.Prove(c.Context(), o.Officer, keyProof{s.key, o.Key}, text, time.Now()); err != nil {
			return err
		}
	}
	return b.keep(c, by, changes...)
}

// keep stores changes by an actor and says what they did.
func (b *book) keep(c *cobra.Command, by hazardlog.Actor, changes ...hazardlog.Change) error {
	if len(changes) == 0 {
		_, err := fmt.Fprintln(c.OutOrStdout(), "Nothing is other than it was.")
		return err
	}
	if err := b.demandEvidence(c.Context(), by, changes); err != nil {
		return err
	}
	l, events, err := b.store.Change(c.Context(), b.log, by, changes...)
	if err != nil {
		return err
	}
	for _, e := range events {
		for _, line := range l.Describe(e) {
			_, _ = fmt.Fprintln(c.OutOrStdout(), line)
		}
	}
	return nil
}

func newHazardEdit() *cobra.Command {
	var b book
	var file, why string
	c := &cobra.Command{
		Use: "edit HAZARD", Short: "Change a hazard and its controls, in your editor or from a file", Args: cobra.ExactArgs(1),
		Long: "Opens the hazard as YAML in $VISUAL or $EDITOR, or reads --file. Mistakes are named by file, line and\n" +
			"column, and your text is kept. When somebody else was quicker, you are told who changed what, and\n" +
			"nothing is overwritten. A rating that you change is proposed until a clinician assesses it. Name no\n" +
			"patient and no member of staff.",
		Example: "  matron hazard edit GW-03 --why \"after the workshop of 20 November\"\n" +
			"  matron hazard edit GW-03 --file GW-03.yaml --why \"clearer\"",
	}
	b.flags(c)
	c.Flags().StringVarP(&file, "file", "f", "", "YAML, as \"matron hazard show --yaml\" prints it; - for standard input")
	c.Flags().StringVar(&why, "why", "", "why it is changed")
	_ = c.MarkFlagRequired("why") // fails only for a flag that is not there
	c.RunE = func(c *cobra.Command, args []string) error {
		return b.with(c, func() error {
			h, err := b.hazard(args[0])
			if err != nil {
				return err
			}
			return b.write(c, sheetOf(b.current, h), file, why)
		})
	}
	return c
}

func newHazardAdd() *cobra.Command {
	var b book
	var file, why, prefix string
	s := sheet{Status: string(hazardlog.Open)}
	c := &cobra.Command{
		Use: "add", Short: "Add a hazard, from flags, in your editor or from a file", Args: cobra.NoArgs,
		Long: "Takes the next id with the prefix; ids are never used again. With --name the hazard comes from the\n" +
			"flags, else from --file, else from your editor. Name no patient and no member of staff.",
		Example: "  matron hazard add --name \"A letter goes to an old address\" --effect \"...\" --hazard \"...\" --harm \"...\" --cause \"...\" --owner CSO\n" +
			"  matron hazard add --prefix RBA",
	}
	b.flags(c)
	c.Flags().StringVarP(&file, "file", "f", "", "YAML, as \"matron hazard show --yaml\" prints it; - for standard input")
	c.Flags().StringVar(&prefix, "prefix", "GW", "first part of the id")
	c.Flags().StringVar(&why, "why", "", "where the hazard was found")
	c.Flags().StringVar(&s.Name, "name", "", "what goes wrong, in a sentence")
	c.Flags().StringVar(&s.Effect, "effect", "", "what the system does")
	c.Flags().StringVar(&s.Hazard, "hazard", "", "what that means for care")
	c.Flags().StringVar(&s.Harm, "harm", "", "what may happen to a patient")
	c.Flags().StringArrayVar(&s.Causes, "cause", nil, "a cause; may be given again")
	c.Flags().StringArrayVar(&s.Conditions, "condition", nil, "normal or fault; may be given again")
	c.Flags().StringVar(&s.Owner, "owner", "", "who looks after it")
	c.MarkFlagsMutuallyExclusive("file", "name")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return b.with(c, func() error {
			s.ID = b.current.NextID(prefix)
			if s.Name != "" {
				return b.change(c, signs{}, s.changes(b.current, why)...)
			}
			return b.write(c, s, file, why)
		})
	}
	return c
}

// write takes what a person made of a sheet.
func (b *book) write(c *cobra.Command, s sheet, file, why string) error {
	by, err := b.account()
	if err != nil {
		return err
	}
	edited := file == ""
	text, file, err := b.written(c, s, file)
	if err != nil {
		return err
	}
	changes, err := readSheet(file, text, b.current, by, why)
	switch {
	case errors.Is(err, hazardlog.ErrConflict):
		return fmt.Errorf("%w\nYour text is in %s", err, file)
	case err != nil && edited:
		return failure{exitUsage, fmt.Errorf("%w\nmend that file and give it as --file", err)}
	case err != nil:
		return failure{exitUsage, err}
	}
	for _, change := range changes {
		if subject := change.Value.Subject(); subject.Kind == hazardlog.OfHazard && subject.ID != s.ID {
			return failure{exitUsage, fmt.Errorf("%s is about %s, not about %s", file, subject.ID, s.ID)}
		}
	}
	if err := b.keep(c, by, changes...); err != nil {
		return fmt.Errorf("%w\nYour text is in %s", err, file)
	}
	return nil
}

// written reads what a person wrote: from a file, or from their editor, whose file
// stays when something is wrong with it.
func (b *book) written(c *cobra.Command, s sheet, file string) (text []byte, name string, err error) {
	switch file {
	case "":
	case "-":
		text, err = io.ReadAll(io.LimitReader(c.InOrStdin(), 1<<20))
		return text, "standard input", err
	default:
		text, err = os.ReadFile(file) //nolint:gosec // the person names it
		return text, file, err
	}
	editor := os.Getenv("VISUAL")
	if editor == "" {
		editor = os.Getenv("EDITOR")
	}
	if editor == "" {
		return nil, "", errors.New("neither VISUAL nor EDITOR is set: set one, or give --file")
	}
	if text, err = s.encode(); err != nil {
		return nil, "", err
	}
	f, err := os.CreateTemp("", s.ID+"-*.yaml")
	if err != nil {
		return nil, "", err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, "", err
	}
	words := append(strings.Fields(editor), f.Name())
	cmd := exec.CommandContext(c.Context(), words[0], words[1:]...) //nolint:gosec // the person's own editor
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr()
	if err := cmd.Run(); err != nil {
		return nil, "", fmt.Errorf("%s: %w: nothing was changed", editor, err)
	}
	text, err = os.ReadFile(f.Name())
	return text, f.Name(), err
}
