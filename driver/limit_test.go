package driver

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// The limits on messages and replies end with the sign-in. After it only the program's own
// limit applies.
func TestLimitEndsWithTheSignIn(t *testing.T) {
	entratest.CleanEnv(t)
	const own = 4 * maxAuthBytes
	long := strings.Repeat("x", 3*maxAuthBytes)
	longer := long + long
	for _, tt := range []struct {
		name   string
		change func(*pgx.ConnConfig)
		want   string // in the error of a message beyond the program's limit; "": there is none
	}{
		{name: "no limit", change: func(*pgx.ConnConfig) {}},
		{name: "limit of the config", change: func(c *pgx.ConnConfig) { c.MaxProtocolMessageBodyLen = own }, want: "invalid body length: expected at most 4194304"},
		{name: "limit of the frontend", change: func(c *pgx.ConnConfig) {
			c.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
				f := pgproto3.NewFrontend(r, w)
				f.SetMaxBodyLen(own)
				return f
			}
		}, want: "invalid body length: expected at most 4194304"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, func(s *fakeServer) {
				s.reply = append(slices.Clone(authOK), &pgproto3.NoticeResponse{Message: long}, &pgproto3.NoticeResponse{Message: longer})
			})
			c := newConnector(t, s.trustedDSN(""), WithCredential(&entratest.Credential{}), WithConnConfig(tt.change))
			conn, err := c.Connect(t.Context())
			if err != nil {
				t.Fatalf("Connect() = %v", err)
			}
			defer conn.Close()
			pg := conn.(*stdlib.Conn).Conn().PgConn()
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			receive := func() (string, error) {
				m, err := pg.ReceiveMessage(ctx)
				notice, ok := m.(*pgproto3.NoticeResponse)
				if err == nil && !ok {
					t.Fatalf("received a %T, want a notice", m)
				}
				if err != nil {
					return "", err
				}
				return notice.Message, nil
			}

			got, err := receive()
			if err != nil {
				t.Errorf("a message longer than in a sign-in: %v, want no error", err)
			}
			if got != long {
				t.Errorf("received a notice of %d bytes, want %d", len(got), len(long))
			}
			for range 2 * maxAuthReplies { // more messages than in a sign-in
				pg.Frontend().SendSync(&pgproto3.Sync{})
				if err := pg.Frontend().Flush(); err != nil {
					t.Errorf("Flush() = %v, want no error", err)
				}
			}
			got, err = receive()
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("a message longer than the program's limit: %v, want %q in it", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Errorf("a longer message: %v, want no error", err)
			}
			if got != longer {
				t.Errorf("received a notice of %d bytes, want %d", len(got), len(longer))
			}
		})
	}
}

// NegotiateProtocolVersion with a count that its body cannot hold is refused before pgx
// decodes it: pgx panics where an int has 32 bits and the count is negative as one.
func TestOptionsFit(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct {
		name    string
		message []byte
		want    string // in the error; "": the sign-in goes on
	}{
		{name: "0xffffffff", message: encodeRaw('v', 12, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff), want: "it counts more options than it holds"},
		{name: "0x80000000", message: encodeRaw('v', 12, 0, 0, 0, 0, 0x80, 0, 0, 0), want: "it counts more options than it holds"},
		{name: "one too many", message: encodeRaw('v', 14, 0, 0, 0, 0, 0, 0, 0, 3, 'x', 0), want: "it counts more options than it holds"},
		{name: "one", message: encodeRaw('v', 14, 0, 0, 0, 0, 0, 0, 0, 1, 'x', 0)},
		{name: "none", message: encodeRaw('v', 12, 0, 0, 0, 0, 0, 0, 0, 0)},
		{name: "too short", message: encodeRaw('v', 11, 0, 0, 0, 0, 0, 0, 0), want: "NegotiateProtocolVersion"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, func(s *fakeServer) {
				s.misbehave = send(append(tt.message, cleartextRequest...), encode(authOK...))
			})
			err := ping(t, s.trustedDSN(""), WithCredential(&entratest.Credential{}))
			if tt.want == "" {
				if err != nil {
					t.Errorf("ping = %v, want no error", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ping = %v, want %q in it", err, tt.want)
			}
		})
	}
}
