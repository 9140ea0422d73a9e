package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/peer"
	"github.com/matron-epr/matron/cmd/matron/config"
)

const (
	// probeEvery is the shortest pause between probes of a disk that failed.
	probeEvery = time.Second
	// archiveEvery is how often verified segments are compressed.
	archiveEvery = time.Minute
)

func (p paths) archive() string { return filepath.Join(p.dir, "archive") }
func (p paths) peers() string   { return filepath.Join(p.dir, "peers") }

// ArchiveDir is the folder of a gateway's compressed segments.
func ArchiveDir(c config.Config) string {
	if c.Journal.Archive != "" {
		return c.Journal.Archive
	}
	return paths{c.DataDir}.archive()
}

// JournalDirs are the folders of a gateway's journal that are there: the primary,
// the second one, the archive.
func JournalDirs(c config.Config) []string {
	dirs := []string{JournalDir(c)}
	for _, dir := range []string{c.Journal.Second.Dir, ArchiveDir(c)} {
		if _, err := os.Stat(dir); dir != "" && err == nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// withPlaces adds to the journal's configuration what happens when its disk
// fails or is full (GW-12).
func withPlaces(jc journal.Config, c config.Config) (journal.Config, error) {
	j := c.Journal
	jc.AppendTimeout, jc.Emergency, jc.ProbeEvery = j.AppendTimeout, int64(j.Emergency), probeEvery
	jc.Archive, jc.KeepPlain, jc.SameDevice = ArchiveDir(c), j.KeepPlain, j.Second.SameDevice
	if j.Archive == "" { // one that the operator names may be a mount point
		if err := os.Mkdir(jc.Archive, 0o700); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.EROFS) {
			return jc, fmt.Errorf("make archive folder: %w", err)
		}
	}
	if j.Second.Dir != "" {
		jc.Second = append(jc.Second, journal.NewDir(j.Second.Dir))
	}
	if p := j.Second.Peer; p.Name != "" {
		t, err := peer.Files{Certificate: p.CertificateFile, Key: p.KeyFile, CA: p.CAFile}.TLS()
		if err != nil {
			return jc, err
		}
		place, err := peer.New(peer.Config{Name: p.Name, Address: p.Address, TLS: t})
		if err != nil {
			return jc, err
		}
		jc.Second = append(jc.Second, place)
	}
	return jc, nil
}

// peerService keeps records for other gateways. nil keeps none.
type peerService struct {
	store    *peer.Server
	server   *http.Server
	listener net.Listener
	served   chan struct{} // closed when server has ended
	// Mux is served to gateways on the list and nobody else.
	Mux *http.ServeMux
}

// openPeers starts the service where the configuration asks for it. Care does not
// wait for it: should it end, that is logged.
func openPeers(ctx context.Context, c config.Config, log *slog.Logger) (_ *peerService, err error) {
	p := c.Peers
	if p.Listen == "" {
		return nil, nil // no service is no error
	}
	t, err := peer.Files{Certificate: p.CertificateFile, Key: p.KeyFile, CA: p.CAFile}.TLS()
	if err != nil {
		return nil, err
	}
	s := &peerService{Mux: http.NewServeMux()}
	s.store, err = peer.NewServer(peer.ServerConfig{Dir: paths{c.DataDir}.peers(), Allow: p.Allow, MaxBytes: int64(p.MaxBytes), Log: log})
	if err != nil {
		return nil, err
	}
	s.store.Register(s.Mux)
	s.server = peer.NewHTTPServer(s.Mux)
	s.server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	var lc net.ListenConfig
	if s.listener, err = lc.Listen(ctx, "tcp", p.Listen); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for peers: %w", err), s.store.Close())
	}
	s.served = make(chan struct{})
	go func() { // before the journal is opened: two gateways may wait for each other
		defer close(s.served)
		if err := closed(s.server.Serve(tls.NewListener(s.listener, t))); err != nil {
			log.LogAttrs(context.WithoutCancel(ctx), slog.LevelError, "records of peers are not kept any more", slog.String("error", err.Error()))
		}
	}()
	return s, nil
}

// close stops the service and waits for it.
func (s *peerService) close() error {
	if s == nil {
		return nil
	}
	err := s.server.Close()
	<-s.served
	return errors.Join(err, s.store.Close())
}

// archive compresses segments whose records have been counted in ClickHouse,
// until ctx ends. Care does not wait for it: an error is logged.
func (g *Gateway) archive(ctx context.Context) error {
	tick := time.NewTicker(archiveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := g.journal.Archive(g.office.status().Verified)
		if err == nil {
			err = g.publishArchiveKey()
		}
		if err != nil {
			g.log.LogAttrs(ctx, slog.LevelError, "segments are not archived", slog.String("error", err.Error()))
		}
	}
}

// publishArchiveKey puts the public key beside the archive, which can then be
// verified by itself.
func (g *Gateway) publishArchiveKey() error {
	text, err := os.ReadFile(PublicKeyFile(g.cfg))
	if err != nil {
		return err
	}
	path := filepath.Join(ArchiveDir(g.cfg), PublicKeyName)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return replaceFile(path, text)
}

// recordNote says on /readyz where records are written when that is not as it
// should be.
func recordNote(s journal.Stats) string {
	switch {
	case s.Emergency:
		return "the disk is full: records use the room kept for emergencies"
	case s.Second:
		return "the first disk takes no writes: records are in a second place"
	case len(s.Unwell) > 0:
		return "a second place for records is not usable: see the log"
	}
	return ""
}
