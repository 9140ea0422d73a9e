// Package pack makes evidence packs: a zip file with the records that answer one
// question, the proof of each, and a report for people, which anybody can check
// who has the file and the public key of the log.
//
// A pack is signed over every byte of it. What it proves: these records stand in
// the log, unaltered, at these places. That none is missing, only the log itself
// shows: the manifest says which stretch of it was read for the pack. Values are
// not safe for concurrent use.
package pack

import "errors"

// What callers branch on.
var (
	// ErrNotPack says that a file is no evidence pack.
	ErrNotPack = errors.New("not an evidence pack")
	// ErrAltered says that a pack is not what was signed.
	ErrAltered = errors.New("the pack was altered")
)

// Names of the files in a pack.
const (
	manifestName   = "manifest.json"
	reportName     = "report.html"
	csvName        = "accesses.csv"
	jsonName       = "accesses.json"
	checkpointName = "checkpoint"
	keyName        = "checkpoint.pub"
	readmeName     = "README.txt"

	recordFolder = "records/"
	recordSuffix = ".record"
	proofFolder  = "proofs/"
	proofSuffix  = ".tlog-proof"

	format = "matron-evidence-pack@v1"
)
