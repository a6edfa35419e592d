package emulator

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"testing/iotest"
)

func TestRewriteSecurityLabel(t *testing.T) {
	const label = `SECURITY LABEL FOR "pgaadauth" ON ROLE "it""s'a\b" IS 'l'`
	const call = `CALL pg_emulator.label( E'it"s''a\\b', 'l')`
	checkRewrites(t, *securityLabel("pg_emulator"), []rewriteTest{
		{"statement", label, call},
		{"spaces and semicolon", " " + label + " ; ", " " + call + " ; "},
		{"among statements", "a;" + label + ";b", "a;" + call + ";b"},
		{"comments", "-- ; it's\n" + label + " /* ' */", "-- ; it's\n" + call + " /* ' */"},
		{"lower case, escape string", `security label for'pgaadauth'on role Foo is E'l\'x'`, `CALL pg_emulator.label( E'foo', E'l\'x')`},
		{"null", `SECURITY LABEL FOR "pgaadauth" ON ROLE a IS NULL`, `CALL pg_emulator.label( E'a', NULL)`},
		{"quote as the role", `security label for pgaadauth on role " is 'x'`, `CALL pg_emulator.label( E'"', 'x')`},
	})
	checkUnchanged(t, *securityLabel("pg_emulator"), []rewriteTest{
		{name: "dollar-quoted", sql: "$$" + label + ";" + label + "$$"},
		{name: "dollar-quoted, no end", sql: "$a$;" + label + ";$b$;" + label},
		{name: "string with no end", sql: "'" + label[:10] + ";" + label},
		{name: "quoted provider in another case", sql: `SECURITY LABEL FOR "PGAADAUTH" ON ROLE a IS 'pgaadauth'`},
		{name: "quoted null", sql: `SECURITY LABEL FOR "pgaadauth" ON ROLE a IS "null"`},
		{name: "incomplete", sql: `SECURITY LABEL FOR "pgaadauth" ON ROLE`},
		{name: "invalid UTF-8", sql: "pgaadauth\xff\";;'"},
		{name: "empty", sql: ""},
	})
}

func TestRewriteValidateOIDs(t *testing.T) {
	checkRewrites(t, validateOIDs, []rewriteTest{
		{"set", "SET aad_validate_oids_in_tenant = off;", "SET emulator.validate_oids = off;"},
		{"set local", "set local AAD_validate_oids_in_tenant to 'on'", "set local emulator.validate_oids to 'on'"},
	})
	checkUnchanged(t, validateOIDs, []rewriteTest{
		{name: "show", sql: "SHOW aad_validate_oids_in_tenant"},
		{name: "incomplete", sql: "SET"},
		{name: "string", sql: "SELECT 'SET aad_validate_oids_in_tenant = off'"},
	})
}

type rewriteTest struct{ name, sql, want string }

func checkRewrites(t *testing.T, w rewriter, tests []rewriteTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := w.rewrite(tt.sql); got != tt.want {
				t.Errorf("rewrite(%q)\ngot  %q\nwant %q", tt.sql, got, tt.want)
			}
		})
	}
}

func checkUnchanged(t *testing.T, w rewriter, tests []rewriteTest) {
	t.Helper()
	for i := range tests {
		tests[i].want = tests[i].sql
	}
	checkRewrites(t, w, tests)
}

// Everything but the statements of a rewriter is copied unchanged.
func FuzzRewrite(f *testing.F) {
	f.Add(`SECURITY LABEL FOR "pgaadauth" ON ROLE a IS 'l'`, []byte{0, 1, 0, 0, 0, 25})
	f.Add(`security label for pgaadauth on role " is '`, []byte{})
	f.Add("$pgaadauth$;'\"", []byte{})
	f.Fuzz(func(t *testing.T, sql string, rest []byte) {
		message := func(messageType byte, parts ...[]byte) []byte {
			body := bytes.Join(parts, nil)
			return append(binary.BigEndian.AppendUint32([]byte{messageType}, uint32(len(body)+4)), body...)
		}
		zero := []byte{0}
		text, _, _ := bytes.Cut([]byte(sql), zero)
		rewritten := []byte(securityLabel("pg_emulator").rewrite(string(text)))
		in := bytes.Join([][]byte{message('d', rest), message('Q', text, zero), message('P', text, zero, text, zero, rest), message('Q', rest), message('X')}, nil)
		want := bytes.Join([][]byte{message('d', rest), message('Q', rewritten, zero), message('P', text, zero, rewritten, zero, rest), message('Q', securityLabel("pg_emulator").rewriteMessage('Q', rest)), message('X')}, nil)
		var out bytes.Buffer
		if err := securityLabel("pg_emulator").copy(&out, iotest.OneByteReader(bytes.NewReader(in))); err != io.EOF {
			t.Errorf("copy() = %v, want %v", err, io.EOF)
		}
		if !bytes.Equal(out.Bytes(), want) {
			t.Errorf("copied\ngot  %q\nwant %q", out.Bytes(), want)
		}
	})
}
