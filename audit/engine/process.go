package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// process is one child.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer     // closing it ends the child
	gone  chan struct{} // closed when the child has ended
	err   error         // how it ended; read after gone
}

// launchUntil starts children until one answers or the time is up. The first
// may fail because the engine of a gateway that was just killed still holds the
// lock on the data.
func (e *Engine) launchUntil(ctx context.Context) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.StartTimeout)
	defer cancel()
	pause := e.cfg.BackOff
	for {
		c, err := e.launch(ctx)
		if err == nil || errors.Is(err, ErrLibrary) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-e.stop:
			return nil, err
		case <-time.After(pause):
			pause = e.longer(pause)
		}
	}
}

// launch starts one child and waits until it answers.
func (e *Engine) launch(ctx context.Context) (*process, error) {
	if err := e.writeFiles(); err != nil {
		return nil, err
	}
	c, err := e.spawn()
	if err != nil {
		return nil, err
	}
	if err := e.waitReady(ctx, c); err != nil {
		_ = e.end(c) // the reason why it did not start is what counts
		return nil, err
	}
	if err := e.announce(); err != nil {
		_ = e.end(c)
		return nil, err
	}
	e.mu.Lock()
	e.pid = c.cmd.Process.Pid
	e.mu.Unlock()
	return c, nil
}

func (e *Engine) spawn() (*process, error) {
	logFile, err := os.OpenFile(e.logPath(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open engine log: %w", err)
	}
	defer logFile.Close()                                                                                                                 //nolint:errcheck // the child has its own descriptor
	order, err := json.Marshal(order{Library: e.cfg.Library, Dir: e.cfg.Dir, Addr: e.Addr(), Password: e.password, Native: e.cfg.Native}) //nolint:gosec // it goes through a pipe
	if err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	cmd := exec.Command(e.cfg.Executable, e.cfg.Args...) //nolint:gosec,noctx // our own binary; it ends through its standard input
	cmd.Dir = e.cfg.Dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.cfg.Dir, "TZ=UTC", "LC_ALL=C.UTF-8"}
	cmd.Stdout, cmd.Stderr = logFile, logFile
	// A Ctrl-C in the terminal goes to the gateway, which ends the engine last.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	c := &process{cmd: cmd, stdin: stdin, gone: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		close(c.gone)
	}()
	// A child that cannot read its order ends at once, which waitReady reports.
	_, _ = stdin.Write(append(order, '\n'))
	return c, nil
}

// waitReady asks until the engine answers a question as the real user.
func (e *Engine) waitReady(ctx context.Context, c *process) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w within %s: %s", ErrStart, e.cfg.StartTimeout, e.lastWords())
		case <-e.stop:
			return fmt.Errorf("%w: it is being closed", ErrStart)
		case <-c.gone:
			return e.startError()
		case <-tick.C:
			if ask(ctx, e.Addr(), e.password, "SELECT 1") == nil {
				return nil
			}
		}
	}
}

func (e *Engine) startError() error {
	words := e.lastWords()
	if strings.Contains(words, "UNSUPPORTED_METHOD") {
		return fmt.Errorf("%w: this one is too old to listen, version 26.7 or later is needed", ErrLibrary)
	}
	if strings.Contains(words, libraryMark) {
		return fmt.Errorf("%w: %s", ErrLibrary, words)
	}
	return fmt.Errorf("%w: %s", ErrStart, words)
}

// end closes the child's standard input, waits, and kills it if need be.
func (e *Engine) end(c *process) error {
	_ = c.stdin.Close() // the child may have closed it by ending
	select {
	case <-c.gone:
	case <-time.After(e.cfg.StopTimeout):
		_ = c.cmd.Process.Kill() // it may have ended meanwhile
		<-c.gone
		return fmt.Errorf("engine did not stop within %s and was killed", e.cfg.StopTimeout)
	}
	return nil
}

// supervise owns the child: it starts a new one whenever it dies, until Close.
func (e *Engine) supervise(c *process) {
	defer close(e.done)
	defer e.release()
	ctx := context.Background()
	for {
		select {
		case <-e.stop:
			err := e.end(c)
			e.mu.Lock()
			e.closeErr = err
			e.mu.Unlock()
			return
		case <-c.gone:
		}
		e.died(ctx, c)
		if c = e.revive(ctx); c == nil {
			return
		}
	}
}

func (e *Engine) died(ctx context.Context, c *process) {
	_ = c.stdin.Close() // its reader is gone
	reason := c.err
	if reason == nil {
		reason = errors.New("exit status 0")
	}
	e.mu.Lock()
	e.restarts++
	e.lastExit = fmt.Errorf("%w: %w: %s", ErrExit, reason, e.lastWords())
	err := e.lastExit
	e.mu.Unlock()
	e.cfg.Log.ErrorContext(ctx, "engine ended unexpectedly; starting it again", slog.String("error", err.Error()))
}

// revive starts a new child, however long it takes. It returns nil when the
// engine is being closed.
func (e *Engine) revive(ctx context.Context) *process {
	pause := e.cfg.BackOff
	for {
		select {
		case <-e.stop:
			return nil
		case <-time.After(pause):
		}
		pause = e.longer(pause)
		c, err := e.launchUntil(ctx)
		if err == nil {
			e.cfg.Log.InfoContext(ctx, "engine is up again")
			return c
		}
		e.cfg.Log.ErrorContext(ctx, "engine cannot be started again", slog.String("error", err.Error()))
	}
}

func (e *Engine) longer(pause time.Duration) time.Duration {
	return min(2*pause, 64*e.cfg.BackOff)
}

func (e *Engine) logPath() string { return filepath.Join(e.cfg.Dir, "engine.log") }

// lastWords says in code words why the engine ended. The full text may quote a
// query and with it a patient, so that it stays in the engine's own log.
func (e *Engine) lastWords() string {
	b, err := os.ReadFile(e.logPath())
	if err != nil {
		return "it left no log"
	}
	if i := strings.Index(string(b), libraryMark); i >= 0 {
		line, _, _ := strings.Cut(string(b)[i:], "\n")
		return line
	}
	if m := regexp.MustCompile(`Code: (\d+)\.[\s\S]*?\(([A-Z_]+)\)`).FindSubmatch(b); m != nil {
		return fmt.Sprintf("code %s, %s (see %s)", m[1], m[2], e.logPath())
	}
	return "see " + e.logPath()
}

// ask sends one statement over HTTP as the real user and discards the answer.
func ask(ctx context.Context, addr, password, query string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/", strings.NewReader(query))
	if err != nil {
		return fmt.Errorf("ask engine: %w", err)
	}
	req.SetBasicAuth(userName, password)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask engine: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // only the status counts
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask engine: status %d", resp.StatusCode)
	}
	return nil
}
