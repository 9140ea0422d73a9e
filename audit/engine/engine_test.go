package engine_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/engine/enginetest"
)

// parentArg makes the test binary a gateway that starts an engine and waits.
const parentArg = "engine-parent"

func TestMain(m *testing.M) {
	if enginetest.IsChild() {
		os.Exit(engine.Child(os.Stdin, os.Stderr))
	}
	if len(os.Args) > 1 && os.Args[1] == parentArg {
		parent(os.Args[2], os.Args[3])
		return
	}
	m.Run()
}

func parent(dir, library string) {
	e, err := engine.Start(context.Background(), engine.Config{
		Dir: dir, Library: library, Args: []string{enginetest.ChildArg}, Log: discard(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.PID())
	select {}
}

// ask sends a statement and returns the status and the body.
func ask(t *testing.T, addr, user, password, query string) (int, string) {
	t.Helper()
	status, body, err := tryAsk(t, addr, user, password, query)
	if err != nil {
		t.Fatal(err)
	}
	return status, body
}

func tryAsk(t *testing.T, addr, user, password, query string) (int, string, error) {
	t.Helper()
	return send(t, addr, query, func(r *http.Request) { r.SetBasicAuth(user, password) })
}

// asDefault lists the ways to claim to be the passwordless account.
func asDefault() map[string]func(*http.Request) {
	return map[string]func(*http.Request){
		"unnamed":            func(*http.Request) {},
		"by basic":           func(r *http.Request) { r.SetBasicAuth("default", "") },
		"by header":          func(r *http.Request) { r.Header.Set("X-Clickhouse-User", "default") },
		"by parameter":       func(r *http.Request) { r.URL.RawQuery = "user=default" },
		"behind the real":    func(r *http.Request) { r.SetBasicAuth("matron", ""); r.URL.RawQuery = "user=default" },
		"by parameter, play": func(r *http.Request) { r.URL.Path = "/play"; r.URL.RawQuery = "user=default" },
	}
}

func send(t *testing.T, addr, query string, dress func(*http.Request)) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/", strings.NewReader(query))
	if err != nil {
		t.Fatal(err)
	}
	dress(req)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close() //nolint:errcheck // only the body counts
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(body)), err
}

func must(t *testing.T, e *engine.Engine, query string) string {
	t.Helper()
	status, body := ask(t, e.Addr(), e.User(), e.Password(), query)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", query, status, body)
	}
	return body
}

const durable = " ENGINE = MergeTree ORDER BY n SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"

func TestDataSurviveRestart(t *testing.T) {
	cfg := enginetest.Config(t, t.TempDir())
	first, err := engine.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	must(t, first, "CREATE DATABASE matron")
	must(t, first, "CREATE TABLE matron.t (n UInt64)"+durable)
	must(t, first, "INSERT INTO matron.t VALUES (7)")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tryAsk(t, first.Addr(), first.User(), first.Password(), "SELECT 1"); err == nil {
		t.Error("a closed engine still answers")
	}
	second := enginetest.Start(t, cfg)
	if got := must(t, second, "SELECT n FROM matron.t"); got != "7" {
		t.Errorf("after restart: %q, want 7", got)
	}
	if first.Password() == second.Password() {
		t.Error("the password is not made anew")
	}
}

func TestWrongPasswordIsRefused(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config(t, t.TempDir()))
	for _, c := range []struct{ user, password string }{
		{e.User(), ""}, {e.User(), "wrong"}, {e.User(), e.Password() + "x"}, {"somebody", e.Password()},
	} {
		status, body := ask(t, e.Addr(), c.user, c.password, "SELECT 1")
		if status == http.StatusOK {
			t.Errorf("user %q: %d %s", c.user, status, body)
		}
	}
	if got := must(t, e, "SELECT 1"); got != "1" {
		t.Errorf("the right password: %q", got)
	}
}

