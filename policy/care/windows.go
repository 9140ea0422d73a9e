package care

import "time"

// Windows says how long a relationship lasts beyond what the sources say. Each
// zero value is its default. Too short, and a clinician who writes up a patient
// is refused (GW-01); too long, and somebody who no longer treats the patient is
// let in (GW-09).
type Windows struct {
	Ward       time.Duration // after a stay: letters, results; default 7 days
	LongWard   time.Duration // the same for people of the long roles: coders, secretaries; default 42 days
	Named      time.Duration // after a visit for those whom it names, and their team; default 42 days
	PlanBefore time.Duration // before a planned admission or appointment; default 3 days
	PlanAfter  time.Duration // after it; default 14 days
	Referral   time.Duration // of a referral without end; default 126 days
	Outpatient time.Duration // of an outpatient attendance that nobody ends; default 1 day
	Emergency  time.Duration // of an emergency attendance that nobody ends, after its newest message; default 3 days
	Inpatient  time.Duration // of any other visit, likewise; default 365 days
	Shift      time.Duration // before and after a shift of the rota, for handing over; default 2 hours
	Ahead      time.Duration // by how much clocks of sources may be ahead; default 5 minutes
}

const day = 24 * time.Hour

func (w Windows) complete() Windows {
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{
		{&w.Ward, 7 * day},
		{&w.LongWard, 42 * day},
		{&w.Named, 42 * day},
		{&w.PlanBefore, 3 * day},
		{&w.PlanAfter, 14 * day},
		{&w.Referral, 126 * day},
		{&w.Outpatient, day},
		{&w.Emergency, 3 * day},
		{&w.Inpatient, 365 * day},
		{&w.Shift, 2 * time.Hour},
		{&w.Ahead, 5 * time.Minute},
	} {
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	return w
}

// open is how long a visit of a class lasts after its newest message when nobody
// ends it.
func (w *Windows) open(c Class) time.Duration {
	switch c {
	case 'O':
		return w.Outpatient
	case 'E':
		return w.Emergency
	}
	return w.Inpatient
}
