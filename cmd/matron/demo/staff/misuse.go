package staff

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// misbehave acts out one of each misuse soon after the start, then goes on at
// long intervals with other people.
func (c *crew) misbehave(ctx context.Context, rng *rand.Rand) {
	for round := 0; ctx.Err() == nil; round++ {
		for _, act := range []func(context.Context, *rand.Rand, int) bool{c.ownRecord, c.household, c.prescribe, c.bulk} {
			if !act(ctx, rng, round) {
				idle(ctx, time.Second)
			}
		}
		idle(ctx, time.Duration(3+rng.IntN(4))*time.Minute)
	}
}

// act signs p in in haste and does something.
func (c *crew) act(ctx context.Context, rng *rand.Rand, p hospital.Staff, kind string, do func(*worker)) bool {
	w := c.newWorker(p, rng, c.haste)
	if !w.signIn(ctx) {
		return false
	}
	do(w)
	if w.lost || ctx.Err() != nil {
		return false
	}
	c.counter.misuse(kind)
	return true
}

// ownRecord: somebody who is a patient here reads their own results.
func (c *crew) ownRecord(ctx context.Context, rng *rand.Rand, round int) bool {
	people := c.among(func(s hospital.Staff) bool { return s.PatientID != "" && mayRead(s) })
	if len(people) == 0 {
		return true
	}
	p := people[round%len(people)]
	return c.act(ctx, rng, p, OwnRecord, func(w *worker) {
		w.fetch(ctx, "/Patient/"+p.PatientID)
		w.fetch(ctx, "/Observation?patient="+p.PatientID)
	})
}

// household: somebody looks up whom they live with.
func (c *crew) household(ctx context.Context, rng *rand.Rand, round int) bool {
	h := c.cfg.Hospital
	people := c.among(func(s hospital.Staff) bool { return len(h.Households[s.Person]) > 0 && mayRead(s) })
	if len(people) == 0 {
		return true
	}
	p := people[round%len(people)]
	return c.act(ctx, rng, p, Household, func(w *worker) {
		w.page(ctx, c.cfg.UI+"/patients/"+h.Households[p.Person][0])
		w.page(ctx, c.cfg.UI+"/patients/"+h.Households[p.Person][0]+"/notes")
	})
}

// prescribe: a receptionist tries to write a prescription, which is refused.
func (c *crew) prescribe(ctx context.Context, rng *rand.Rand, round int) bool {
	people := c.cfg.Hospital.WithRole(hospital.Receptionist)
	return c.act(ctx, rng, people[round%len(people)], Prescribing, func(w *worker) {
		p := w.anybody()
		w.write(ctx, "MedicationRequest", w.medication(p.ID))
		w.page(ctx, c.cfg.UI+"/patients/"+p.ID+"/prescriptions")
	})
}

// bulk: a medical secretary opens record after record.
func (c *crew) bulk(ctx context.Context, rng *rand.Rand, round int) bool {
	people := c.cfg.Hospital.WithRole(hospital.MedicalSecretary)
	return c.act(ctx, rng, people[round%len(people)], Bulk, func(w *worker) {
		first := w.rng.IntN(len(c.cfg.Hospital.Patients))
		for i := range bulkPatients {
			w.fetch(ctx, "/Patient/"+c.cfg.Hospital.Patients[(first+i)%len(c.cfg.Hospital.Patients)].ID)
		}
	})
}

func (c *crew) among(keep func(hospital.Staff) bool) []hospital.Staff {
	var out []hospital.Staff
	for _, s := range c.cfg.Hospital.Staff {
		if keep(s) {
			out = append(out, s)
		}
	}
	return out
}

// mayRead reports whether the role reads clinical parts of the record, so that
// what is acted out is misuse and not just a refusal.
func mayRead(s hospital.Staff) bool {
	return s.Role() == hospital.Nurse || s.Role() == hospital.Doctor || s.Role() == hospital.AlliedHealth
}
