package table

import "time"

// System is something that records: an application, as a source has it.
type System struct{ Source, App string }

// maxSystems bounds how many systems are told apart; what an import has beyond is
// no system.
const maxSystems = 1000

// Hours counts what each system recorded, by the hour since 1970.
type Hours map[System]map[int64]int32

func (h Hours) add(s System, at time.Time) {
	counts := h[s]
	if counts == nil {
		if len(h) == maxSystems {
			return
		}
		counts = map[int64]int32{}
		h[s] = counts
	}
	counts[at.Unix()/3600]++
}
