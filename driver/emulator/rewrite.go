package emulator

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
)

// A rewriting is for a statement that only an extension of Azure's knows: edit
// makes one of it that does the same in plain PostgreSQL.
type rewriting struct {
	marker string // is in all such statements
	edit   func(statement []token) (string, bool)
}

// securityLabel makes a call of SECURITY LABEL. Neither answers with rows.
var securityLabel = rewriting{"pgaadauth", func(s []token) (string, bool) {
	if len(s) != 9 || !says(s, "security", "label", "for", "pgaadauth", "on", "role", "", "is", "") ||
		!strings.HasSuffix(s[8].text, "'") && !strings.EqualFold(s[8].text, "null") {
		return "", false
	}
	return "CALL pg_emulator.label(" + literal(s[6].name()) + ", " + s[8].text + ")", true
}}

// validateOIDs sets a parameter that anybody may make up, for that of Azure's.
var validateOIDs = rewriting{"aad_validate_oids_in_tenant", func(s []token) (string, bool) {
	at := 1
	if len(s) > 2 && (says(s, "set", "session") || says(s, "set", "local")) {
		at = 2
	}
	if len(s) <= at || !says(s, "set") || s[at].name() != "aad_validate_oids_in_tenant" {
		return "", false
	}
	words := []string{}
	for i, t := range s {
		if i == at {
			t.text = "emulator.validate_oids"
		}
		words = append(words, t.text)
	}
	return strings.Join(words, " "), true
}}

// rewriting is what a session's statements need, if any do: the functions that
// PostgreSQL is led to are in the database postgres only.
func (a *Azure) rewriting(who principal, database string) *rewriting {
	switch {
	case !who.admin:
		return nil
	case a.single:
		return &validateOIDs
	case database == "postgres":
		return &securityLabel
	}
	return nil
}

// largest is how long a message may be to be looked into.
const largest = 1 << 16

// copy is io.Copy for what a client sends in a session, with its statements
// rewritten, be it by a simple query or by Parse.
func (w rewriting) copy(to io.Writer, from io.Reader) error {
	head := make([]byte, 5)
	for {
		if _, err := io.ReadFull(from, head); err != nil {
			return err
		}
		n := int64(binary.BigEndian.Uint32(head[1:])) - 4
		if n < 0 || n > largest || head[0] != 'Q' && head[0] != 'P' {
			if _, err := to.Write(head); err != nil {
				return err
			}
			if _, err := io.CopyN(to, from, max(n, 0)); err != nil { // PostgreSQL ends a session with a false length
				return err
			}
			continue
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(from, body); err != nil {
			return err
		}
		body = w.message(head[0], body)
		binary.BigEndian.PutUint32(head[1:], uint32(len(body)+4))
		if _, err := to.Write(append(head, body...)); err != nil {
			return err
		}
	}
}

// message rewrites the statements in the body of a Query or Parse message.
func (w rewriting) message(kind byte, body []byte) []byte {
	var name []byte
	rest := body
	if kind == 'P' {
		i := bytes.IndexByte(body, 0) + 1
		name, rest = body[:i], body[i:]
	}
	sql, after, ok := bytes.Cut(rest, []byte{0})
	if !ok {
		return body
	}
	text := append([]byte(w.rewrite(string(sql))), 0)
	return append(append(append([]byte(nil), name...), text...), after...)
}

func (w rewriting) rewrite(sql string) string {
	if !strings.Contains(strings.ToLower(sql), w.marker) {
		return sql
	}
	var out strings.Builder
	done := 0
	for _, s := range statements(sql) {
		if text, ok := w.edit(s); ok {
			last := s[len(s)-1]
			out.WriteString(sql[done:s[0].at] + text)
			done = last.at + len(last.text)
		}
	}
	return out.String() + sql[done:]
}
