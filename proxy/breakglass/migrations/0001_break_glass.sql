-- +goose Up
-- Emergency access: what was offered, what was granted, what was said of it since.
-- Times are microseconds since 1970 UTC, 0 for not yet.
CREATE TABLE breakglass_offer (
	id        TEXT   NOT NULL PRIMARY KEY,
	issuer    TEXT   NOT NULL,
	sub       TEXT   NOT NULL,
	refused   TEXT   NOT NULL,
	made      BIGINT NOT NULL,
	taken     BIGINT NOT NULL
);

CREATE INDEX breakglass_offer_made ON breakglass_offer (made);

CREATE TABLE breakglass_grant (
	id         TEXT   NOT NULL PRIMARY KEY,
	kind       TEXT   NOT NULL,
	offer      TEXT   NOT NULL UNIQUE,
	issuer     TEXT   NOT NULL,
	sub        TEXT   NOT NULL,
	session    TEXT   NOT NULL,
	site       TEXT   NOT NULL,
	app        TEXT   NOT NULL,
	patient    TEXT   NOT NULL,
	nhs_number TEXT   NOT NULL,
	purpose    TEXT   NOT NULL,
	began      BIGINT NOT NULL,
	until      BIGINT NOT NULL,
	ended      BIGINT NOT NULL,
	cause      TEXT   NOT NULL,
	facts      TEXT   NOT NULL
);

CREATE INDEX breakglass_grant_open ON breakglass_grant (ended, until);

CREATE INDEX breakglass_grant_person ON breakglass_grant (issuer, sub, began);
