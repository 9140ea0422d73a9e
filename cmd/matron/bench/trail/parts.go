package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse/workload"
)

// errEnded says that a source has nothing more.
var errEnded = errors.New("no more records")

// usage is processor time of this process and of the engine.
type usage struct{ client, server time.Duration }

func (u usage) total() time.Duration { return u.client + u.server }

func (b *bench) cpu() usage {
	var own syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &own) // cannot fail for oneself
	return usage{time.Duration(own.Utime.Nano() + own.Stime.Nano()), processTime(b.engine.PID())}
}

// processTime reads a process's time from the kernel, in hundredths of a second.
func processTime(pid int) time.Duration {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	var ticks time.Duration
	for _, f := range fields[11:13] {
		n, _ := strconv.Atoi(f) // the kernel writes numbers
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

// watch prints what n records cost.
func (b *bench) watch(what string, n int, work func() error) error {
	cpu, began := b.cpu(), time.Now()
	if err := work(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	took, now := time.Since(began).Seconds(), b.cpu()
	million := float64(n) / 1e6
	fmt.Printf("%-46s %8.0f records/s, %5.1f s; processor seconds a million: %.1f client, %.1f server\n", what, float64(n)/took, took,
		(now.client-cpu.client).Seconds()/million, (now.server-cpu.server).Seconds()/million)
	return nil
}

// made is a source that makes its records when they are asked for.
type made struct {
	from  *workload.Generator
	first uint64 // the last number of what was there before
	total uint64
	at    uint64
	block []audit.Record

	canonical []byte // of the record that is visited
}

func (m *made) Source() string { return "gw2" }

func (m *made) Committed() uint64 { return m.total - m.first }

// Oldest is part of clickhouse.Source.
func (*made) Oldest() uint64 { return 1 }

func (m *made) Wait(_ context.Context, after uint64) error {
	if after < m.Committed() {
		return nil
	}
	return errEnded
}

func (m *made) Walk(from uint64, limit int, visit func(*audit.Record, []byte) bool) error {
	if from != m.at || m.block == nil {
		m.at, m.block = from, make([]audit.Record, min(uint64(limit), m.Committed()-from+1))
		m.from.Fill(m.block)
		for i := range m.block {
			r := &m.block[i]
			if r.Decision > 0 {
				r.Decision -= min(m.first, r.Decision-1)
			}
			r.Source, r.Seq = m.Source(), from+uint64(i)
		}
	}
	for i := range m.block {
		m.canonical = m.block[i].AppendCanonical(m.canonical[:0])
		if !visit(&m.block[i], m.canonical) {
			break
		}
	}
	return nil
}

// forgetful is a ledger that nobody reads.
type forgetful struct{}

func (forgetful) Append([]byte) error { return nil }

func (b *bench) connect() (driver.Conn, error) {
	return driver.Open(&driver.Options{
		Addr: []string{b.engine.Addr()}, Protocol: driver.HTTP, ReadTimeout: time.Hour,
		Auth: driver.Auth{Username: b.engine.User(), Password: b.engine.Password()},
	})
}

func (b *bench) exec(ctx context.Context, statements ...string) error {
	conn, err := b.connect()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	for _, statement := range statements {
		if err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// bareBlock is how many rows bare inserts at a time, as many as the shipper.
const bareBlock = 100_000

// bare inserts the same rows with the same columns as clickhouse-go does it,
// into a table of its own without the shipper, to compare with. Merges that
// happen meanwhile count, as they do for the shipper.
func (b *bench) bare(ctx context.Context) error {
	if err := b.exec(ctx, "CREATE TABLE matron.bare AS matron.records"); err != nil {
		return err
	}
	conn, err := b.connect()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	return errors.Join(b.watch("inserted by bare clickhouse-go, all columns", b.backlog, func() error {
		for from := 0; from < b.backlog; from += bareBlock {
			records, err := b.journal.Read(uint64(from)+1, bareBlock)
			if err != nil {
				return err
			}
			batch, err := conn.PrepareBatch(ctx, "INSERT INTO matron.bare ("+bareColumns+")")
			if err != nil {
				return err
			}
			for i := range records {
				if err := batch.Append(bareRow(&records[i])...); err != nil {
					return err
				}
			}
			if err := batch.Send(); err != nil {
				return err
			}
		}
		return nil
	}), b.exec(ctx, "DROP TABLE matron.bare SYNC"))
}

// bareColumns are those that a shipper sends.
const bareColumns = `site, source, seq, time, kind, request_id, request_lag, request_text, gap, app, method, target, query, route, action, area,
screen, resource, resource_id, resource_version, deliberate, patient, nhs_number, patient_source, certainty, user_issuer, user_sub, person, user_name,
roles, activities, org, role_id, acr, amr, assurance, auth_time, session, token, purpose, basis, client_ip, device, user_agent, client_cn, effect,
reasons, rules, policy_rev, mode, would_deny, outcome, status, bytes_in, bytes_out, duration, overhead, results, error, upstream_to, detail`

// bareRow is one row. Every request of a workload is a UUID of version 7.
func bareRow(r *audit.Record) []any {
	var id [18]byte // one of 16 bytes and room behind it
	n, _ := hex.Decode(id[:], []byte(strings.ReplaceAll(r.Request, "-", "")))
	lag := r.Time.UnixMilli() - int64(binary.BigEndian.Uint64(id[:8])>>16)
	gap := uint64(0)
	if r.Decision > 0 {
		gap = r.Seq - r.Decision
	}
	return []any{
		r.Site, r.Source, r.Seq, r.Time, string(r.Kind), string(id[n-10 : n]), lag, "", gap, r.App, r.Method, r.Target, r.Query, r.Route, r.Action, r.Area,
		r.Screen, r.Resource, r.ResourceID, r.ResourceVersion, r.Deliberate, r.Patient, r.NHSNumber, string(r.PatientSource), string(r.Certainty),
		r.UserIssuer, r.UserSub, r.Person, r.UserName, r.Roles, r.Activities, r.Org, r.RoleID, r.ACR, r.AMR, r.Assurance, r.AuthTime.UnixMicro(),
		r.Session, r.Token, r.Purpose, r.Basis, r.ClientIP, r.Device, r.UserAgent, r.ClientCN, r.Effect, r.Reasons, r.Rules, r.PolicyRev, r.Mode,
		r.WouldDeny, string(r.Outcome), r.Status, r.BytesIn, r.BytesOut, r.Duration, r.Duration - r.Upstream, r.Results, r.Error, r.UpstreamTo, r.Detail,
	}
}
