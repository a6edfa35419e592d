-- +goose Up
CREATE TABLE author (
	id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name text NOT NULL
);

-- +goose Down
DROP TABLE author;
