package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/matron-epr/matron/audit/witness"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/proxy/tlscert"
)

func newWitness() *cobra.Command {
	c := &cobra.Command{
		Use: "witness", Short: "Cosign the checkpoints of gateways that others run", GroupID: "run",
		Long: "A witness is a small program that somebody outside the hospital runs. It sees sizes and\n" +
			"hashes, never a record, and cosigns a gateway's checkpoints only while each extends the\n" +
			"one before: with a witness nobody can rewrite the audit record unseen, not even the\n" +
			"gateway's own administrator. docs/witness.md says how to run one in five minutes.",
	}
	c.AddCommand(newWitnessInit(), newWitnessAddLog(), newWitnessServe(), newWitnessShow())
	return c
}

// witnessFailure gives a witness's error its exit code.
func witnessFailure(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, witness.ErrState):
		return failure{exitIntegrity, err}
	case errors.Is(err, witness.ErrKey), errors.Is(err, witness.ErrPrivate):
		return failure{exitConfig, err}
	default:
		return failure{exitFailure, err}
	}
}

func witnessDir(c *cobra.Command, dir *string) {
	c.Flags().StringVarP(dir, "dir", "d", "witness", "folder of the witness")
}

func newWitnessInit() *cobra.Command {
	var dir, name string
	c := &cobra.Command{
		Use: "init --name NAME", Short: "Make a witness and its key", Args: cobra.NoArgs,
		Long: "Makes the folder with the witness's key pair and prints the public key, which the operators\n" +
			"of gateways are given. The name is an address-like label for people; nothing need answer\n" +
			"there. Nothing that exists is replaced. Never copy the folder to a second machine and never\n" +
			"put it back from a backup: a witness that forgets can be made to cosign a second history.",
		Example: "  matron witness init --dir /var/lib/witness --name witness.example.org/w1",
	}
	witnessDir(c, &dir)
	c.Flags().StringVar(&name, "name", "", "name of the key, for example witness.example.org/w1")
	_ = c.MarkFlagRequired("name")
	c.RunE = func(c *cobra.Command, _ []string) error {
		key, err := witness.Create(dir, name)
		if err != nil {
			return witnessFailure(err)
		}
		c.Printf("%s is ready. Its public key, for those whose logs it will follow:\n%s\n", dir, key)
		return nil
	}
	return c
}

func newWitnessAddLog() *cobra.Command {
	var dir string
	var rotate bool
	c := &cobra.Command{
		Use: "add-log KEYFILE", Short: "Follow the log of a gateway", Args: cobra.ExactArgs(1),
		Long: "Reads the public key of a gateway's log, one line NAME+HASH+KEY, and follows that log from the\n" +
			"next start of \"matron witness serve\" on. Get the key by a way that you trust.",
		Example: "  matron witness add-log --dir /var/lib/witness gw1.pub\n" +
			"  matron witness add-log --dir /var/lib/witness --rotate gw1-new.pub",
	}
	witnessDir(c, &dir)
	c.Flags().BoolVar(&rotate, "rotate", false, "trust this key besides those that the log has already")
	c.RunE = func(c *cobra.Command, args []string) error {
		key, err := witness.ReadVerifier(args[0], witness.LogKey)
		if err != nil {
			return witnessFailure(err)
		}
		if err := witness.AddLog(dir, key, rotate, time.Now()); err != nil {
			return witnessFailure(err)
		}
		c.Printf("%s is followed from the next start of the witness on\n", key.Name())
		return nil
	}
	return c
}

func newWitnessShow() *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use: "show", Short: "Show what was cosigned", Args: cobra.NoArgs,
		Long: "Verifies and prints the state: each log, its size, and when it was cosigned last. The witness\n" +
			"may be serving. Exit code 5 when a file is damaged, or a log was found with two histories.",
		Example: "  matron witness show --dir /var/lib/witness\n  matron witness show --dir /var/lib/witness --json",
	}
	witnessDir(c, &dir)
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		key, logs, err := witness.Show(dir)
		if err != nil {
			return witnessFailure(err)
		}
		if asJSON {
			err = json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"key": key, "logs": logs})
		} else {
			err = printWitness(c.OutOrStdout(), key, logs)
		}
		if err != nil {
			return failure{exitFailure, err}
		}
		for _, l := range logs {
			if l.Fork != "" {
				return failure{exitIntegrity, fmt.Errorf("%s has signed two histories: the proof is %s", l.Origin, l.Fork)}
			}
		}
		return nil
	}
	return c
}

