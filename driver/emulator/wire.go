package emulator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// readStartup reads a startup packet, or a request in its place. Like readPassword it
// does not buffer, so that the relay receives everything that follows.
func readStartup(r io.Reader) ([]byte, error) {
	packet := make([]byte, 8)
	if _, err := io.ReadFull(r, packet); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(packet)
	if n < 8 || n > 10_000 { // MAX_STARTUP_PACKET_LENGTH in PostgreSQL's pqcomm.h
		return nil, fmt.Errorf("startup packet of %d bytes", n)
	}
	packet = append(packet, make([]byte, n-8)...)
	_, err := io.ReadFull(r, packet[8:])
	return packet, err
}

// readPassword reads a password message.
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

func sendMessages(w io.Writer, messages ...pgproto3.BackendMessage) error {
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

func sendFatal(w io.Writer, code, message, hint string) error {
	return sendError(w, &pgconn.PgError{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: message, Hint: hint})
}

// sendError sends an error with all its fields.
func sendError(w io.Writer, e *pgconn.PgError) error {
	return sendMessages(w, &pgproto3.ErrorResponse{Severity: e.Severity, SeverityUnlocalized: e.SeverityUnlocalized, Code: e.Code,
		Message: e.Message, Detail: e.Detail, Hint: e.Hint, Position: e.Position, InternalPosition: e.InternalPosition,
		InternalQuery: e.InternalQuery, Where: e.Where, SchemaName: e.SchemaName, TableName: e.TableName, ColumnName: e.ColumnName,
		DataTypeName: e.DataTypeName, ConstraintName: e.ConstraintName, File: e.File, Line: e.Line, Routine: e.Routine})
}
