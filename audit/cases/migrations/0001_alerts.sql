-- +goose Up
-- One row an alert. body holds the alert as JSON; the other columns are copies
-- to sort and narrow by. Rows are inserted and never updated. Times are text in
-- UTC with whole microseconds, so that their order is the order of the text on
-- every database.
CREATE TABLE alerts (
    id       TEXT NOT NULL PRIMARY KEY,
    made     TEXT NOT NULL,
    kind     TEXT NOT NULL,
    site     TEXT NOT NULL,
    person   TEXT NOT NULL,
    body     TEXT NOT NULL
);
CREATE INDEX alerts_by_time ON alerts (made, id);
CREATE INDEX alerts_by_person ON alerts (person, made);
