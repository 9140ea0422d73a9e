package witness

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"
)

// Files of the folder. NAME is the origin of a log, escaped as in a URL path.
const (
	keyName    = "witness.key" // the secret key; witness.key.pub is its public half
	lockName   = "lock"
	logKeys    = ".pub"        // NAME.pub: the keys of the log, one a line
	latestName = ".checkpoint" // NAME.checkpoint: what was cosigned last, a note
	forkName   = ".fork"       // NAME.fork: proof that the log has signed two histories
	nextSuffix = ".next"       // a file before it gets its name
)

// maxState bounds a state file.
const maxState = 2 * maxBody

// folder is the directory of a witness.
type folder struct {
	root *os.Root
	// fsync is (*os.File).Sync; tests let it fail and see its order.
	fsync func(*os.File) error
}

func openFolder(dir string) (folder, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return folder{}, fmt.Errorf("open witness: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return folder{}, fmt.Errorf("folder %s: %w: run chmod 700 on it", dir, ErrPrivate)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return folder{}, fmt.Errorf("open witness: %w", err)
	}
	return folder{root: root, fsync: (*os.File).Sync}, nil
}

func (d folder) path(name string) string { return filepath.Join(d.root.Name(), name) }

// lock takes the folder for this process until the file is closed or the process
// dies.
func (d folder) lock() (*os.File, error) {
	f, err := d.root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock witness: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("witness %s %w", d.root.Name(), ErrLocked)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// stage writes a file under a name that nobody reads, durably.
func (d folder) stage(name string, text []byte) error {
	f, err := d.root.OpenFile(name+nextSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := d.fsync(f); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// replace gives the file name new content: whoever reads it, also after a power
// cut, finds the old or the new content whole, and once replace has returned nil
// the new.
func (d folder) replace(name string, text []byte) error {
	if err := d.stage(name, text); err != nil {
		return fmt.Errorf("write %s: %w", d.path(name), err)
	}
	if err := d.root.Rename(name+nextSuffix, name); err != nil {
		return fmt.Errorf("write %s: %w", d.path(name), err)
	}
	return d.sync()
}

// create is replace for a file that must not be there: ErrExists.
func (d folder) create(name string, text []byte) error {
	if err := d.stage(name, text); err != nil {
		return fmt.Errorf("write %s: %w", d.path(name), err)
	}
	err := d.root.Link(name+nextSuffix, name)
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%s %w", d.path(name), ErrExists)
	}
	if err := errors.Join(err, d.root.Remove(name+nextSuffix)); err != nil {
		return err
	}
	return d.sync()
}

// sync makes names that were made or changed durable.
func (d folder) sync() error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	if err := d.fsync(f); err != nil {
		return errors.Join(fmt.Errorf("sync folder %s: %w", d.root.Name(), err), f.Close())
	}
	return f.Close()
}

func (d folder) read(name string) ([]byte, error) {
	info, err := d.root.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxState {
		return nil, damaged(d, name, fmt.Sprintf("it is larger than %d bytes", maxState))
	}
	return d.root.ReadFile(name)
}

// damaged names a state file that cannot be believed. It is never mended: a
// witness that forgets what it has signed can be made to sign a second history.
func damaged(d folder, name, what string) error {
	return fmt.Errorf("%w: %s: %s: do not mend or remove it, make a new witness with a new key (see docs/witness.md)", ErrState, d.path(name), what)
}

func stem(origin string) string { return url.PathEscape(origin) }

// keys are the keys of the log with the origin, in the order of its file.
func (d folder) keys(origin string) ([]Verifier, error) {
	name := stem(origin) + logKeys
	b, err := d.read(name)
	if err != nil {
		return nil, err
	}
	var keys []Verifier
	for i, line := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		v, err := NewVerifier(line, LogKey)
		if err != nil {
			return nil, damaged(d, name, fmt.Sprintf("line %d: %v", i+1, err))
		}
		if v.name != origin {
			return nil, damaged(d, name, fmt.Sprintf("line %d is a key of %s", i+1, v.name))
		}
		keys = append(keys, v)
	}
	return keys, nil
}

// origins are the logs of the folder.
func (d folder) origins() ([]string, error) {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), logKeys)
		if !ok || e.Name() == keyName+logKeys {
			continue
		}
		origin, err := url.PathUnescape(base)
		if err != nil || stem(origin) != base {
			return nil, damaged(d, e.Name(), "its name is no origin of a log")
		}
		all = append(all, origin)
	}
	slices.Sort(all)
	return all, nil
}

// latest is what a witness has cosigned last for a log.
type latest struct {
	Checkpoint
	at   time.Time // of the cosignature
	note []byte
}

