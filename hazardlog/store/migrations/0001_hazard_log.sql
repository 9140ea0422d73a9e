-- +goose Up
-- Hazard logs as events, to which events are only added. Where an event stands
-- in the audit journal is kept beside it, since it is known only afterwards.
CREATE TABLE hazard_log (
	id  TEXT   NOT NULL PRIMARY KEY,
	seq BIGINT NOT NULL -- of the last event; changing it is what lets one writer in at a time
);

CREATE TABLE hazard_event (
	log      TEXT   NOT NULL REFERENCES hazard_log (id),
	seq      BIGINT NOT NULL,
	id       TEXT   NOT NULL UNIQUE,
	kind     TEXT   NOT NULL,
	subject  TEXT   NOT NULL,
	revision BIGINT NOT NULL,
	body     TEXT   NOT NULL, -- the encoded event, byte for byte
	hash     TEXT   NOT NULL, -- SHA-256 of body
	PRIMARY KEY (log, seq),
	UNIQUE (log, kind, subject, revision)
);

CREATE TABLE hazard_journal (
	event  TEXT   NOT NULL PRIMARY KEY REFERENCES hazard_event (id),
	source TEXT   NOT NULL, -- the gateway that records it, and no other
	after  BIGINT NOT NULL, -- the journal's last record when it began to
	seq    BIGINT NOT NULL  -- of the record; 0 while that is not known
);
