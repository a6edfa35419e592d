package azure

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"regexp"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// A startup is a sign-in without the driver, as a program by hand makes it.
type startup struct {
	user, password string
	plaintext      bool              // without TLS; password must then be no secret
	params         map[string]string // further settings
	methods        []string          // what the server has asked for, set by connect
	tls            *tls.ConnectionState
}

var errUnverified = errors.New("a password would go over a connection that does not verify the server")

// connect makes the sign-in, over verified TLS.
func (r *run) connect(ctx context.Context, s *startup) error {
	conn, err := r.open(ctx, s)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func (r *run) open(ctx context.Context, s *startup) (*pgx.Conn, error) {
	cfg := r.base.Clone()
	cfg.Auth = []dsn.Mode{dsn.Password}
	cfg.Params["sslmode"] = "verify-full"
	if cfg.Params["sslrootcert"] == "" {
		cfg.Params["sslrootcert"] = "system" // not a root.crt in the home directory
	}
	if s.plaintext {
		cfg.Params["sslmode"] = "disable"
		delete(cfg.Params, "sslrootcert")
	}
	cfg.Params["user"] = s.user
	maps.Copy(cfg.Params, s.params)
	c, err := driver.NewConnector(cfg.DSN())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	config := c.Config()
	config.Password = s.password
	config.Fallbacks = nil
	if !s.plaintext && (config.TLSConfig == nil || config.TLSConfig.InsecureSkipVerify) {
		return nil, errUnverified
	}
	var received bytes.Buffer
	config.BuildFrontend = func(from io.Reader, to io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(io.TeeReader(from, &limitedWriter{&received, 4096}), to)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	s.methods = methodsIn(received.Bytes())
	if err != nil {
		return nil, err
	}
	if secure, ok := conn.PgConn().Conn().(*tls.Conn); ok {
		state := secure.ConnectionState()
		s.tls = &state
	}
	return conn, nil
}

// A limitedWriter keeps the first bytes that are written to it.
type limitedWriter struct {
	to   *bytes.Buffer
	left int
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.left -= n
	w.to.Write(p[:n])
	return len(p), nil
}

var mechanism = regexp.MustCompile(`^[A-Z0-9-]{1,32}$`)

// methodsIn returns the authentication methods that a server asks for in its messages.
func methodsIn(b []byte) (methods []string) {
	names := map[uint32]string{3: "cleartext password", 5: "md5", 7: "gss", 9: "sspi"}
	for len(b) >= 9 && b[0] == 'R' {
		length := int(binary.BigEndian.Uint32(b[1:]))
		if length < 8 || len(b) < 1+length {
			break
		}
		code := binary.BigEndian.Uint32(b[5:])
		if name := names[code]; name != "" {
			methods = append(methods, name)
		}
		if code == 10 {
			for name := range bytes.SplitSeq(b[9:1+length], []byte{0}) {
				if mechanism.Match(name) {
					methods = append(methods, string(name))
				}
			}
		}
		b = b[1+length:]
	}
	return methods
}
