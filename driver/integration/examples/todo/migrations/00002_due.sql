-- +goose Up
ALTER TABLE todo ADD COLUMN due timestamptz, ADD COLUMN tags text[] NOT NULL DEFAULT '{}';

-- +goose Down
ALTER TABLE todo DROP COLUMN due, DROP COLUMN tags;