// The engine's own account has no password: every user of the machine can be it.
func TestDefaultUserReadsNothing(t *testing.T) {
	dir := t.TempDir()
	const secret = "9434765919"
	secretFile := filepath.Join(dir, "secret.txt")
	if err := os.WriteFile(secretFile, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	web, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("the engine went out to the network for the default user")
		_, _ = fmt.Fprintln(w, secret)
	})}
	go func() { _ = server.Serve(web) }()
	t.Cleanup(func() { _ = server.Close() })

	e := enginetest.Start(t, enginetest.Config(t, filepath.Join(dir, "engine")))
	must(t, e, "CREATE DATABASE db"+secret)
	must(t, e, "CREATE TABLE db"+secret+".t (n UInt64, s String)"+durable)
	must(t, e, "INSERT INTO db"+secret+".t VALUES (1, '"+secret+"')")

	url := "http://" + web.Addr().String()
	for _, query := range []string{
		"SELECT * FROM db" + secret + ".t",
		"SELECT count() FROM db" + secret + ".t",
		"INSERT INTO db" + secret + ".t VALUES (2, '')",
		"DROP TABLE db" + secret + ".t",
		"ALTER TABLE db" + secret + ".t DELETE WHERE 1",
		"CREATE TABLE default.x (n UInt64) ENGINE = Memory",
		"CREATE USER x",
		"GRANT SELECT ON *.* TO default",
		"SHOW DATABASES", "SHOW TABLES FROM db" + secret, "SHOW PROCESSLIST",
		"SELECT * FROM system.tables", "SELECT * FROM system.databases", "SELECT * FROM system.columns",
		"SELECT * FROM system.parts", "SELECT * FROM system.processes", "SELECT * FROM system.query_log",
		"SELECT * FROM system.users", "SELECT * FROM system.server_settings", "SELECT * FROM system.text_log",
		"SELECT * FROM system.query_cache", "SELECT * FROM system.dropped_tables", "SELECT * FROM system.errors",
		"SELECT * FROM system.mutations", "SELECT * FROM system.projections", "SELECT * FROM system.disks",
		"SELECT * FROM file('" + secretFile + "', LineAsString)",
		"SELECT * FROM file('/dev/stdin', LineAsString)",
		"SELECT * FROM url('" + url + "', LineAsString)",
		"SELECT * FROM remote('127.0.0.1', 'db" + secret + "', 't')",
		"SELECT * FROM merge('db" + secret + "', 't')",
		"SELECT * FROM executable('id', LineAsString, 'x String')",
		"SELECT * FROM s3('" + url + "/b/k', 'LineAsString')",
		"SELECT file('" + secretFile + "')",
		"INSERT INTO FUNCTION file('" + secretFile + "', LineAsString) VALUES ('x')",
		"SELECT 1 INTO OUTFILE '" + secretFile + "2'",
		"KILL QUERY WHERE 1",
		"SYSTEM SHUTDOWN", "SYSTEM KILL",
		"BACKUP DATABASE db" + secret + " TO File('x')",
	} {
		for way, dress := range asDefault() {
			status, body, err := send(t, e.Addr(), query, dress)
			if err != nil || status == http.StatusOK {
				t.Errorf("default, %s, may %s: %d %s (%v)", way, query, status, body, err)
			}
		}
	}
	if got := must(t, e, "SELECT s FROM db"+secret+".t"); got != secret {
		t.Errorf("the table holds %q now", got)
	}
	if b, err := os.ReadFile(secretFile); err != nil || string(b) != secret+"\n" {
		t.Errorf("the file holds %q now (%v)", b, err)
	}
}

