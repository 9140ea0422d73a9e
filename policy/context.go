package policy

import "context"

type subjectKey struct{}

// WithSubject returns a context that carries who is asking.
func WithSubject(ctx context.Context, s Subject) context.Context {
	return context.WithValue(ctx, subjectKey{}, s)
}

// SubjectFrom returns the subject that the gateway put into ctx. Without one it
// returns the zero Subject, which is nobody.
func SubjectFrom(ctx context.Context) Subject {
	s, _ := ctx.Value(subjectKey{}).(Subject)
	return s
}
