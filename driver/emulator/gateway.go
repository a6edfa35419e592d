package emulator

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// gateway stands before PostgreSQL as Azure's does: it speaks TLS, signs Entra
// roles in, and relays everything else untouched.
type gateway struct {
	azure  *Azure
	server *postgres
	port   int
	ln     net.Listener
	dial   pgconn.DialFunc // reaches PostgreSQL
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func listen(a *Azure, server *postgres) (*gateway, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gateway{azure: a, server: server, ln: ln, port: ln.Addr().(*net.TCPAddr).Port, dial: (&net.Dialer{}).DialContext}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			g.wg.Go(func() {
				stop := context.AfterFunc(g.ctx, func() { conn.Close() })
				defer stop()
				client := distance(g.ctx, conn, a.Faults.distance())
				defer client.Close()
				hangUp := false
				a.Faults.set(func() { hangUp = a.Faults.hangUp })
				if hangUp {
					return
				}
				g.serve(client) // an error means that the client is gone or was told
			})
		}
	})
	return g, nil
}

func (g *gateway) close() {
	g.cancel()
	g.ln.Close()
	g.wg.Wait()
}

// Codes that stand where a startup message has its protocol version.
const (
	sslRequest    = 80877103
	gssRequest    = 80877104
	cancelRequest = 80877102
)

func (g *gateway) serve(conn net.Conn) error {
	secure := false
	for {
		packet, err := readStartup(conn)
		if err != nil {
			return err
		}
		switch code := binary.BigEndian.Uint32(packet[4:]); {
		case code == gssRequest:
			if _, err := conn.Write([]byte("N")); err != nil {
				return err
			}
		case code == sslRequest:
			refuse := false
			g.azure.Faults.set(func() { refuse = g.azure.Faults.refuseTLS })
			if refuse {
				if _, err := conn.Write([]byte("N")); err != nil {
					return err
				}
				continue
			}
			if _, err := conn.Write([]byte("S")); err != nil {
				return err
			}
			config, err := g.azure.ca.present(g.azure.Faults.presented())
			if err != nil {
				return err
			}
			conn, secure = tls.Server(conn, config), true
		case code == cancelRequest:
			return g.relayRaw(conn, packet)
		case !secure:
			return fatal(conn, "28000", "SSL connection is required. Please specify SSL options and retry.", "")
		default:
			return g.start(conn, packet)
		}
	}
}

// start signs the client in or hands it on to PostgreSQL.
func (g *gateway) start(conn net.Conn, packet []byte) error {
	var m pgproto3.StartupMessage
	if err := m.Decode(packet[4:]); err != nil {
		return fatal(conn, "08P01", "invalid startup packet", "")
	}
	a := g.azure
	a.record(m.Parameters)
	var refusal *pgconn.PgError
	if a.Faults.set(func() { refusal = a.Faults.refusal }); refusal != nil {
		return passOn(conn, refusal)
	}
	name, err := a.roleName(m.Parameters["user"])
	if err != nil {
		return fatal(conn, "28000", err.Error(), "")
	}
	role, mapped, err := a.principal(g.ctx, g.server, name)
	var pg *pgconn.PgError
	if errors.As(err, &pg) { // it starts or stops
		return passOn(conn, pg)
	}
	if err != nil {
		return fatal(conn, "08006", "the emulator cannot ask its PostgreSQL for the role", "")
	}
	if !mapped { // a role of PostgreSQL's own, or none: SCRAM finds out
		if a.single { // PostgreSQL knows nothing of @server
			params := maps.Clone(m.Parameters) // the other map is recorded
			params["user"] = name
			m.Parameters = params
			if packet, err = m.Encode(nil); err != nil {
				return err
			}
		}
		return g.relayRaw(conn, packet)
	}
	greeting := append(negotiate(&m), &pgproto3.AuthenticationCleartextPassword{})
	if err := send(conn, greeting...); err != nil {
		return err
	}
	password, err := readPassword(conn)
	if err != nil {
		return err
	}
	if err := a.Faults.ponder(g.ctx); err != nil {
		return err
	}
	claims, refusal := a.check(password, serverName(conn))
	if refusal == nil {
		refusal = a.judge(role, claims)
	}
	if refusal != nil {
		return g.refuse(conn, refusal)
	}
	return g.session(conn, role, claims, m.Parameters)
}

// refuse ends a sign-in of an Entra role.
func (g *gateway) refuse(conn net.Conn, e *pgconn.PgError) error {
	g.azure.refused.Add(1)
	return fatal(conn, e.Code, e.Message, e.Hint)
}
