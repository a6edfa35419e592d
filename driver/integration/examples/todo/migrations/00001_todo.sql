-- +goose Up
CREATE TABLE todo (
	id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	text text NOT NULL UNIQUE,
	done boolean NOT NULL DEFAULT false
);

-- +goose Down
DROP TABLE todo;
