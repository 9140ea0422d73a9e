package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// sinceHelp and untilHelp describe the flags that window reads.
const (
	sinceHelp = "from this day or moment on, or this long before the end, for example 2026-11-01, 7d or 12h"
	untilHelp = "to the end of this day, or before this moment (default: now)"
)

// window reads --since and --until: period, with a beginning that may be told as how
// long before the end. No beginning is the beginning of the record.
func window(since, until string, now time.Time) (from, to time.Time, zone *time.Location, err error) {
	ago, isAgo := howLong(since)
	if isAgo {
		since = ""
	}
	if from, to, zone, err = period(since, until); err != nil {
		return from, to, zone, errors.New(strings.NewReplacer("--from", "--since", "--to", "--until").Replace(err.Error()))
	}
	if to.IsZero() {
		to = now
	}
	if isAgo {
		from = to.Add(-ago)
	}
	if !from.Before(to) {
		return from, to, zone, fmt.Errorf("--until %s is not after --since %s", until, since)
	}
	return from, to, zone, nil
}

// howLong reads "7d" and what time.ParseDuration reads.
func howLong(text string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err == nil
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d > 0
}