func TestKilledEngineComesBack(t *testing.T) {
	cfg := enginetest.Config(t, t.TempDir())
	e := enginetest.Start(t, cfg)
	addr := e.Addr()
	must(t, e, "CREATE DATABASE matron")
	must(t, e, "CREATE TABLE matron.t (n UInt64)"+durable)
	must(t, e, "INSERT INTO matron.t VALUES (7)")
	for i := range uint64(2) {
		pid := e.PID()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the engine to come back", func() bool { return e.PID() != pid && e.Restarts() == i+1 })
		eventually(t, "the engine to answer", func() bool {
			status, body, err := tryAsk(t, e.Addr(), e.User(), e.Password(), "SELECT n FROM matron.t")
			return err == nil && status == http.StatusOK && body == "7"
		})
	}
	if e.Addr() != addr {
		t.Errorf("address changed from %s to %s", addr, e.Addr())
	}
	if !errors.Is(e.Err(), engine.ErrExit) {
		t.Errorf("Err is %v", e.Err())
	}
}

// While the engine is down nobody else gets its port, and with it the password.
func TestPortIsHeldWhileEngineIsDown(t *testing.T) {
	cfg := enginetest.Config(t, t.TempDir())
	cfg.BackOff = time.Hour
	e := enginetest.Start(t, cfg)
	if err := syscall.Kill(e.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the engine to be down", func() bool { return e.Restarts() == 1 })
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", e.Addr())
	if err == nil {
		_ = l.Close()
		t.Error("somebody else could listen on the engine's port")
	}
}

func TestChildDiesWithParent(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), exe, parentArg, dir, enginetest.Library(t))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(line)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "the engine to end with its parent", func() bool { return gone(pid) })
	// The next gateway gets the folder, even while the old engine is still ending.
	enginetest.Start(t, enginetest.Config(t, dir))
}

// gone reports whether a process has ended; a zombie that nobody waits for has.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}

func TestSecondEngineInSameFolderIsRefused(t *testing.T) {
	cfg := enginetest.Config(t, t.TempDir())
	e := enginetest.Start(t, cfg)
	cfg.StartTimeout = 3 * time.Second
	second, err := engine.Start(t.Context(), cfg)
	if !errors.Is(err, engine.ErrStart) {
		if err == nil {
			_ = second.Close()
		}
		t.Errorf("second engine: %v", err)
	}
	must(t, e, "SELECT 1")
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "engine")
	e := enginetest.Start(t, enginetest.Config(t, dir))
	modes := make(map[string]fs.FileMode)
	for _, name := range []string{".", "config.xml", "users.xml", "endpoint.json", "engine.log"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		modes[name] = info.Mode().Perm()
	}
	want := map[string]fs.FileMode{".": 0o700, "config.xml": 0o600, "users.xml": 0o600, "endpoint.json": 0o600, "engine.log": 0o600}
	if diff := cmp.Diff(want, modes); diff != "" {
		t.Error(diff)
	}
	got, err := engine.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(engine.Endpoint{Addr: e.Addr(), User: e.User(), Password: e.Password()}, got); diff != "" {
		t.Error(diff)
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", e.PID()))
	if err != nil {
		t.Fatal(err)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", e.PID()))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(cmdline)+string(environ), e.Password()) {
		t.Error("the password is on the command line or in the environment")
	}
}

func TestFindWithoutEngine(t *testing.T) {
	if _, err := engine.Find(t.TempDir()); !errors.Is(err, engine.ErrNotRunning) {
		t.Errorf("got %v", err)
	}
}

func TestUnusableLibrary(t *testing.T) {
	text := filepath.Join(t.TempDir(), "libchdb.so")
	if err := os.WriteFile(text, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, library := range map[string]string{"missing": text + "x", "text": text} {
		t.Run(name, func(t *testing.T) {
			cfg := enginetest.Config(t, t.TempDir())
			cfg.Library = library
			_, err := engine.Start(t.Context(), cfg)
			if !errors.Is(err, engine.ErrLibrary) || !strings.Contains(err.Error(), "make deps") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRunClosesWithItsContext(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config(t, t.TempDir()))
	pid := e.PID()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Run(ctx); err != nil {
		t.Error(err)
	}
	<-e.Done()
	if !gone(pid) {
		t.Error("the child is still there")
	}
}