func printWitness(out io.Writer, key string, logs []witness.Status) error {
	if _, err := fmt.Fprintln(out, "Key: "+key); err != nil {
		return err
	}
	if len(logs) == 0 {
		_, err := fmt.Fprintln(out, "No log is followed. Add one with \"matron witness add-log\".")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "LOG\tSIZE\tLAST COSIGNED\tROOT")
	for _, l := range logs {
		last := l.At.UTC().Format("2 January 2006 15:04:05 UTC")
		if l.Size == 0 {
			last = "never"
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", l.Origin, l.Size, last, l.Root)
	}
	return w.Flush()
}

// witnessing is one run of "matron witness serve".
type witnessing struct {
	dir, listen   string
	cert, key     string
	level, format string
}

func newWitnessServe() *cobra.Command {
	var s witnessing
	c := &cobra.Command{
		Use: "serve", Short: "Answer gateways that ask for cosignatures", Args: cobra.NoArgs,
		Long: "Serves POST /add-checkpoint (C2SP tlog-witness) until it is told to stop. TLS is required\n" +
			"unless the address is on this machine, for example behind a reverse proxy. SIGHUP reads the\n" +
			"certificate anew. One process at a time has the folder.",
		Example: "  matron witness serve --dir /var/lib/witness --listen :7380 --tls-cert cert.pem --tls-key key.pem\n" +
			"  matron witness serve --dir /var/lib/witness --listen 127.0.0.1:7380",
	}
	witnessDir(c, &s.dir)
	c.Flags().StringVar(&s.listen, "listen", "127.0.0.1:7380", "address, host:port")
	c.Flags().StringVar(&s.cert, "tls-cert", "", "certificate chain, PEM")
	c.Flags().StringVar(&s.key, "tls-key", "", "its key, PEM, mode 0600 or 0640")
	c.Flags().StringVar(&s.level, "log-level", "info", "debug, info, warn or error")
	c.Flags().StringVar(&s.format, "log-format", "text", "text or json")
	c.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	c.RunE = func(c *cobra.Command, _ []string) error { return s.run(c) }
	return c
}

func (s witnessing) run(c *cobra.Command) error {
	log := newLogger(c, config.Log{Level: s.level, Format: s.format})
	if s.cert == "" && !onLoopback(s.listen) {
		return failure{exitUsage, fmt.Errorf("--listen %s is not on this machine: give --tls-cert and --tls-key, or listen on 127.0.0.1", s.listen)}
	}
	w, err := witness.Open(witness.Config{Dir: s.dir, Now: time.Now, Log: log})
	if err != nil {
		return witnessFailure(err)
	}
	defer func() { _ = w.Close() }()
	listener, err := (&net.ListenConfig{}).Listen(c.Context(), "tcp", s.listen)
	if err != nil {
		return failure{exitFailure, err}
	}
	address := "http://" + listener.Addr().String()
	renew := func() error { return nil }
	if s.cert != "" {
		certificate, err := tlscert.New(c.Context(), tlscert.Config{Mode: tlscert.Files, CertFile: s.cert, KeyFile: s.key, Logger: log, Now: time.Now})
		if err != nil {
			return errors.Join(failure{exitConfig, err}, listener.Close())
		}
		defer func() { _ = certificate.Close() }()
		listener = tls.NewListener(listener, certificate.TLSConfig())
		address, renew = "https"+address[len("http"):], certificate.Reload
	}
	c.Printf("%s cosigns on %s\nKey: %s\n", w.Verifier().Name(), address, w.Verifier())
	return serveWitness(c.Context(), listener, w, log, renew)
}

// serveWitness serves until ctx ends, and then answers what has come in.
func serveWitness(ctx context.Context, listener net.Listener, w http.Handler, log *slog.Logger, renew func() error) error {
	server := &http.Server{
		Handler: w, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		for {
			select {
			case <-hangup:
				if err := renew(); err != nil {
					log.LogAttrs(ctx, slog.LevelError, "certificate is no good, the old one stays", slog.Any("error", err))
				}
			case <-ctx.Done():
				stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
				defer cancel()
				return server.Shutdown(stop)
			}
		}
	})
	if err := group.Wait(); err != nil {
		return failure{exitFailure, err}
	}
	return nil
}

// onLoopback reports whether only this machine can reach the address.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
