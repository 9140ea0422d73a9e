package main

import (
	"crypto/rand"
	"fmt"
	"io"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit/detect/explain"
	"github.com/matron-epr/matron/audit/detect/learn"
	"github.com/matron-epr/matron/audit/feeds"
	"github.com/matron-epr/matron/audit/pseudonym"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// mine writes candidates for templates of the site, where they were asked for.
func (w *weighing) mine(c *cobra.Command, in learn.Input) error {
	if w.templates == "" {
		return nil
	}
	context, err := w.feeds(c)
	if err != nil {
		return err
	}
	found := learn.Mine(in, &context, w.support)
	if err := writeTemplates(w.templates, found); err != nil {
		return fmt.Errorf("write candidates: %w", err)
	}
	c.PrintErrf("%s: %d candidates\n", w.templates, len(found))
	return nil
}

// writeTemplates writes candidates as a file of templates of the site.
func writeTemplates(path string, found []learn.Candidate) error {
	file := explain.SiteFile{Templates: []explain.SiteTemplate{}}
	for i := range found {
		file.Templates = append(file.Templates, found[i].Template())
	}
	for _, p := range file.Validate() {
		return fmt.Errorf("%s: %s %s", path, p.Path, p.Text)
	}
	text, err := yaml.MarshalWithOptions(file, yaml.IndentSequence(true))
	if err != nil {
		return err
	}
	return putFile(path, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "# Candidates from what reviewers found justified, for a person to read: each is weak and\n# in shadow, and explains nothing until somebody turns it on.\n%s", text)
		return err
	})
}

// feeds reads what the hospital told. Nothing that names a person is looked at, so that
// a key that nobody keeps will do for a folder.
func (w *weighing) feeds(c *cobra.Command) (feeds.Context, error) {
	if w.folder == "" {
		key, err := gateway.Hasher(w.cfg)
		if err != nil {
			return feeds.Context{}, err
		}
		return readFeeds(c, feeds.Hasher{Hasher: key}, w.cfg.Detection)
	}
	files, err := folderFeeds(w.folder, nil)
	if err != nil {
		return feeds.Context{}, err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	hash, err := pseudonym.New(key)
	if err != nil {
		return feeds.Context{}, err
	}
	return readFeeds(c, feeds.Hasher{Hasher: hash}, files)
}