// latest reads and verifies a state file: it must hold this witness's
// cosignature and, unless the tree is empty, a signature of the log.
func (d folder) latest(origin string, own Verifier, keys []Verifier) (latest, error) {
	name := stem(origin) + latestName
	b, err := d.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return latest{}, damaged(d, name, "it is missing")
	}
	if err != nil {
		return latest{}, err
	}
	n, err := note.Open(b, note.VerifierList(append(verifiers(keys), own)...))
	if err != nil {
		return latest{}, damaged(d, name, err.Error())
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return latest{}, damaged(d, name, err.Error())
	}
	if c.Origin != origin {
		return latest{}, damaged(d, name, "it is of the log "+c.Origin)
	}
	l := latest{Checkpoint: c, note: b}
	signed := c.Size == 0
	whole := n.Text + "\n"
	for _, s := range n.Sigs {
		raw, _ := base64.StdEncoding.DecodeString(s.Base64) // it has verified
		whole += fmt.Sprintf("— %s %s\n", s.Name, base64.StdEncoding.EncodeToString(raw))
		if s.Name != own.name || s.Hash != own.hash {
			signed = true
			continue
		}
		if l.at, err = CosignedAt(s); err != nil {
			return latest{}, damaged(d, name, err.Error())
		}
	}
	if whole != string(b) {
		return latest{}, damaged(d, name, "it is not as this program writes it")
	}
	if !signed || l.at.IsZero() {
		return latest{}, damaged(d, name, "a signature of the log or of this witness is missing")
	}
	return l, nil
}

func verifiers(keys []Verifier) []note.Verifier {
	all := make([]note.Verifier, len(keys))
	for i, k := range keys {
		all[i] = k
	}
	return all
}

// Create makes a witness: the folder dir with its key. It returns the public
// key, which the operators of logs are given.
func Create(dir, name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make witness: %w", err)
	}
	d, err := openFolder(dir)
	if err != nil {
		return "", err
	}
	defer func() { _ = d.root.Close() }()
	v, err := CreateKey(d.path(keyName), name, WitnessKey)
	if err != nil {
		return "", err
	}
	return v, d.sync()
}

// AddLog lets the witness of dir follow a log, from the empty tree on. A log
// that it follows already keeps its state, and a further key of it is an error
// unless rotate says that both keys are right. now is the time of the first
// cosignature, that of the empty tree.
func AddLog(dir string, key Verifier, rotate bool, now time.Time) error {
	d, err := openFolder(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.root.Close() }()
	own, err := readCosigner(d.path(keyName))
	if err != nil {
		return err
	}
	name := stem(key.name)
	if name == keyName {
		return fmt.Errorf("name %q %w of a log: the witness's own key file has it", key.name, ErrKey)
	}
	keys, err := d.keys(key.name)
	switch {
	case err == nil && slices.ContainsFunc(keys, func(k Verifier) bool { return k.String() == key.String() }):
		_, err := d.latest(key.name, own.v, keys)
		return err
	case err == nil && !rotate:
		return fmt.Errorf("log %s %w with another key: if its operator has told you of a new key, add it with --rotate", key.name, ErrExists)
	case err == nil:
		return d.replace(name+logKeys, fmt.Appendf(list(keys), "%s\n", key))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	// The state comes first: a log with a key and without state is refused.
	empty, err := note.Sign(&note.Note{Text: Checkpoint{Origin: key.name, Root: emptyRoot()}.text()}, own.at(seconds(now)))
	if err != nil {
		return fmt.Errorf("add log %s: %w", key.name, err)
	}
	if err := d.create(name+latestName, empty); err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	if _, err := d.latest(key.name, own.v, []Verifier{key}); err != nil {
		return err
	}
	return d.create(name+logKeys, list([]Verifier{key}))
}

func list(keys []Verifier) []byte {
	var b bytes.Buffer
	for _, k := range keys {
		fmt.Fprintln(&b, k)
	}
	return b.Bytes()
}

// seconds is the time as cosignatures state it.
func seconds(t time.Time) uint64 { return uint64(max(t.Unix(), 0)) }

// Status is what a witness knows of one log.
type Status struct {
	Origin string    `json:"origin"`
	Keys   []string  `json:"keys"`
	Size   int64     `json:"size"`
	Root   string    `json:"root"`
	At     time.Time `json:"cosigned_at"` // of the last cosignature; of the day the log was added while Size is 0
	// Fork names the file with proof that the log has signed two histories.
	Fork string `json:"fork,omitempty"`
}

// Show reads the state of the witness in dir, which may be serving: its public
// key and the logs it follows. A damaged file is an error that names it.
func Show(dir string) (string, []Status, error) {
	d, err := openFolder(dir)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = d.root.Close() }()
	own, err := readCosigner(d.path(keyName))
	if err != nil {
		return "", nil, err
	}
	origins, err := d.origins()
	if err != nil {
		return "", nil, err
	}
	all := []Status{}
	for _, origin := range origins {
		keys, err := d.keys(origin)
		if err != nil {
			return "", nil, err
		}
		l, err := d.latest(origin, own.v, keys)
		if err != nil {
			return "", nil, err
		}
		s := Status{Origin: origin, Size: l.Size, Root: l.Root.String(), At: l.at}
		for _, k := range keys {
			s.Keys = append(s.Keys, k.String())
		}
		if _, err := d.root.Stat(stem(origin) + forkName); err == nil {
			s.Fork = d.path(stem(origin) + forkName)
		}
		all = append(all, s)
	}
	return own.v.String(), all, nil
}
