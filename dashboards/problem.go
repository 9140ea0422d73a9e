package dashboards

import (
	"errors"
	"fmt"
	"net/http"
)

// problem is what a person reads when a page cannot be shown.
type problem struct {
	Status  int
	Code    string // for the log
	Heading string
	Text    string // what happened
	Remedy  string // what to do now
}

// problemPage is the page of a problem.
type problemPage struct {
	chrome
	Problem problem
}

// problemOf maps a sentinel to its page. What it does not know is 500, and
// never shows the error's text.
func problemOf(err error) problem {
	switch {
	case errors.Is(err, errNotPermitted):
		return problem{
			http.StatusForbidden, "not-permitted", "You cannot open this page",
			"Your role does not include it.",
			"If your work needs it, ask information governance to change your role.",
		}
	case errors.Is(err, errOpaque):
		return problem{
			http.StatusNotFound, "not-found", "Page not found",
			"The address is not one of ours, or it was cut short when it was copied.",
			"Look the patient or member of staff up again.",
		}
	case errors.Is(err, errNotRecorded):
		return problem{
			http.StatusServiceUnavailable, "not-recorded", "Nothing is shown because your look-up could not be recorded",
			"Every look-up is recorded before anything is shown. Writing that record did not work just now.",
			"Try again in a minute. Security staff can see the state of the record under Live.",
		}
	case errors.Is(err, errUnavailable):
		return problem{
			http.StatusServiceUnavailable, "unavailable", "The list cannot be read at the moment",
			"The searchable copy of the record did not answer. Nothing is lost: the record itself is still being written.",
			"Try again in a few minutes.",
		}
	}
	return problem{
		http.StatusInternalServerError, "internal", "This page could not be made",
		"Something went wrong on our side.",
		"Try again. If it happens again, tell the service desk the time on this page.",
	}
}

// readError is the error of a reader: it wraps errUnavailable and its cause.
type readError struct {
	operation string
	cause     error
}

func (e *readError) Error() string   { return e.operation + ": " + e.cause.Error() }
func (e *readError) Unwrap() []error { return []error{errUnavailable, e.cause} }

// unavailable marks an error of a reader.
func unavailable(operation string, err error) error {
	return &readError{operation: operation, cause: err}
}

// operationOf names what a reader was asked, "" for any other error.
func operationOf(err error) string {
	var read *readError
	if errors.As(err, &read) {
		return read.operation
	}
	return ""
}

// causeOf names the type of the innermost error.
func causeOf(err error) string {
	var read *readError
	if errors.As(err, &read) {
		err = read.cause
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return fmt.Sprintf("%T", err)
}
