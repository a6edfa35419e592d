package emulator

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"testing/iotest"
)

func TestRewrite(t *testing.T) {
	const label = `SECURITY LABEL FOR "pgaadauth" ON ROLE "it""s'a\b" IS 'l'`
	const call = `CALL pg_emulator.label( E'it"s''a\\b', 'l')`
	for _, tt := range []struct {
		by        rewriter
		sql, want string // none: as it was
	}{
		{securityLabel, label, call},
		{securityLabel, " " + label + " ; ", " " + call + " ; "},
		{securityLabel, "a;" + label + ";b", "a;" + call + ";b"},
		{securityLabel, "-- ; it's\n" + label + " /* ' */", "-- ; it's\n" + call + " /* ' */"},
		{securityLabel, `security label for'pgaadauth'on role Foo is E'l\'x'`, `CALL pg_emulator.label( E'foo', E'l\'x')`},
		{securityLabel, "$$" + label + ";" + label + "$$", ""},
		{securityLabel, "$a$;" + label + ";$b$;" + label, ""},
		{securityLabel, "'" + label[:10] + ";" + label, ""},
		{securityLabel, `SECURITY LABEL FOR "PGAADAUTH" ON ROLE a IS 'pgaadauth'`, ""},
		{securityLabel, `SECURITY LABEL FOR "pgaadauth" ON ROLE a IS NULL`, `CALL pg_emulator.label( E'a', NULL)`},
		{securityLabel, `SECURITY LABEL FOR "pgaadauth" ON ROLE a IS "null"`, ""},
		{securityLabel, `SECURITY LABEL FOR "pgaadauth" ON ROLE`, ""},
		{securityLabel, "pgaadauth\xff\";;'", ""},
		{securityLabel, `security label for pgaadauth on role " is 'x'`, `CALL pg_emulator.label( E'"', 'x')`},
		{securityLabel, "", ""},
		{validateOIDs, "SET aad_validate_oids_in_tenant = off;", "SET emulator.validate_oids = off;"},
		{validateOIDs, "set local AAD_validate_oids_in_tenant to 'on'", "set local emulator.validate_oids to 'on'"},
		{validateOIDs, "SHOW aad_validate_oids_in_tenant", ""},
		{validateOIDs, "SET", ""},
		{validateOIDs, "SELECT 'SET aad_validate_oids_in_tenant = off'", ""},
	} {
		want := tt.want
		if want == "" {
			want = tt.sql
		}
		if got := tt.by.rewrite(tt.sql); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", tt.sql, got, want)
		}
	}
}

// Whatever a client sends goes on, as it was but for the statement.
func FuzzRewrite(f *testing.F) {
	f.Add(`SECURITY LABEL FOR "pgaadauth" ON ROLE a IS 'l'`, []byte{0, 1, 0, 0, 0, 25})
	f.Add(`security label for pgaadauth on role " is '`, []byte{})
	f.Add("$pgaadauth$;'\"", []byte{})
	f.Fuzz(func(t *testing.T, sql string, rest []byte) {
		message := func(kind byte, body ...[]byte) []byte {
			all := bytes.Join(body, nil)
			return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(all)+4)), all...)
		}
		zero := []byte{0}
		name, _, _ := bytes.Cut([]byte(sql), zero)
		edited := []byte(securityLabel.rewrite(string(name)))
		in := bytes.Join([][]byte{message('d', rest), message('Q', name, zero), message('P', name, zero, name, zero, rest), message('Q', rest), message('X')}, nil)
		want := bytes.Join([][]byte{message('d', rest), message('Q', edited, zero), message('P', name, zero, edited, zero, rest), message('Q', securityLabel.rewriteMessage('Q', rest)), message('X')}, nil)
		var out bytes.Buffer
		if err := securityLabel.copy(&out, iotest.OneByteReader(bytes.NewReader(in))); err != io.EOF || !bytes.Equal(out.Bytes(), want) {
			t.Errorf("%v\ngot  %q\nwant %q", err, out.Bytes(), want)
		}
	})
}
