package emulator

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// gateway stands before PostgreSQL as Azure's does: it speaks TLS, signs Entra
// roles in, and relays everything else untouched.
type gateway struct {
	azure  *Azure
	port   int
	ln     net.Listener
	dial   pgconn.DialFunc // reaches PostgreSQL
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func listen(a *Azure) (*gateway, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gateway{azure: a, ln: ln, port: ln.Addr().(*net.TCPAddr).Port, dial: (&net.Dialer{}).DialContext}
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
			conn, secure = tls.Server(conn, g.azure.ca.config()), true
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
	name, err := a.roleName(m.Parameters["user"])
	if err != nil {
		return fatal(conn, "28000", err.Error(), "")
	}
	a.mu.Lock()
	role, mapped := a.roles[name]
	a.mu.Unlock()
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
	if refusal := a.judge(role.identity, password, serverName(conn)); refusal != nil {
		a.refused.Add(1)
		return fatal(conn, refusal.Code, refusal.Message, refusal.Hint)
	}
	return g.session(conn, name, role.password, m.Parameters)
}

// negotiate answers a client that asks for more than protocol 3.0, which is all
// that the gateway speaks with PostgreSQL on its behalf.
func negotiate(m *pgproto3.StartupMessage) []pgproto3.BackendMessage {
	var unknown []string
	for name := range m.Parameters {
		if strings.HasPrefix(name, "_pq_.") {
			unknown = append(unknown, name)
		}
	}
	if m.ProtocolVersion == pgproto3.ProtocolVersion30 && unknown == nil {
		return nil
	}
	return []pgproto3.BackendMessage{&pgproto3.NegotiateProtocolVersion{
		NewestMinorProtocol: pgproto3.ProtocolVersion30, // the whole version, as PostgreSQL sends it
		UnrecognizedOptions: unknown,
	}}
}

// session opens the backend as the role and relays from there on.
func (g *gateway) session(conn net.Conn, user, password string, params map[string]string) error {
	config, err := pgconn.ParseConfig(g.azure.postgres.dsn)
	if err != nil {
		return err
	}
	config.User, config.Password, config.Database = user, password, params["database"]
	if config.Database == "" {
		config.Database = user
	}
	config.RuntimeParams = maps.Clone(params) // none of PGAPPNAME, PGOPTIONS and PGTZ of this process
	maps.DeleteFunc(config.RuntimeParams, func(k, _ string) bool {
		return k == "user" || k == "database" || strings.HasPrefix(k, "_pq_.")
	})
	config.MinProtocolVersion, config.MaxProtocolVersion = "3.0", "3.0" // as negotiated
	config.DialFunc = g.dial
	backend, err := pgconn.ConnectConfig(g.ctx, config)
	if err != nil {
		var pg *pgconn.PgError
		if errors.As(err, &pg) {
			return passOn(conn, pg)
		}
		return fatal(conn, "08006", "the emulator cannot reach its PostgreSQL", "")
	}
	// After a slow write pgconn reads in the background, and would take the first
	// answer from the relay: Hijack asks for this.
	if err := backend.SyncConn(g.ctx); err != nil {
		backend.Close(g.ctx)
		return err
	}
	h, err := backend.Hijack()
	if err != nil {
		return err
	}
	defer h.Conn.Close()
	greeting := []pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}}
	for k, v := range h.ParameterStatuses {
		greeting = append(greeting, &pgproto3.ParameterStatus{Name: k, Value: v})
	}
	greeting = append(greeting, &pgproto3.BackendKeyData{ProcessID: h.PID, SecretKey: h.SecretKey}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	g.azure.signIns.Add(1) // before the client knows, who may ask for the count
	if err := send(conn, greeting...); err != nil {
		return err
	}
	return g.relay(conn, h.Conn)
}

// relayRaw passes the packet that began a connection, and all that follows, on.
func (g *gateway) relayRaw(conn net.Conn, packet []byte) error {
	config, err := pgconn.ParseConfig(g.azure.postgres.dsn)
	if err != nil {
		return err
	}
	backend, err := g.dial(g.ctx, "tcp", net.JoinHostPort(config.Host, fmt.Sprint(config.Port)))
	if err != nil {
		return err
	}
	defer backend.Close()
	if _, err := backend.Write(packet); err != nil {
		return err
	}
	return g.relay(conn, backend)
}

// relay copies both ways until either side ends.
func (g *gateway) relay(client, backend net.Conn) error {
	stop := context.AfterFunc(g.ctx, func() { backend.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(backend, client) // the end of either copy ends the other
		backend.Close()
	}()
	_, err := io.Copy(client, backend)
	client.Close()
	<-done
	return err
}
