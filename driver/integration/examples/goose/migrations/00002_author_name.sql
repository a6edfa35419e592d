-- +goose NO TRANSACTION

-- +goose Up
CREATE INDEX CONCURRENTLY author_name ON author (name);

-- +goose Down
DROP INDEX CONCURRENTLY author_name;
