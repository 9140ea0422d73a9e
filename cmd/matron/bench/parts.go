package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// figures are what one Go benchmark printed: unit to value.
type figures map[string]float64

// parts runs the benchmarks of the parts that a request waits for and prints
// them beside what is hoped of them.
func parts(ctx context.Context, w io.Writer) error {
	rules, err := goBenchmarks(ctx, "./policy/rego", "^BenchmarkAllow(Remembered)?$", "1s")
	if err != nil {
		return err
	}
	writers, err := goBenchmarks(ctx, "./audit/journal", "^BenchmarkAppend256$", "2s")
	if err != nil {
		return err
	}
	steady, err := goBenchmarks(ctx, "./audit/journal", "^BenchmarkAppend1000$", "3000x")
	if err != nil {
		return err
	}
	tokens, err := goBenchmarks(ctx, "./proxy/signin", "^BenchmarkVouch$", "1s")
	if err != nil {
		return err
	}
	maps, err := goBenchmarks(ctx, "./proxy/appmap", "^Benchmark(Turn|ClassifyRead|SettleBundle)$", "1s")
	if err != nil {
		return err
	}
	micros := func(f figures) float64 { return f["ns/op"] / 1000 }
	allow, again, token := rules["Allow"], rules["AllowRemembered"], tokens["Vouch"]
	many, even := writers["Append256"], steady["Append1000"]
	_, _ = fmt.Fprintf(w, "\nParts, by their own benchmarks in the same run:\n")
	_, _ = fmt.Fprintf(w, "  OPA allow, decision cache off   %7.1f µs  %4.0f allocs   (target 45 µs, 150 allocs)\n", micros(allow), allow["allocs/op"])
	_, _ = fmt.Fprintf(w, "  OPA allow, decision cache on    %7.2f µs  %4.0f allocs   (target 2 µs)\n", micros(again), again["allocs/op"])
	_, _ = fmt.Fprintf(w, "  identity token (ES256)          %7.1f µs  %4.0f allocs\n", micros(token), token["allocs/op"])
	turn := maps["Turn"]
	_, _ = fmt.Fprintf(w, "  openMAXIMS turn, %.0f KB answer   %7.1f µs CPU, %.0f allocs   (target 400 µs CPU); encoding/xml takes %.1f µs to read the answer once\n", turn["KB-answer"], turn["cpu-µs"], turn["allocs/op"], turn["cpu-µs"]/turn["x-decode"])
	read, bundle := maps["ClassifyRead"], maps["SettleBundle/100_entries"]
	_, _ = fmt.Fprintf(w, "  FHIR read classified            %7.2f µs  %4.0f allocs   (target 5 µs)\n", micros(read), read["allocs/op"])
	_, _ = fmt.Fprintf(w, "  FHIR Bundle of 100 entries      %7.0f MB/s; %.2f times as long as encoding/json decodes it   (target 200 MB/s or 1.5 times)\n", bundle["MB/s-settled"], bundle["x-decode"])
	_, _ = fmt.Fprintf(w, "  journal, 256 writers         %10.0f records/s, %.1f µs CPU each   (target 60,000, 6 µs)\n", many["records/s"], many["cpu-µs/record"])
	_, _ = fmt.Fprintf(w, "  write + fdatasync in a loop  %10.0f records/s; the journal does %.0f times as many, %.0f to a sync\n", many["bare-syncs/s"], many["x-bare"], many["records/sync"])
	_, _ = fmt.Fprintf(w, "  journal, 1,000 waits/s          p50 %s, p99 %s   (target p50 2 ms)\n", microseconds(even["p50-µs"]), microseconds(even["p99-µs"]))
	return nil
}

func microseconds(n float64) time.Duration { return time.Duration(n * float64(time.Microsecond)) }

// goBenchmarks runs benchmarks of a package; names come without "Benchmark".
func goBenchmarks(ctx context.Context, folder, which, length string) (map[string]figures, error) {
	c := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", which, "-benchtime", length, "-benchmem", folder)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := c.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("benchmarks of %s: %w\n%s", folder, err, out)
	}
	all := map[string]figures{}
	for line := range strings.Lines(string(out)) {
		if name, f := parseFigures(line); f != nil {
			all[name] = f
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("benchmarks of %s: %s matches none", folder, which)
	}
	return all, nil
}

// parseFigures reads a line such as "BenchmarkAllow-2 21296 16056 ns/op 136
// allocs/op"; nil for any other.
func parseFigures(line string) (string, figures) {
	fields := strings.Fields(line)
	if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
		return "", nil
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(fields[0], "Benchmark"), "-")
	f := figures{}
	for i := 2; i+1 < len(fields); i += 2 {
		value, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return "", nil
		}
		f[fields[i+1]] = value
	}
	return name, f
}
