package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// result is one measurement of one proxy.
type result struct {
	cpu      float64 // microseconds of the proxy's CPU time a request
	children float64 // the same of the processes it started
	rate     float64 // requests a second when saturated
	p50, p99 time.Duration
}

// target is one proxy under load.
type target struct {
	name   string
	base   string // https://localhost:port
	pid    int
	header http.Header
	roots  *x509.CertPool
	// refused counts answers 503, which is what Matron says while the disk does
	// not take a record in time. They are reported: machines are shared.
	refused *atomic.Int64
}

// measure loads p twice: saturated for CPU time, at a fixed rate for latency.
func measure(ctx context.Context, o options, p target) (result, error) {
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: p.roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
		MaxIdleConnsPerHost: o.connections, MaxConnsPerHost: o.connections, DisableCompression: true,
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	if err := saturate(ctx, client, p, o.connections*50, o.connections); err != nil { // warm up
		return result{}, err
	}
	r, err := cost(ctx, client, p, o)
	if err != nil || o.length == 0 {
		return r, err
	}
	times, err := openLoop(ctx, client, p, o)
	if err != nil {
		return result{}, err
	}
	r.p50, r.p99 = times[len(times)/2], times[len(times)*99/100]
	return r, nil
}

// cost saturates p and returns what a request costs. Work that p puts off, such
// as shipping records, is counted as it comes: the warm-up's is done meanwhile.
func cost(ctx context.Context, c *http.Client, p target, o options) (result, error) {
	before, err := cpuTime(p.pid)
	if err != nil {
		return result{}, err
	}
	children, began := childrenTime(p.pid), time.Now()
	if err := saturate(ctx, c, p, o.requests, o.connections); err != nil {
		return result{}, err
	}
	took, n := time.Since(began), float64(o.requests)
	after, err := cpuTime(p.pid)
	return result{
		cpu:      float64((after - before).Microseconds()) / n,
		children: float64((childrenTime(p.pid) - children).Microseconds()) / n,
		rate:     n / took.Seconds(),
	}, err
}

// paths spread over patients, so that no cache of answers flatters anybody.
func pathOf(i int) string { return "/fhir/Patient/P" + strconv.Itoa(i%2000) }

func saturate(ctx context.Context, c *http.Client, p target, requests, connections int) error {
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make(chan error, connections)
	for range connections {
		group.Go(func() {
			for {
				i := int(next.Add(1))
				if i > requests {
					return
				}
				if err := get(ctx, c, p, i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	group.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// openLoop sends at a fixed rate whatever comes back, and times each request
// from the moment it was due.
func openLoop(ctx context.Context, c *http.Client, p target, o options) ([]time.Duration, error) {
	total := int(o.length.Seconds() * float64(o.rate))
	times := make([]time.Duration, total)
	errs := make(chan error, total)
	var group sync.WaitGroup
	began := time.Now()
	for i := range total {
		due := began.Add(time.Duration(i) * time.Second / time.Duration(o.rate))
		time.Sleep(time.Until(due))
		group.Go(func() {
			if err := get(ctx, c, p, i); err != nil {
				errs <- err
			}
			times[i] = time.Since(due)
		})
	}
	group.Wait()
	select {
	case err := <-errs:
		return nil, err
	default:
	}
	slices.Sort(times)
	return times, nil
}

func get(ctx context.Context, c *http.Client, p target, i int) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+pathOf(i), nil)
	if err != nil {
		return err
	}
	r.Header = p.header.Clone()
	res, err := c.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode == http.StatusServiceUnavailable {
		p.refused.Add(1)
		return nil
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", r.URL, res.Status)
	}
	return nil
}

// cpuTime is user plus system time of a process, from /proc.
func cpuTime(pid int) (time.Duration, error) {
	fields, err := procStat(pid)
	if err != nil {
		return 0, err
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil // USER_HZ is 100
}

// childrenTime is the CPU time of the living children of a process.
func childrenTime(pid int) time.Duration {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0
	}
	var sum time.Duration
	for _, folder := range folders {
		child, _ := strconv.Atoi(filepath.Base(folder))
		fields, err := procStat(child)
		if err != nil || fields[1] != strconv.Itoa(pid) { // gone meanwhile, or somebody else's
			continue
		}
		spent, _ := cpuTime(child)
		sum += spent
	}
	return sum
}

// procStat returns the fields of /proc/PID/stat from the state on.
func procStat(pid int) ([]string, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	_, rest, ok := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return nil, fmt.Errorf("/proc/%d/stat cannot be read", pid)
	}
	return fields, nil
}
