package emulator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// The packets before a session are read without a buffer, so that none of what
// follows them is lost when relaying begins.

func readStartup(r io.Reader) ([]byte, error) {
	packet := make([]byte, 8)
	if _, err := io.ReadFull(r, packet); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(packet)
	if n < 8 || n > 10_000 { // PostgreSQL's own limit
		return nil, fmt.Errorf("startup packet of %d bytes", n)
	}
	packet = append(packet, make([]byte, n-8)...)
	_, err := io.ReadFull(r, packet[8:])
	return packet, err
}

func readPassword(r io.Reader) (string, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return "", err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if head[0] != 'p' || n < 5 || n > 65_535 {
		return "", errors.New("no password message")
	}
	body := make([]byte, n-4)
	_, err := io.ReadFull(r, body)
	return string(body[:len(body)-1]), err
}

func send(w io.Writer, messages ...pgproto3.BackendMessage) error {
	var buf []byte
	for _, m := range messages {
		var err error
		if buf, err = m.Encode(buf); err != nil {
			return err
		}
	}
	_, err := w.Write(buf)
	return err
}

func fatal(w io.Writer, code, message, hint string) error {
	return passOn(w, &pgconn.PgError{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: message, Hint: hint})
}

// passOn sends an error in the shape it came in.
func passOn(w io.Writer, e *pgconn.PgError) error {
	return send(w, &pgproto3.ErrorResponse{Severity: e.Severity, SeverityUnlocalized: e.SeverityUnlocalized, Code: e.Code,
		Message: e.Message, Detail: e.Detail, Hint: e.Hint, Position: e.Position, InternalPosition: e.InternalPosition,
		InternalQuery: e.InternalQuery, Where: e.Where, SchemaName: e.SchemaName, TableName: e.TableName, ColumnName: e.ColumnName,
		DataTypeName: e.DataTypeName, ConstraintName: e.ConstraintName, File: e.File, Line: e.Line, Routine: e.Routine})
}
