package direct

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// readServerHello returns the first record, which must be a ServerHello. What an older
// server or a proxy says instead is no TLS, or an alert.
func readServerHello(r io.Reader) ([]byte, error) {
	const (
		headerSize    = 5 // type, version, length
		handshake     = 22
		serverHello   = 2
		maxRecordSize = 1 << 14
	)
	record := make([]byte, headerSize, 512)
	if _, err := io.ReadFull(r, record[:1]); err != nil {
		return nil, err
	}
	if record[0] != handshake {
		return nil, fmt.Errorf("the response begins with %d, want a handshake", record[0])
	}
	if _, err := io.ReadFull(r, record[1:]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint16(record[3:]))
	if record[1] != 3 || size == 0 || size > maxRecordSize {
		return nil, errors.New("the response is not a record of TLS")
	}
	record = append(record, make([]byte, size)...)
	if _, err := io.ReadFull(r, record[headerSize:]); err != nil {
		return nil, err
	}
	if record[headerSize] != serverHello {
		return nil, errors.New("the response is not a ServerHello")
	}
	return record, nil
}
