// Package crashtest crashes the journal, the shipper and the ClickHouse engine
// in every way a machine can and looks at what is left: kill -9, every file
// call failing in turn, a damaged tail, power cuts.
//
// It holds tests only and uses the packages under test as anybody would. Each
// family of trials is also run against planted bugs, which it must catch:
// docs/crash-trials.md has the table. The tests run one after the other.
package crashtest

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/engine/enginetest"
)

// full asks for every trial instead of the sample that continuous integration
// runs, and trials for how many where there is no such thing as every.
var (
	full   = flag.Bool("full", false, "every trial instead of a sample")
	trials = flag.Int("trials", 0, "how many power cuts; 0 means 4, or 50 with -full")
	seed   = flag.Uint64("seed", 1, "which sample")
)

// TestMain also makes the test binary the process that is killed: see drive.
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
	code := m.Run()
	if testing.Verbose() {
		fmt.Print(printed(table))
	}
	os.Exit(code)
}
