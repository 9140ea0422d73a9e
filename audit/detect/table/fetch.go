package table

import "time"

const (
	// mostFetched is how many patients a page may fetch within fetchedFor. Whoever
	// fetches more runs a program to read records, and every one of them counts.
	mostFetched = 100
	fetchedFor  = int64(10 * time.Minute / time.Microsecond)
)

// Fetches follows how many patients sessions fetch faster than a hand opens them. The
// zero value is ready.
type Fetches struct {
	stretch  int64
	sessions map[uint32]map[uint32]bool // patients of this stretch
}

// More notes one more patient and says whether a session has fetched more than a page
// does. Times are microseconds since 1970, about in order.
func (f *Fetches) More(session, patient uint32, at int64) bool {
	if s := at / fetchedFor; f.sessions == nil || s > f.stretch {
		f.stretch, f.sessions = s, map[uint32]map[uint32]bool{}
	}
	of := f.sessions[session]
	if of == nil {
		of = map[uint32]bool{}
		f.sessions[session] = of
	}
	if len(of) <= mostFetched {
		of[patient] = true
	}
	return len(of) > mostFetched
}
