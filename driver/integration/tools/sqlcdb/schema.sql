CREATE TYPE mood AS ENUM ('light', 'dark');

CREATE TABLE authors (
    id    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name  text NOT NULL UNIQUE,
    bio   text,
    photo bytea,
    tags  text[] NOT NULL DEFAULT '{}',
    extra jsonb NOT NULL DEFAULT '{}',
    born  timestamptz NOT NULL
);

CREATE TABLE books (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    author uuid NOT NULL REFERENCES authors ON DELETE CASCADE,
    title  text NOT NULL,
    price  numeric(20,8) NOT NULL,
    mood   mood
);
