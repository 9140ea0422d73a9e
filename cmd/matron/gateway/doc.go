// Package gateway puts the parts together: it opens the stores, builds the
// request pipeline, runs everything that runs, and stops it in the right order.
//
// It holds no rule and no promise of its own; those are in proxy, policy and
// audit. A Gateway runs once.
package gateway
