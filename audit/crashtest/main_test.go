// Package crashtest crashes the journal, the shipper and the ClickHouse engine
// in every way a machine can and looks at what is left: kill -9, every file
// call failing in turn, a damaged tail, power cuts.
//
// It holds tests only and uses the packages under test as anybody would. Each
// family of trials is also run against planted bugs, which it must catch:
// docs/crash-trials.md has the table. The tests run one after the other.
package crashtest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"

	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/engine/enginetest"
)

// full asks for every trial instead of the sample that continuous integration
// runs, and trials for how many power cuts where there is no such thing as every.
var (
	full   = flag.Bool("full", false, "every trial instead of a sample")
	trials = flag.Int("trials", 50, "how many power cuts with -full")
	seed   = flag.Uint64("seed", 1, "which sample")
)

// TestMain also makes the test binary the process that is killed: see drivers.
func TestMain(m *testing.M) {
	if enginetest.IsChild() {
		os.Exit(engine.Child(os.Stdin, os.Stderr))
	}
	if len(os.Args) > 1 {
		if work, ok := drivers()[os.Args[1]]; ok {
			work(os.Args[2:])
			return
		}
	}
	if os.Geteuid() == 0 && os.Getenv(apart) == "" {
		os.Exit(runApart())
	}
	code := m.Run()
	if testing.Verbose() {
		fmt.Print(printed(table))
	}
	os.Exit(code)
}

// apart tells the tests that they run in a mount namespace of their own.
const apart = "MATRON_TEST_APART"

// runApart runs the tests in a mount namespace and a temporary folder of their
// own, so that file systems and loop devices go with them however they end: the
// end of the tests, Ctrl-C, a panic or kill -9.
func runApart() int {
	runtime.LockOSThread() // the child is killed when this thread ends
	dir, err := os.MkdirTemp("", "matron-crash-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // nothing more can be done
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	cmd := exec.Command(os.Args[0], os.Args[1:]...) //nolint:noctx // it ends with this process
	cmd.Env = append(os.Environ(), apart+"=1", "TMPDIR="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() {
		<-stop
		_ = cmd.Process.Kill() // it may have ended by itself
	}()
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
