-- +goose Up
-- Until when a grant is known to have been in force, microseconds since 1970: a clock
-- that is behind it was put back meanwhile, which must not make the grant longer.
ALTER TABLE breakglass_grant ADD COLUMN seen BIGINT NOT NULL DEFAULT 0;
