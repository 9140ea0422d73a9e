package clickhouse

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// insert sends columns in one synchronous insert under a deduplication token.
// Whether they were stored is unknown when it fails. Columns and dictionaries
// are made here: clickhouse-go takes five times as long.
func (s *Store) insert(ctx context.Context, table, token string, e *encoder) error {
	send := s.insertHTTP
	if s.cfg.Protocol == "native" {
		send = s.insertNative
	}
	statement := "INSERT INTO " + s.table(table) + " " + e.input.Columns()
	if err := send(ctx, statement, token, e); err != nil {
		e.lent = true
		return fmt.Errorf("insert %d rows: %w", e.rows(), err)
	}
	return nil
}

// insertSettings are those of every insert.
func (s *Store) insertSettings(token string) map[string]string {
	settings := map[string]string{
		"insert_deduplication_token": token,
		"insert_deduplicate":         "1",
		"async_insert":               "0",
	}
	if s.cfg.Cluster.Replicated {
		settings["insert_quorum"] = "auto" // on most replicas before it is acknowledged
	}
	return settings
}

// insertNative opens a connection for each insert: there is about one a second.
func (s *Store) insertNative(ctx context.Context, statement, token string, e *encoder) error {
	client, err := s.dialNative(ctx)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // the insert's own error counts
	query := ch.Query{Body: statement + " VALUES", Input: e.input}
	for key, value := range s.insertSettings(token) {
		query.Settings = append(query.Settings, ch.Setting{Key: key, Value: value, Important: true})
	}
	err = client.Do(ctx, query)
	var exception *ch.Exception
	if errors.As(err, &exception) {
		return &driver.Exception{Code: int32(exception.Code), Name: exception.Name, Message: exception.Message} //nolint:gosec // ClickHouse's codes are small
	}
	return err
}

// dialNative connects to the first address that answers.
func (s *Store) dialNative(ctx context.Context) (*ch.Client, error) {
	var errs []error
	for _, addr := range s.cfg.Addr {
		client, err := ch.Dial(ctx, ch.Options{
			Address: addr, Database: "default", User: s.cfg.User, Password: s.cfg.Password,
			DialTimeout: s.cfg.DialTimeout, ReadTimeout: ch.NoTimeout, Dialer: dialer{s.cfg},
		})
		if err == nil {
			return client, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// dialer connects as the configuration says, TLS included.
type dialer struct{ cfg Config }

// DialContext is part of ch.Dialer.
func (d dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.DialTimeout)
	defer cancel()
	conn, err := d.dial(ctx, network, addr)
	if err != nil || d.cfg.TLS == nil {
		return conn, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	cfg := d.cfg.TLS.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

func (d dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.cfg.Dial != nil {
		return d.cfg.Dial(ctx, addr)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// httpClient is for inserts over HTTP.
func (c Config) httpClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:     dialer{Config{Dial: c.Dial, DialTimeout: c.DialTimeout}}.DialContext,
		TLSClientConfig: c.TLS, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute,
	}}
}

// insertHTTP posts the rows as one block of the format Native.
func (s *Store) insertHTTP(ctx context.Context, statement, token string, e *encoder) error {
	e.body.Reset()
	if err := (proto.Block{Columns: len(e.input), Rows: e.rows()}).EncodeRawBlock(&e.body, 0, e.input); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	values := url.Values{"query": {statement + " FORMAT Native"}, "wait_end_of_query": {"1"}}
	for key, value := range s.insertSettings(token) {
		values.Set(key, value)
	}
	var errs []error
	for _, addr := range s.cfg.Addr {
		answered, err := s.post(ctx, addr, values, e.body.Buf)
		if answered || err == nil {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// post sends one insert and reports whether the server answered.
func (s *Store) post(ctx context.Context, addr string, values url.Values, body []byte) (answered bool, err error) {
	target := url.URL{Scheme: "http", Host: addr, Path: "/", RawQuery: values.Encode()}
	if s.cfg.TLS != nil {
		target.Scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.SetBasicAuth(s.cfg.User, s.cfg.Password)
	resp, err := s.http.Do(req)
	if err != nil {
		var u *url.Error // its text would repeat the statement
		if errors.As(err, &u) {
			err = u.Err
		}
		return false, fmt.Errorf("post to %s: %w", addr, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return true, fmt.Errorf("post to %s: %w", addr, err)
	}
	code, _ := strconv.Atoi(resp.Header.Get("X-ClickHouse-Exception-Code")) // 0: none
	if resp.StatusCode == http.StatusOK && code == 0 {
		return true, nil
	}
	return true, &driver.Exception{Code: int32(code), Name: resp.Status, Message: strings.TrimSpace(string(text))} //nolint:gosec // ClickHouse's codes are small
}
