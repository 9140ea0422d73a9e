// Package care knows who is caring for whom: from what hospital systems say
// about patients (stays, appointments, referrals, merges) and from lists of
// staff, rota and devices it tells which care relationships a person has with a
// patient at a time, each with its evidence.
//
// It decides nothing: policy does, from these facts. It keeps no name, address
// or clinical content. What it is told may come twice and in any order: events
// are kept in the order of their own times, and the state of a visit is worked
// out from them when somebody asks. A Register is safe for concurrent use.
package care
