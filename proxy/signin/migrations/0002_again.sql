-- +goose Up
-- What a sign-in under way must prove beyond who it is: "" nothing, "now" that it was
-- proved just now, "stronger" more than the session that it takes the place of.
ALTER TABLE signin_attempt ADD COLUMN demand TEXT NOT NULL DEFAULT '';

-- Where messages to the person go, "" where the provider does not say.
ALTER TABLE signin_session ADD COLUMN email TEXT NOT NULL DEFAULT '';
