package audit

import "time"

// Imported is one access to at most one patient that another system wrote down
// and somebody brought in later. The gateway has not witnessed it, so it is no
// Record, stands in no journal and is never mixed with what is.
//
// It is the same access when Site, Source, ID and Patient are the same.
type Imported struct {
	Import

	Site    string
	Source  string // the system that wrote it down
	ID      string // unique within Source and Patient
	Patient string // id as the application knows it
	// Key is a number made of the four above, for looking up; it may collide.
	Key uint64
	// Content is the first half of SHA-256 over everything that was said of the
	// access, the other patients of a list included.
	Content [16]byte
	Line    uint64 // in the file

	Time       time.Time // UTC, whole microseconds
	Person     string
	Action     string
	App        string
	Role       string
	Session    string
	Device     string
	IP         string
	Area       string
	Screen     string
	Resource   string
	NHS        string // keyed hash of the NHS number, never the number
	Deliberate string // "true", "false" or "" when not known
	Purpose    string // HL7 v3 PurposeOfUse
	BreakGlass bool
	Reason     string
	Outcome    string // success, denied, failed or "" when not known
	Bytes      uint64
	Results    uint64
	Extra      string // fields that the format does not know, as JSON
}

// Import is one run of bringing in one file.
type Import struct {
	Batch  string
	Origin string // format of the file: accesses, fhir or csv
	File   string // keyed hash of the file's name
	At     time.Time
	By     string // who ran it, as the operating system knows them
}
