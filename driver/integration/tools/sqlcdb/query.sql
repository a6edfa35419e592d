-- name: SaveAuthor :one
INSERT INTO authors (name, bio, photo, tags, extra, born)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (name) DO UPDATE SET bio = EXCLUDED.bio, photo = EXCLUDED.photo, tags = EXCLUDED.tags,
    extra = EXCLUDED.extra, born = EXCLUDED.born
RETURNING *;

-- name: AddAuthor :exec
INSERT INTO authors (name, born) VALUES ($1, $2);

-- name: AddBooks :execrows
INSERT INTO books (author, title, price)
SELECT @author, unnest(@titles::text[]), unnest(@prices::text[])::numeric;

-- name: SetMood :execrows
UPDATE books SET mood = sqlc.narg(mood) WHERE title = ANY(@titles::text[]);

-- name: Shelf :many
SELECT sqlc.embed(authors), sqlc.embed(books)
FROM books JOIN authors ON authors.id = books.author
WHERE authors.tags && @tags::text[] OR authors.extra @> @extra
ORDER BY books.title;

-- name: CountAuthors :one
SELECT count(*) FROM authors;

-- name: Whoami :one
SELECT session_user::text;
