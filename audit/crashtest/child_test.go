package crashtest

import (
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

// child is a driver that goes on until it is killed.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer // its end is the end of a driver whose parent died
	pid   chan int
	heard chan struct{} // a token for each line, as far as anybody waits
	ended chan error    // what is wrong with what it said
}

// start runs a driver, under strace when there are arguments for it. What it
// says goes to said, which nobody else may use until kill has returned.
func start(t *testing.T, said *told, traced []string, driver ...string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{exe}, driver...)
	if traced != nil {
		requireStrace(t)
		args = slices.Concat([]string{"strace", "-f", "-q", "-o", "/dev/null"}, traced, args)
	}
	c := &child{t: t, pid: make(chan int, 1), heard: make(chan struct{}, 1<<20), ended: make(chan error, 1)}
	c.cmd = exec.CommandContext(t.Context(), args[0], args[1:]...)
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said.pid = 0
	go func() {
		told := false
		c.ended <- said.listen(out, func() {
			if !told {
				told = true
				c.pid <- said.pid
			}
			select {
			case c.heard <- struct{}{}:
			default:
			}
		})
	}()
	return c
}

// until waits until the driver has said so many lines more, and then for a
// random moment.
func (c *child) until(lines int, most time.Duration) {
	c.t.Helper()
	limit := time.After(2 * time.Minute)
	for range lines {
		select {
		case <-c.heard:
		case err := <-c.ended:
			c.t.Fatalf("the driver ended by itself: %v", err)
		case <-limit:
			c.t.Fatal("the driver says nothing more")
		}
	}
	if most > 0 {
		time.Sleep(rand.N(most)) // any moment will do
	}
}

// kill ends the driver as a power cut does and takes in what it had said.
func (c *child) kill() {
	c.t.Helper()
	_ = syscall.Kill(<-c.pid, syscall.SIGKILL) // with its disk gone it may have ended by itself
	if err := <-c.ended; err != nil {
		c.t.Fatal(err)
	}
	_ = c.cmd.Wait() // killed
	_ = c.stdin.Close()
}
