package table

import (
	"fmt"
	"testing"
)

// TestIDsComeBack, however they resemble one another.
func TestIDsComeBack(t *testing.T) {
	var all []string
	for i := range 500 {
		all = append(all, fmt.Sprint("A", i), []string{"", "A", "é", fmt.Sprintf("%036d", i*i), fmt.Sprint("A", i)}[i%5])
	}
	var s ids
	for _, id := range all {
		s.add("taken back")
		s.add(id + "too")
		s.drop()
		s.drop()
		s.add(id)
	}
	for i, want := range all {
		if got := s.at(i); got != want {
			t.Fatalf("%d is %q, not %q", i, got, want)
		}
	}
}

// TestIDsThatCountUpAreSmall: a hundred million of them must fit.
func TestIDsThatCountUpAreSmall(t *testing.T) {
	var s ids
	const n = 10_000
	for i := range n {
		s.add(fmt.Sprint("access-", 10_000_000+i))
	}
	if bytes := len(s.data) + 8*len(s.blocks); bytes > 4*n {
		t.Errorf("%d bytes for %d ids", bytes, n)
	}
}
