-- +goose Up
-- What was said of a grant since: that care explains it, and what people judged.
ALTER TABLE breakglass_grant ADD COLUMN explained BIGINT NOT NULL DEFAULT 0;

ALTER TABLE breakglass_grant ADD COLUMN evidence TEXT NOT NULL DEFAULT '';

ALTER TABLE breakglass_grant ADD COLUMN verdict TEXT NOT NULL DEFAULT '';

ALTER TABLE breakglass_grant ADD COLUMN judged BIGINT NOT NULL DEFAULT 0;

CREATE TABLE breakglass_review (
	id       TEXT   NOT NULL PRIMARY KEY,
	grant_id TEXT   NOT NULL,
	made     BIGINT NOT NULL,
	person   TEXT   NOT NULL,
	name     TEXT   NOT NULL,
	verdict  TEXT   NOT NULL,
	note     TEXT   NOT NULL
);

CREATE INDEX breakglass_review_grant ON breakglass_review (grant_id, made);

-- Messages that have to go out. They name a grant, never a patient.
CREATE TABLE breakglass_notice (
	id       TEXT   NOT NULL PRIMARY KEY,
	grant_id TEXT   NOT NULL,
	reader   TEXT   NOT NULL,
	address  TEXT   NOT NULL,
	made     BIGINT NOT NULL,
	tries    BIGINT NOT NULL,
	due      BIGINT NOT NULL,
	sent     BIGINT NOT NULL
);

CREATE INDEX breakglass_notice_due ON breakglass_notice (sent, due);
