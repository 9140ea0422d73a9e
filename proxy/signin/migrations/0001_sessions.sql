-- +goose Up
-- Sessions and sign-in attempts. Ids are SHA-256 hashes, times are microseconds
-- since 1970 UTC.
CREATE TABLE signin_session (
	id       TEXT   NOT NULL PRIMARY KEY,
	issuer   TEXT   NOT NULL,
	sub      TEXT   NOT NULL,
	sid      TEXT   NOT NULL,
	subject  TEXT   NOT NULL,
	id_token TEXT   NOT NULL,
	created  BIGINT NOT NULL,
	seen     BIGINT NOT NULL,
	expires  BIGINT NOT NULL
);

CREATE INDEX signin_session_sub ON signin_session (issuer, sub);

CREATE INDEX signin_session_sid ON signin_session (issuer, sid);

CREATE TABLE signin_attempt (
	state     TEXT   NOT NULL PRIMARY KEY,
	binding   TEXT   NOT NULL,
	return_to TEXT   NOT NULL,
	created   BIGINT NOT NULL
);

CREATE INDEX signin_attempt_created ON signin_attempt (created);

CREATE TABLE signin_logout (
	jti     TEXT   NOT NULL PRIMARY KEY,
	expires BIGINT NOT NULL
);
