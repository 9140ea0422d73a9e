package crashtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fileCalls are the system calls that a journal or ledger makes on its files.
const fileCalls = "openat,pwrite64,fdatasync,fsync,fallocate,ftruncate,renameat,renameat2,unlinkat,close,pread64,read,getdents64,flock,fstat,newfstatat,mkdirat"

// call is one system call in strace's log.
type call struct {
	name     string
	args     string // up to and with the result
	injected bool   // it did not happen, or its result is not the kernel's
	ended    bool   // false: the process died in it
}

// requireStrace fails where trials cannot be made.
func requireStrace(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("these trials need strace: make test-deps, or apt-get install strace")
	}
}

// journalPaths are the names under dir that a driver may touch, for strace -P.
func journalPaths(dir string) []string {
	paths := []string{dir, filepath.Join(dir, "journal")}
	for _, name := range []string{"lock", "new.tmp", "blocks", "blocks.lock", "blocks.tmp"} {
		paths = append(paths, filepath.Join(dir, "journal", name))
	}
	for first := 1; first <= 40; first++ {
		paths = append(paths, filepath.Join(dir, "journal", fmt.Sprintf("%020d.seg", first)))
	}
	return paths
}

// strace runs a driver under strace and returns what it said and the calls it
// made, in the order in which they began. Only calls on paths are traced and
// injected, or all of them when there are none.
//
// strace counts when=N for each thread by itself, and Go moves goroutines from
// one to another. With more processors than it needs it does so rarely; which
// call was hit is read from the log and never assumed. --seccomp-bpf would be
// faster, but swallows injected signals.
func strace(t *testing.T, calls, inject string, paths []string, driver ...string) (*told, []call, error) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "strace.log")
	args := []string{"-f", "-y", "-q", "-s", "4096", "-o", log, "-e", "trace=" + calls}
	for _, p := range paths {
		args = append(args, "-P", p)
	}
	if inject != "" {
		args = append(args, "-e", "inject="+inject)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "strace", append(append(args, exe), driver...)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=4", "GOGC=off", "GODEBUG=asyncpreemptoff=1", "GORACE=atexit_sleep_ms=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, ended := cmd.Output()
	said := newTold()
	if err := said.listen(bytes.NewReader(out), func() {}); err != nil {
		return said, nil, err
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatalf("strace: %v: %s", ended, stderr.String())
	}
	if strings.Contains(stderr.String(), "panic:") || strings.Contains(stderr.String(), "fatal error:") {
		return said, parse(string(text)), fmt.Errorf("driver crashed: %s", stderr.String())
	}
	return said, parse(string(text)), ended
}

// parse reads strace's log. A call that another thread's interrupts is written
// in two parts.
func parse(log string) []call {
	whole := regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	resumed := regexp.MustCompile(`^(\d+) +<\.\.\. \w+ resumed>(.*)$`)
	var calls []call
	open := map[string]int{} // by thread: its call that has not ended
	for text := range strings.Lines(log) {
		text = strings.TrimSuffix(text, "\n")
		if m := resumed.FindStringSubmatch(text); m != nil {
			if i, ok := open[m[1]]; ok {
				calls[i].args += m[2]
				calls[i].end()
				delete(open, m[1])
			}
			continue
		}
		m := whole.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		c := call{name: m[2]}
		var unfinished bool
		if c.args, unfinished = strings.CutSuffix(m[3], " <unfinished ...>"); unfinished {
			open[m[1]] = len(calls)
		} else {
			c.end()
		}
		calls = append(calls, c)
	}
	return calls
}

func (c *call) end() {
	c.injected = strings.HasSuffix(c.args, "(INJECTED)")
	c.ended = !strings.HasSuffix(c.args, "= ?")
}

// ok says whether the call happened and succeeded.
func (c *call) ok() bool {
	return c.ended && !c.injected && c.args != "" && !strings.Contains(c.args[max(strings.LastIndex(c.args, " = "), 0):], " = -1")
}

// path is the file or folder of the call's first descriptor, after a rename its
// new name.
func (c *call) path() string {
	m := regexp.MustCompile(`^[\w]+<([^>]*)>`).FindStringSubmatch(c.args)
	if m == nil {
		return ""
	}
	return m[1]
}
