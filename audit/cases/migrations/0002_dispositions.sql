-- +goose Up
-- One row for each time that somebody said what they make of an alert or of a case
-- of a run. Rows are inserted and never updated; the newest of an alert counts.
CREATE TABLE dispositions (
    id       TEXT NOT NULL PRIMARY KEY,
    alert    TEXT NOT NULL,
    made     TEXT NOT NULL,
    issuer   TEXT NOT NULL,
    sub      TEXT NOT NULL,
    name     TEXT NOT NULL,
    outcome  TEXT NOT NULL,
    note     TEXT NOT NULL
);
CREATE INDEX dispositions_by_alert ON dispositions (alert, made);
