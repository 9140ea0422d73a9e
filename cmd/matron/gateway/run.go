package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// Run serves until ctx ends or something that must not fail does. A signal on
// reload takes in a changed configuration and policy. The order of stopping:
// stop accepting, let requests in flight finish, stop the back office, write the
// stop record, close the stores.
func (g *Gateway) Run(ctx context.Context, reload <-chan os.Signal) (err error) {
	defer func() { err = errors.Join(err, g.close()) }()
	listener, admin, err := g.listen(ctx)
	if err != nil {
		return err
	}
	if err := g.record(ctx, g.lifecycle(audit.KindStart)); err != nil {
		return errors.Join(fmt.Errorf("record the start: %w", err), listener.Close(), admin.Close())
	}
	behind, stopBehind := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBehind()
	back, behind := errgroup.WithContext(behind)
	back.Go(func() error { return g.office.run(behind) })
	back.Go(func() error { return g.syslog.run(behind) })
	back.Go(func() error { return g.detection.run(behind) })
	back.Go(func() error { return g.signin.Run(behind) })
	back.Go(func() error { return g.emergency.Run(behind) })
	back.Go(func() error { return g.deliverNotices(behind) })
	back.Go(func() error { return g.explainEmergencies(behind) })
	back.Go(func() error { return g.probeEmergency(behind) })
	back.Go(func() error { return g.proxy.Run(behind) })
	back.Go(func() error { return g.heartbeat(behind) })
	back.Go(func() error { return g.disk.Run(behind) })
	back.Go(func() error { return g.clock.Run(behind) })
	back.Go(func() error { return g.bypass.Run(behind) })
	back.Go(func() error { return g.incident.Run(behind) })
	back.Go(func() error { return g.reportDaily(behind) })
	back.Go(func() error { return g.shadow.run(behind) })
	back.Go(func() error { return g.pollRules(behind) })
	if g.promotion != nil {
		back.Go(func() error { return g.promotion.Run(behind) })
	}
	back.Go(func() error { return g.archive(behind) })
	back.Go(func() error { return g.cosigning.run(behind) })
	back.Go(func() error { return g.drainSpool(behind) })
	back.Go(func() error { return g.publishHazards(behind) })
	back.Go(func() error { return g.measureIndicators(behind) })
	back.Go(func() error { return g.care.run(behind) })

	front, serving := errgroup.WithContext(ctx)
	server := proxy.NewServer(g.proxy, proxy.ServerConfig{})
	adminServer := g.adminServer()
	front.Go(func() error { return closed(server.Serve(listener, g.certs.TLSConfig())) })
	front.Go(func() error { return closed(adminServer.Serve(admin)) })
	front.Go(func() error { return g.reloadOn(serving, reload) })
	front.Go(func() error {
		select {
		case <-serving.Done():
		case <-behind.Done(): // something behind failed that must not
		}
		return g.drain(context.WithoutCancel(ctx), server, adminServer)
	})
	g.announce(listener, admin)
	err = front.Wait()
	stopBehind()
	err = errors.Join(err, back.Wait())
	// The stop is the last record, after the limit events that none counts yet.
	return errors.Join(err, g.proxy.Close(), g.journal.Add(g.lifecycle(audit.KindStop)))
}

func (g *Gateway) listen(ctx context.Context) (gateway, admin net.Listener, err error) {
	var lc net.ListenConfig
	if gateway, err = lc.Listen(ctx, "tcp", g.cfg.Listen.Address); err != nil {
		return nil, nil, fmt.Errorf("listen for staff: %w", err)
	}
	if admin, err = lc.Listen(ctx, "tcp", g.cfg.Admin.Address); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("listen for health checks: %w", err), gateway.Close())
	}
	return gateway, admin, nil
}

func (g *Gateway) announce(listener, admin net.Listener) {
	g.log.LogAttrs(context.Background(), slog.LevelInfo, "gateway ready",
		slog.String("address", listener.Addr().String()), slog.String("admin", admin.Addr().String()),
		slog.String("policy", g.policy.Revision()), slog.String("version", g.opts.Version))
	if g.opts.Ready != nil {
		g.opts.Ready(Addresses{Gateway: listener.Addr().String(), Admin: admin.Addr().String(), CAFile: g.certs.CAFile()})
	}
}

// drain finishes the requests in flight, then ends what is left: a write that
// has been sent must not lose its answer (GW-05).
func (g *Gateway) drain(ctx context.Context, server *proxy.Server, admin *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Listen.DrainTimeout)
	defer cancel()
	err := server.Shutdown(ctx)
	if err != nil {
		g.log.LogAttrs(ctx, slog.LevelWarn, "requests in flight were cut off", slog.Duration("after", g.cfg.Listen.DrainTimeout))
		err = server.Close()
	}
	return errors.Join(err, admin.Close())
}

// heartbeat writes a record each minute, so that silence is provable.
func (g *Gateway) heartbeat(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := g.journal.Add(&audit.Record{Time: g.now(), Kind: audit.KindHeartbeat}); err != nil {
			g.log.LogAttrs(ctx, slog.LevelError, "heartbeat not recorded", slog.String("error", err.Error()))
		}
	}
}

// lifecycle makes the record of a start or stop: which version, modes,
// configuration and policy were in force (GW-17).
func (g *Gateway) lifecycle(kind audit.Kind) *audit.Record {
	return &audit.Record{
		Time: g.now(), Kind: kind, PolicyRev: g.policy.Revision(),
		Detail: append(append([]string{"version=" + g.opts.Version}, modeDetail(*g.settings.Load())...), "config_sha256="+*g.hash.Load()),
	}
}

func closed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
