package integration

import "encoding/binary"

// A framer finds the messages of one direction. The first of them is the SSLRequest or
// its one-byte answer. With raw the others are TLS records, else they are PostgreSQL's.
type framer struct {
	direction int
	raw       bool
	message   int
	header    []byte // of the current message, as far as it has been read
	offset    int    // in the current message
}

// A segment is a number of bytes of one message.
type segment struct {
	n           int
	endsMessage bool
	atPosition  bool // ends at the disruption's position
}

// size returns the length of the current message's header, and of the whole message if
// the header is complete.
func (f *framer) size() (header, total int) {
	first := f.message == 0
	switch {
	case f.raw && first && f.direction == toClient:
		return 1, 1
	case first && f.direction == toServer:
		header = 4
		if len(f.header) >= header {
			total = int(binary.BigEndian.Uint32(f.header))
		}
	case f.raw:
		header = 5
		if len(f.header) >= header {
			total = header + int(binary.BigEndian.Uint16(f.header[3:]))
		}
	default:
		header = 5
		if len(f.header) >= header {
			total = 1 + int(binary.BigEndian.Uint32(f.header[1:]))
		}
	}
	return header, total
}

// next takes bytes from b up to the end of a message or to d's position.
func (f *framer) next(b []byte, d disruption) (s segment) {
	concerned := d.action != "" && d.at.direction == f.direction && d.at.message == f.message
	for s.n < len(b) {
		if header, _ := f.size(); len(f.header) < header {
			f.header = append(f.header, b[s.n])
		}
		s.n++
		f.offset++
		header, total := f.size()
		complete := len(f.header) >= header
		s.endsMessage = complete && f.offset >= total
		s.atPosition = concerned && f.at(d.at.part, header, total, complete)
		if s.endsMessage {
			f.message++
			f.header = f.header[:0]
			f.offset = 0
		}
		if s.endsMessage || s.atPosition {
			return s
		}
	}
	return s
}

// at reports whether the offset is the middle of the header, the middle of the body, or
// the end of the message.
func (f *framer) at(part string, header, total int, complete bool) bool {
	switch part {
	case "header":
		return header > 1 && f.offset == (header+1)/2
	case "body":
		return complete && f.offset < total && f.offset == header+(total-header+1)/2
	case "end":
		return complete && f.offset >= total
	}
	return false
}
