package driver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// FuzzServer lets a server send any bytes in place of a sign-in. A connect returns, does not
// panic, not where an int has 32 bits either, and says nothing of the token, which the
// server receives only if it has requested it.
//
//	GOARCH=386 go test -fuzz FuzzServer ./driver
func FuzzServer(f *testing.F) {
	entratest.CleanEnv(f)
	const opaque = "opaque-token-of-the-test" // mutated, it is none
	notice := encode(&pgproto3.NoticeResponse{Severity: "NOTICE", Message: opaque})
	for _, seed := range [][]byte{
		nil,
		encode(authOK...),
		append(bytes.Clone(cleartextRequest), encode(authOK...)...),
		append(append(bytes.Clone(notice), cleartextRequest...), encode(errorResponse("28P01", "no "+opaque)...)...),
		encode(&pgproto3.AuthenticationMD5Password{}),
		encode(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"OAUTHBEARER"}}, &pgproto3.AuthenticationSASLContinue{Data: []byte(`{"status":"no"}`)}),
		encode(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}}, &pgproto3.AuthenticationSASLContinue{Data: []byte("r=a,s=YQ==,i=4096")}, &pgproto3.AuthenticationSASLFinal{Data: []byte("v=YQ==")}),
		encodeAuthRequest(7), encodeAuthRequest(8, 1, 2, 3), encodeAuthRequest(9), encodeAuthRequest(99),
		encodeRaw('R', 0x3fffffff), encodeRaw('R', 0xffffffff), encodeRaw('R', 0x80000000), encodeRaw('E', 3), encodeRaw('R', 4), encodeRaw('R', 6, 0, 0),
		encodeRaw('v', 12, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff),
		encodeRaw('v', 12, 0, 0, 0, 0, 0x80, 0, 0, 0),
		encodeRaw('v', 14, 0, 0, 0, 0, 0, 0, 0, 2, 'x', 0),
		encodeRaw('v', 8, 0, 0, 0, 0),
		encode(&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: 9999, UnrecognizedOptions: []string{"_pq_.x"}}),
		encode(&pgproto3.ParameterStatus{Name: "a", Value: "b"}, &pgproto3.BackendKeyData{SecretKey: make([]byte, 256)}),
		encode(&pgproto3.DataRow{Values: [][]byte{[]byte("x")}}), encodeRaw('D', 10, 0, 1, 0xff, 0xff, 0xff, 0xfe), encodeRaw('D', 6, 0xff, 0xff),
		encode(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("n")}}}), encodeRaw('T', 6, 0xff, 0xff),
		encodeRaw('V', 8, 0xff, 0xff, 0xff, 0xfe), encodeRaw('V', 8, 0x7f, 0xff, 0xff, 0xff), encodeRaw('t', 6, 0xff, 0xff),
		encode(&pgproto3.CopyInResponse{}, &pgproto3.CopyOutResponse{}, &pgproto3.CopyBothResponse{}, &pgproto3.CopyData{}, &pgproto3.CopyDone{}),
		encode(&pgproto3.NotificationResponse{Channel: "c"}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.EmptyQueryResponse{}),
		encode(&pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, &pgproto3.CloseComplete{}, &pgproto3.NoData{}, &pgproto3.PortalSuspended{}),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		var received syncBuffer
		pipe := withDial(func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				go io.Copy(&received, server)
				server.Write(sent)
				time.Sleep(time.Millisecond) // for the answer
				server.Close()
			}()
			return client, nil
		})
		c := newConnector(t, "host=127.0.0.1 user=me sslmode=disable aad_insecure=plaintext", WithCredential(opaqueCredential(opaque)), pipe)
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		conn, err := c.Connect(ctx)
		if err == nil {
			conn.Close()
		} else {
			if !errors.As(err, new(*Error)) {
				t.Errorf("the server sent %q: Connect() = %v, want an *Error", sent, err)
			}
			for _, form := range printedForms(err) {
				if strings.Contains(form.text, opaque) {
					t.Errorf("the server sent %q: %s = %q, want no token in it", sent, form.name, form.text)
				}
			}
			checkPrintable(t, "error", err.Error(), 2000)
		}
		requested := bytes.Contains(sent, []byte("OAUTHBEARER")) || bytes.Contains(sent, cleartextRequest[5:])
		if got := received.String(); strings.Contains(got, opaque) && !requested {
			t.Errorf("the server sent %q and received %q, want no token in it", sent, got)
		}
	})
}
