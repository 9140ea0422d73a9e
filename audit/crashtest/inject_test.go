package crashtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/matron-epr/matron/audit/journal"
)

// faults are what strace does to a call: how it says so, to which calls it makes
// sense, and the words that an error must then contain.
func faults() []fault {
	return []fault{
		{"EIO", "error=EIO", fileCalls, "input/output error"},
		{"ENOSPC", "error=ENOSPC", "openat,pwrite64,fallocate,renameat,mkdirat,fdatasync", "no space left on device"},
		{"kill -9", "signal=SIGKILL", fileCalls, ""},
	}
}

type fault struct{ name, inject, calls, words string }

// target is the n-th call of a name, with what happens to it.
type target struct {
	call  string
	n     int
	fault string
}

// TestEveryFileCallFails lets each call that a journal and a ledger make on
// their files in the course of a short life fail, and kills the process at each.
// Afterwards everything acknowledged is there, and the rest is absent or whole.
func TestEveryFileCallFails(t *testing.T) {
	requireStrace(t)
	clean, err := injected(t, nil, target{}, fault{}, "")
	if err != nil {
		t.Fatal(err)
	}
	luck := rand.New(rand.NewPCG(*seed, 0))
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			r := begin(t, "every file call: "+f.name, "")
			hit := map[target]bool{}
			wanted, tries, enough := sample(clean, f, luck)
			for _, want := range wanted {
				for try := 0; try < tries && !hit[want] && !t.Failed(); try++ {
					calls, err := injected(t, hit, want, f, "")
					if err != nil {
						err = fmt.Errorf("%s of %s number %d: %w\n%s", f.name, want.call, want.n, err, around(calls))
					}
					r.trial(err)
				}
			}
			missed := slices.DeleteFunc(slices.Clone(wanted), func(w target) bool { return hit[w] })
			t.Logf("%d calls were hit; of the %d wanted all but %v", len(hit), len(wanted), missed)
			if len(hit) < enough {
				t.Errorf("only %d calls were hit, want %d", len(hit), enough)
			}
			planted(t, f)
		})
	}
}

// planted: a journal that acknowledges what it has not written yet, on a disk
// that fails from some write on.
func planted(t *testing.T, f fault) {
	t.Helper()
	begin(t, "every file call: "+f.name, "acknowledged before it was written").until(10, func(n int) error {
		_, err := injected(t, map[target]bool{}, target{"pwrite64", 2 + n%5, f.name}, f, "early")
		return err
	})
}

// sample chooses which calls of the clean run are to fail, how often each is
// tried until it is hit, and how many must be. With -full it is all of them that
// the fault concerns. Otherwise it is one of each name and a few more of those
// that write, tried once: which of them are hit is a matter of luck.
func sample(clean []call, f fault, luck *rand.Rand) (wanted []target, tries, enough int) {
	count := map[string]int{}
	for _, c := range clean {
		if slices.Contains(strings.Split(f.calls, ","), c.name) {
			count[c.name]++
			wanted = append(wanted, target{c.name, count[c.name], f.name})
		}
	}
	if *full {
		return wanted, 40, len(wanted) * 19 / 20
	}
	left := map[string]int{"fdatasync": 4, "pwrite64": 4, "openat": 3}
	luck.Shuffle(len(wanted), func(i, k int) { wanted[i], wanted[k] = wanted[k], wanted[i] })
	wanted = slices.DeleteFunc(wanted, func(w target) bool {
		n, named := left[w.call]
		if !named {
			n = 1
		}
		left[w.call] = n - 1
		return n <= 0
	})
	for i := range wanted {
		wanted[i].n = 1 + luck.IntN(wanted[i].n) // the first ones are hit most often
	}
	return wanted, 1, len(wanted) / 4
}

// injected runs the script with one call failing, notes what was hit, and
// checks what is left.
func injected(t *testing.T, hit map[target]bool, want target, f fault, variant string) ([]call, error) {
	t.Helper()
	dir := t.TempDir()
	inject := ""
	if f.inject != "" {
		inject = fmt.Sprintf("%s:%s:when=%d", want.call, f.inject, want.n)
	}
	if variant != "" {
		inject += "+" // and all that come after it
	}
	said, calls, err := strace(t, fileCalls, inject, journalPaths(dir), scriptDriver, dir, variant)
	struck := note(hit, calls, want, f)
	var killed *exec.ExitError
	switch {
	case errors.As(err, &killed) && killed.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL && struck && f.words == "":
	case err != nil:
		return calls, err
	case !said.done:
		return calls, errors.New("the driver ended before its time")
	case struck && len(said.refused) > 0 && !explained(said.refused, want, f):
		return calls, fmt.Errorf("no error says %q: %q", f.words, said.refused)
	case !struck && len(said.refused) > 0:
		return calls, fmt.Errorf("refused although nothing was injected: %q", said.refused)
	}
	return calls, said.check(dir)
}

// explained says whether an error that the driver met names the fault. A close
// that strace makes fail leaves the descriptor open and with it the lock, which
// a real one does not.
func explained(refused []string, want target, f fault) bool {
	text := strings.Join(refused, "\n")
	return strings.Contains(text, f.words) || want.call == "close" && strings.Contains(text, journal.ErrLocked.Error())
}

// note finds in the log which calls were hit, and reports whether any was.
func note(hit map[target]bool, calls []call, want target, f fault) bool {
	n, struck := 0, false
	for _, c := range calls {
		if c.name != want.call {
			continue
		}
		n++
		if c.injected || f.words == "" && !c.ended {
			hit[target{c.name, n, f.name}], struck = true, true
		}
	}
	return struck
}

// around is the end of the log, or what stands around the calls that were hit.
func around(calls []call) string {
	var b strings.Builder
	for i, c := range calls {
		near := i > len(calls)-4
		for k := max(0, i-3); k < min(len(calls), i+3); k++ {
			near = near || calls[k].injected
		}
		if near {
			fmt.Fprintf(&b, "%d %s(%.200s\n", i, c.name, c.args)
		}
	}
	return b.String()
}
