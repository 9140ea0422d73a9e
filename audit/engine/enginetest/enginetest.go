// Package enginetest gives tests a real engine. It is not for production code
// and it never skips: without the engine library a test fails and says what to
// do. Its functions are safe for concurrent use.
package enginetest

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit/engine"
)

// ChildArg is the argument under which a test binary is the engine's child:
//
//	func TestMain(m *testing.M) {
//		if enginetest.IsChild() {
//			os.Exit(engine.Child(os.Stdin, os.Stderr))
//		}
//		m.Run()
//	}
const ChildArg = "engine-child"

// IsChild reports whether this process is to be the engine's child.
func IsChild() bool { return len(os.Args) > 1 && os.Args[1] == ChildArg }

// Library finds the engine library: MATRON_CHDB, or node_modules of a folder
// above the test's.
func Library(tb testing.TB) string {
	tb.Helper()
	if path := os.Getenv("MATRON_CHDB"); path != "" {
		return path
	}
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		found, err := filepath.Glob(filepath.Join(dir, "node_modules", "@chdb", "lib-*", "libchdb.so"))
		if err != nil {
			tb.Fatal(err)
		}
		if len(found) > 0 {
			return found[0]
		}
		if dir == filepath.Dir(dir) {
			tb.Fatal("no ClickHouse engine library: run \"make deps\", or set MATRON_CHDB to the path of libchdb.so")
		}
	}
}

// Config is for an engine in dir whose child is the test binary.
func Config(tb testing.TB, dir string) engine.Config {
	tb.Helper()
	return engine.Config{
		Dir:     dir,
		Library: Library(tb),
		Args:    []string{ChildArg},
		BackOff: 20 * time.Millisecond,
		Log:     slog.New(slog.DiscardHandler),
	}
}

// Start runs an engine until the test ends.
func Start(tb testing.TB, cfg engine.Config) *engine.Engine {
	tb.Helper()
	e, err := engine.Start(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.Close(); err != nil {
			tb.Error(err)
		}
	})
	return e
}
