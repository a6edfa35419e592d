package emulator

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// A gateway is in front of PostgreSQL, as Azure's is: it terminates TLS, authenticates
// Entra roles and relays everything else unchanged.
type gateway struct {
	azure  *Azure
	server *postgres
	port   int
	ln     net.Listener
	dial   pgconn.DialFunc // connects to PostgreSQL
	ctx    context.Context // canceled by close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// newGateway starts a gateway on a free port of 127.0.0.1.
func newGateway(a *Azure, server *postgres) (*gateway, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gateway{azure: a, server: server, ln: ln, port: ln.Addr().(*net.TCPAddr).Port, dial: (&net.Dialer{}).DialContext}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.wg.Go(g.accept)
	return g, nil
}

func (g *gateway) accept() {
	for {
		conn, err := g.ln.Accept()
		if err != nil {
			return
		}
		g.wg.Go(func() { g.handle(conn) })
	}
}

func (g *gateway) handle(conn net.Conn) {
	stop := context.AfterFunc(g.ctx, func() { conn.Close() })
	defer stop()
	faults := g.azure.Faults.current()
	client := withRoundTrip(g.ctx, conn, faults.roundTrip)
	defer client.Close()
	if faults.hangUp {
		return
	}
	g.serve(client) // after an error the client is gone or has been sent the error
}

func (g *gateway) close() {
	g.cancel()
	g.ln.Close()
	g.wg.Wait()
}

// The codes that the first packet has in place of a protocol version.
const (
	sslRequest    = 80877103
	gssRequest    = 80877104
	cancelRequest = 80877102
)

// serve answers the requests for encryption and then the startup packet. A client may also
// begin with TLS, as PostgreSQL 17 permits.
func (g *gateway) serve(conn net.Conn) error {
	conn, direct, err := peekTLS(conn)
	if err != nil {
		return err
	}
	if direct {
		if conn, err = g.acceptDirectTLS(conn); err != nil {
			return err
		}
	}
	encrypted := direct
	for {
		packet, err := readStartup(conn)
		if err != nil {
			return err
		}
		switch code := binary.BigEndian.Uint32(packet[4:]); {
		case code == gssRequest, code == sslRequest && !encrypted && g.azure.Faults.current().refuseTLS:
			if _, err := conn.Write([]byte("N")); err != nil {
				return err
			}
		case code == sslRequest && !encrypted:
			if conn, err = g.startTLS(conn); err != nil {
				return err
			}
			encrypted = true
		case code == cancelRequest:
			return g.relayRaw(conn, packet)
		case !encrypted:
			return sendFatal(conn, "28000", "SSL connection is required. Please specify SSL options and retry.", "")
		default:
			return g.startup(conn, packet)
		}
	}
}

func (g *gateway) startTLS(conn net.Conn) (net.Conn, error) {
	if _, err := conn.Write([]byte("S")); err != nil {
		return nil, err
	}
	return g.newTLS(conn)
}

// startup authenticates the client if the role is an Entra role, and relays the
// connection to PostgreSQL otherwise.
func (g *gateway) startup(conn net.Conn, packet []byte) error {
	var m pgproto3.StartupMessage
	if err := m.Decode(packet[4:]); err != nil {
		return sendFatal(conn, "08P01", "invalid startup packet", "")
	}
	a := g.azure
	a.recordStartup(m.Parameters)
	if e := a.Faults.current().refusal; e != nil {
		return sendError(conn, e)
	}
	name, err := a.roleName(m.Parameters["user"])
	if err != nil {
		return sendFatal(conn, "28000", err.Error(), "")
	}
	role, mapped, err := a.lookUpPrincipal(g.ctx, g.server, name)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) { // such as while PostgreSQL starts or stops
		return sendError(conn, pgErr)
	}
	if err != nil {
		return sendFatal(conn, "08006", "the emulator cannot query its PostgreSQL for the role", "")
	}
	if !mapped { // PostgreSQL authenticates its native roles, and refuses unknown ones
		return g.relayNative(conn, packet, &m, name)
	}
	return g.authenticate(conn, role, &m)
}

// relayNative relays the connection of a native role.
func (g *gateway) relayNative(conn net.Conn, packet []byte, m *pgproto3.StartupMessage, role string) error {
	if !g.azure.single {
		return g.relayRaw(conn, packet)
	}
	params := maps.Clone(m.Parameters) // the original is recorded
	params["user"] = role              // PostgreSQL does not have user@server
	m.Parameters = params
	packet, err := m.Encode(nil)
	if err != nil {
		return err
	}
	return g.relayRaw(conn, packet)
}

// authenticate requests the password of an Entra role, checks that it is a token for the
// role and opens the session.
func (g *gateway) authenticate(conn net.Conn, role principal, m *pgproto3.StartupMessage) error {
	a := g.azure
	request := append(negotiateProtocol(m), &pgproto3.AuthenticationCleartextPassword{})
	if err := sendMessages(conn, request...); err != nil {
		return err
	}
	password, err := readPassword(conn)
	if err != nil {
		return err
	}
	if err := a.Faults.waitSignInDelay(g.ctx); err != nil {
		return err
	}
	claims, refusal := a.checkToken(password, serverName(conn))
	if refusal != nil {
		return g.refuse(conn, refusal)
	}
	if refusal := a.checkRole(role, claims); refusal != nil {
		return g.refuse(conn, refusal)
	}
	return g.serveSession(conn, role, claims, m.Parameters)
}

// refuse ends the sign-in of an Entra role.
func (g *gateway) refuse(conn net.Conn, e *pgconn.PgError) error {
	g.azure.refusedSignIns.Add(1)
	return sendFatal(conn, e.Code, e.Message, e.Hint)
}
