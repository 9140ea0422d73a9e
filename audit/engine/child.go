package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
)

// order is the first line on the child's standard input.
type order struct {
	Library  string `json:"library"`
	Dir      string `json:"dir"`
	Addr     string `json:"addr"`
	Password string `json:"password"`
	Native   bool   `json:"native"`
}

// libraryMark begins the line that says that the library cannot be loaded.
const libraryMark = "engine library: "

// grace is how long the engine may take to end once its query is cancelled.
const grace = 5 * time.Second

// askAgain is how long it is given before it is asked again.
const askAgain = 100 * time.Millisecond

// The engine serves for as long as its query sleeps.
const (
	listenHTTP   = "SYSTEM START LISTEN HTTP; "
	listenNative = "SYSTEM START LISTEN TCP; "
	sleep        = "SELECT sleepEachRow(0.2) FROM numbers(4000000000) " +
		"SETTINGS max_block_size=1, function_sleep_max_microseconds_per_block=0 FORMAT Null"
)

// Child is the life of the child process: it reads its order from stdin, runs
// the engine, and returns the exit code once stdin is closed, which the kernel
// does when the parent dies. The caller must exit with that code at once.
func Child(stdin io.Reader, stderr io.Writer) int {
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	var o order
	if err == nil {
		err = json.Unmarshal(line, &o)
	}
	if err != nil {
		say(stderr, "engine child: no order: "+err.Error())
		return 2
	}
	query, err := load(o.Library)
	if err != nil {
		say(stderr, libraryMark+err.Error())
		return 2
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		query(commandLine(o))
	}()
	parentGone := make(chan struct{})
	go func() {
		defer close(parentGone)
		_, _ = io.Copy(io.Discard, in) // an error means the same as the end
	}()
	select {
	case <-ended:
		return 1
	case <-parentGone:
		return finish(o, ended)
	}
}

func say(w io.Writer, line string) { _, _ = fmt.Fprintln(w, line) } // nowhere to report to

// finish cancels the sleeping query, which ends the engine in good order. It
// asks again until that works: an engine that is still starting does not listen
// yet. One that hangs is left behind: every acknowledged insert is on disk.
func finish(o order, ended <-chan struct{}) int {
	late := time.After(grace)
	for {
		_ = ask(context.Background(), o.Addr, o.Password, "KILL QUERY WHERE user = '' ASYNC")
		select {
		case <-ended:
			return 0
		case <-late:
			return 3
		case <-time.After(askAgain):
		}
	}
}

func commandLine(o order) []string {
	query := listenHTTP
	if o.Native {
		query += listenNative
	}
	return []string{
		"clickhouse-local",
		"--config-file", filepath.Join(o.Dir, "config.xml"),
		"--path", filepath.Join(o.Dir, "data"),
		"--query", query + sleep,
	}
}

// load opens the library and returns its command line entry point.
func load(path string) (func(args []string), error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	symbol, err := purego.Dlsym(handle, "chdb_query_cmdline")
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	var entry func(argc int32, argv unsafe.Pointer) uintptr
	purego.RegisterFunc(&entry, symbol)
	return func(args []string) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		argv, pin := cStrings(args)
		defer pin.Unpin()
		entry(int32(len(args)), unsafe.Pointer(&argv[0])) //nolint:gosec // a handful of arguments, pinned until it returns
	}, nil
}

// cStrings lays out args as C expects them: zero-terminated, a nil at the end,
// and unmoved until unpinned.
func cStrings(args []string) ([]*byte, *runtime.Pinner) {
	pin := new(runtime.Pinner)
	argv := make([]*byte, 0, len(args)+1)
	for _, a := range args {
		b := append([]byte(a), 0)
		pin.Pin(&b[0])
		argv = append(argv, &b[0])
	}
	argv = append(argv, nil)
	pin.Pin(&argv[0])
	return argv, pin
}
