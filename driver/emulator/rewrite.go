package emulator

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
)

// A rewriter replaces a statement that only an extension of Azure's supports by one that
// does the same in PostgreSQL.
type rewriter struct {
	marker string // every statement to rewrite contains it, in either case
	// rewriteStatement returns the replacement of a statement, and false if the statement
	// is not one to rewrite.
	rewriteStatement func(statement []sqlToken) (string, bool)
}

// securityLabel returns a rewriter that replaces SECURITY LABEL by a call of the schema's
// procedure. Neither returns rows.
func securityLabel(schema string) *rewriter {
	return &rewriter{"pgaadauth", func(s []sqlToken) (string, bool) { return labelCall(schema, s) }}
}

func labelCall(schema string, s []sqlToken) (string, bool) {
	if len(s) != 9 || !startsWith(s, "security", "label", "for", "pgaadauth", "on", "role", "", "is", "") {
		return "", false
	}
	role := s[6].name()
	label := s[8].text
	if !strings.HasSuffix(label, "'") && !strings.EqualFold(label, "null") {
		return "", false
	}
	return "CALL " + schema + ".label(" + quoteLiteral(role) + ", " + label + ")", true
}

// validateOIDs replaces the parameter aad_validate_oids_in_tenant in SET by one that
// PostgreSQL accepts because its name has two parts.
var validateOIDs = rewriter{"aad_validate_oids_in_tenant", func(s []sqlToken) (string, bool) {
	param := 1
	if len(s) > 2 && (startsWith(s, "set", "session") || startsWith(s, "set", "local")) {
		param = 2
	}
	if len(s) <= param || !startsWith(s, "set") || s[param].name() != "aad_validate_oids_in_tenant" {
		return "", false
	}
	var words []string
	for _, t := range s {
		words = append(words, t.text)
	}
	words[param] = "emulator.validate_oids"
	return strings.Join(words, " "), true
}}

// rewriterFor returns the rewriter of a session, or nil. Only administrators have one, and
// on flexible server only in the database postgres, which has the procedure.
func (a *Azure) rewriterFor(role principal, database string) *rewriter {
	if !role.admin {
		return nil
	}
	if a.single {
		return &validateOIDs
	}
	if database == "postgres" {
		return securityLabel(a.postgres.schema)
	}
	return nil
}

// maxRewritten is the largest message, in bytes, whose statements are rewritten.
const maxRewritten = 1 << 16

// copy is io.Copy for the messages of a client in a session. It rewrites the statements
// of the simple and of the extended query protocol.
func (w rewriter) copy(dst io.Writer, src io.Reader) error {
	head := make([]byte, 5)
	for {
		if _, err := io.ReadFull(src, head); err != nil {
			return err
		}
		messageType := head[0]
		n := int64(binary.BigEndian.Uint32(head[1:])) - 4
		if n < 0 || n > maxRewritten || (messageType != 'Q' && messageType != 'P') {
			if _, err := dst.Write(head); err != nil {
				return err
			}
			if _, err := io.CopyN(dst, src, max(n, 0)); err != nil { // PostgreSQL ends a session with an invalid length
				return err
			}
			continue
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(src, body); err != nil {
			return err
		}
		body = w.rewriteMessage(messageType, body)
		binary.BigEndian.PutUint32(head[1:], uint32(len(body)+4))
		if _, err := dst.Write(append(head, body...)); err != nil {
			return err
		}
	}
}

// rewriteMessage rewrites the statements in the body of a Query or Parse message.
func (w rewriter) rewriteMessage(messageType byte, body []byte) []byte {
	var name []byte // of the prepared statement, in Parse
	rest := body
	if messageType == 'P' {
		i := bytes.IndexByte(body, 0) + 1
		name = body[:i]
		rest = body[i:]
	}
	sql, after, ok := bytes.Cut(rest, []byte{0})
	if !ok {
		return body
	}
	return bytes.Join([][]byte{name, []byte(w.rewrite(string(sql))), {0}, after}, nil)
}

// rewrite rewrites the statements of a text and leaves everything else unchanged.
func (w rewriter) rewrite(sql string) string {
	if !strings.Contains(strings.ToLower(sql), w.marker) {
		return sql
	}
	var out strings.Builder
	copied := 0
	for _, s := range statements(sql) {
		if text, ok := w.rewriteStatement(s); ok {
			first := s[0]
			last := s[len(s)-1]
			out.WriteString(sql[copied:first.offset] + text)
			copied = last.offset + len(last.text)
		}
	}
	return out.String() + sql[copied:]
}
