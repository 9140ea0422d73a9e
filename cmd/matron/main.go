// Command matron is the gateway and everything that goes with it: one binary,
// subcommands by task.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes, the same for every command.
const (
	exitOK        = 0
	exitFailure   = 1
	exitUsage     = 2
	exitConfig    = 3
	exitTests     = 4
	exitIntegrity = 5
)

// failure is an error that says which exit code it deserves.
type failure struct {
	code int
	err  error
}

func (f failure) Error() string { return f.err.Error() }
func (f failure) Unwrap() error { return f.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process: scripts in testdata call it too.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var f failure
	if !errors.As(err, &f) {
		f = failure{exitUsage, fmt.Errorf("%w\nSee \"matron --help\"", err)}
	}
	if text := f.Error(); text != "" {
		_, _ = fmt.Fprintln(stderr, "matron: "+strings.ReplaceAll(text, "\n", "\nmatron: "))
	}
	return f.code
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "matron",
		Short: "Security and audit gateway in front of an electronic patient record",
		Long: "Matron lets nobody past to the patient record without an identity, a decision\n" +
			"and a durable record.",
		Example: "  matron demo                              try it: a hospital on this machine\n" +
			"  matron init -c matron.yaml               make the journal, databases and keys\n" +
			"  matron check-config -c matron.yaml       find every mistake in the configuration\n" +
			"  matron serve -c matron.yaml              run the gateway\n" +
			"  matron audit who --patient P0042         who viewed this record?",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run the gateway:"},
		&cobra.Group{ID: "ask", Title: "Ask the record:"},
		&cobra.Group{ID: "rules", Title: "Rules and safety:"},
	)
	root.SetHelpCommandGroupID("ask")
	root.SetCompletionCommandGroupID("run")
	root.AddCommand(newServe(), newInit(), newCheckConfig(), newDemo(), newVersion(), newEngineChild(), newBypass(), newLimits())
	root.AddCommand(newAudit(), newPolicy(), newAppmap(), newHazard(), newAlerts(), newDetect(), newSimulate(), newWitness(), newObserve())
	return root
}
