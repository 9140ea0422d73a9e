-- +goose Up
-- When a gateway said that it would record an event, in microseconds since 1970: one
-- that never comes back is not waited for. 0: before this was noted.
ALTER TABLE hazard_journal ADD COLUMN claimed BIGINT NOT NULL DEFAULT 0;
