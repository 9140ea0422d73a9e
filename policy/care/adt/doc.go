// Package adt turns HL7 v2 messages of admissions, appointments and referrals
// into changes of a register of care.
//
// It takes what the messages say and adds nothing. An event that means nothing
// for who cares for whom (observations, orders, allergies, notices of beds) is no
// error: it yields no change, because a sender that is refused may stop sending.
// A Reader is immutable and safe for concurrent use.
package adt
