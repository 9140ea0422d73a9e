// Command bench measures the gateway against a bare Go reverse proxy and Caddy
// in one run: the same upstream, the same certificate, the same load. It prints
// ratios, since machines differ and drift.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	matron, caddy string
	beside        []string // other builds of the gateway
	gateways      bool
	rounds        int
	requests      int
	connections   int
	rate          int
	length        time.Duration
}

func run(ctx context.Context, args []string) error {
	if len(args) == 3 && args[0] == "upstream" {
		return serveUpstream(ctx, args[1], args[2])
	}
	if len(args) == 4 && args[0] == "bare" {
		return serveBare(ctx, args[1], args[2], args[3])
	}
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.matron, "matron", "bin/matron", "the gateway's binary")
	flags.Func("beside", "another build of the gateway, measured by turns with it under its file's name (repeatable)", func(path string) error {
		o.beside = append(o.beside, path)
		return nil
	})
	flags.BoolVar(&o.gateways, "gateways", false, "measure the gateway's builds and Caddy alone")
	flags.StringVar(&o.caddy, "caddy", "bin/caddy", "Caddy's binary")
	flags.IntVar(&o.rounds, "rounds", 5, "rounds; each measures every proxy once, medians are printed")
	flags.IntVar(&o.requests, "requests", 20000, "requests of a saturated measurement")
	flags.IntVar(&o.connections, "connections", 32, "connections")
	flags.IntVar(&o.rate, "rate", 1000, "requests a second of the open-loop measurement")
	flags.DurationVar(&o.length, "length", 3*time.Second, "length of the open-loop measurement; 0 leaves it and the parts out")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "matron-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := compare(ctx, o, dir); err != nil {
		return err
	}
	if o.length == 0 {
		return nil
	}
	return parts(ctx, os.Stdout)
}

// compare starts every proxy, measures them in turn, round after round, so that
// a drift of the machine meets all alike, and prints medians and ratios.
func compare(ctx context.Context, o options, dir string) error {
	stage, err := newStage(ctx, o, dir)
	if err != nil {
		return err
	}
	defer stage.close()
	results := map[string][]result{}
	for round := range o.rounds {
		for _, p := range stage.proxies {
			r, err := measure(ctx, o, p)
			if err != nil {
				return fmt.Errorf("%s: %w\n%s", p.name, err, stage.said(p.name))
			}
			results[p.name] = append(results[p.name], r)
			fmt.Fprintf(os.Stderr, "round %d %-10s %6.1f µs CPU/request  p50 %s\n", round+1, p.name, r.cpu, r.p50)
		}
	}
	report(o, stage, results)
	return tellRefused(o, stage)
}

// tellRefused says how many requests got 503. More than a hundredth of them make
// the figures worthless.
func tellRefused(o options, s *stage) error {
	all := int64(o.rounds) * int64(o.connections*50+o.requests+int(o.length.Seconds()*float64(o.rate)))
	for _, p := range s.proxies {
		n := p.refused.Load()
		if n > all/100 {
			return fmt.Errorf("%s refused %d of %d requests: the figures are worthless\n%s", p.name, n, all, s.said(p.name))
		}
		if n > 0 {
			fmt.Printf("%s refused %d of %d requests, the disk being too slow for a moment.\n", p.name, n, all)
		}
	}
	return nil
}

func report(o options, s *stage, results map[string][]result) {
	fmt.Printf("CPU per request saturated over %d connections (%d requests), p50 and p99 at %d requests/s; TLS, HTTP/1.1 keep-alive,\n", o.connections, o.requests, o.rate)
	fmt.Printf("2 KB response; medians of %d rounds; load, proxies and upstream share this machine. Matron: signed in by session cookie,\n", o.rounds)
	fmt.Printf("decided, limited, decision fsynced before the request is forwarded, outcome recorded, identity token signed, records shipped.\n\n")
	fmt.Printf("%-10s %14s %11s %9s %9s %11s %11s\n", "proxy", "CPU µs/request", "requests/s", "p50", "p99", "CPU ÷ bare", "CPU ÷ Caddy")
	of := func(name string, f func(result) float64) float64 { return median(results[name], f) }
	cpu := func(r result) float64 { return r.cpu }
	p50 := func(r result) float64 { return float64(r.p50) }
	for _, p := range s.proxies {
		fmt.Printf("%-10s %14.1f %11.0f %9s %9s %11.2f %11.2f\n", p.name, of(p.name, cpu), of(p.name, func(r result) float64 { return r.rate }),
			time.Duration(of(p.name, p50)).Round(time.Microsecond),
			time.Duration(of(p.name, func(r result) float64 { return float64(r.p99) })).Round(time.Microsecond),
			ratio(results, p.name, "bare"), ratio(results, p.name, "caddy"))
	}
	fmt.Printf("\nMatron ÷ Caddy: %.2f (target 1.0). Matron adds %s to p50 over the bare proxy (target 0.4 ms).\n",
		ratio(results, "matron", "caddy"), time.Duration(of("matron", p50)-of("bare", p50)).Round(time.Microsecond))
	fmt.Printf("Beside it the ClickHouse engine spends %.1f µs CPU on a request's records, in its own process.\n",
		of("matron", func(r result) float64 { return r.children }))
}

// ratio is the median of what a request of one proxy costs in terms of another's in
// the same round: a machine that is busy for a while is so for both. 0 where one of
// them was not measured.
func ratio(results map[string][]result, of, by string) float64 {
	var ratios []float64
	for round, r := range results[of] {
		if round < len(results[by]) {
			ratios = append(ratios, r.cpu/results[by][round].cpu)
		}
	}
	return middle(ratios)
}

func median(rs []result, of func(result) float64) float64 {
	values := make([]float64, len(rs))
	for i, r := range rs {
		values[i] = of(r)
	}
	return middle(values)
}

func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}
