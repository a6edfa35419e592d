package emulator

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// negotiateProtocol returns the answer to a client that requests more than protocol 3.0,
// because the gateway uses only that with PostgreSQL.
func negotiateProtocol(m *pgproto3.StartupMessage) []pgproto3.BackendMessage {
	var unrecognized []string
	for name := range m.Parameters {
		if strings.HasPrefix(name, "_pq_.") {
			unrecognized = append(unrecognized, name)
		}
	}
	if m.ProtocolVersion == pgproto3.ProtocolVersion30 && unrecognized == nil {
		return nil
	}
	return []pgproto3.BackendMessage{&pgproto3.NegotiateProtocolVersion{
		NewestMinorProtocol: pgproto3.ProtocolVersion30, // PostgreSQL sends the whole version
		UnrecognizedOptions: unrecognized,
	}}
}

// serveSession opens a PostgreSQL session as the role and relays it to the client.
func (g *gateway) serveSession(conn net.Conn, role principal, claims jwt.MapClaims, params map[string]string) error {
	config, err := g.sessionConfig(role, claims, params)
	if err != nil {
		return err
	}
	pgConn, err := pgconn.ConnectConfig(g.ctx, config)
	if err != nil {
		return g.sendConnectError(conn, err, role, claims)
	}
	backend, err := hijack(g.ctx, pgConn)
	if err != nil {
		return err
	}
	defer backend.Conn.Close()
	messages := []pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}}
	for name, value := range backend.ParameterStatuses {
		messages = append(messages, &pgproto3.ParameterStatus{Name: name, Value: value})
	}
	messages = append(messages,
		&pgproto3.BackendKeyData{ProcessID: backend.PID, SecretKey: backend.SecretKey},
		&pgproto3.ReadyForQuery{TxStatus: 'I'})
	g.azure.signIns.Add(1) // before the client is told, because it may read the count
	if err := sendMessages(conn, messages...); err != nil {
		return err
	}
	return g.relay(conn, backend.Conn, g.azure.rewriterFor(role, config.Database))
}

func (g *gateway) sessionConfig(role principal, claims jwt.MapClaims, params map[string]string) (*pgconn.Config, error) {
	connConfig, err := g.server.config()
	if err != nil {
		return nil, err
	}
	config := &connConfig.Config
	options := config.RuntimeParams["options"] // some servers need those of the given DSN
	config.User = role.role
	config.Password = role.password
	if role.password == "" {
		config.Password, _ = claims["appid"].(string)
	}
	config.Database = params["database"]
	if config.Database == "" {
		config.Database = role.role
	}
	config.RuntimeParams = maps.Clone(params)
	maps.DeleteFunc(config.RuntimeParams, func(name, _ string) bool {
		return name == "user" || name == "database" || strings.HasPrefix(name, "_pq_.")
	})
	if options != "" {
		config.RuntimeParams["options"] = joinOptions(options, params["options"])
	}
	config.MinProtocolVersion = "3.0" // as negotiated
	config.MaxProtocolVersion = "3.0"
	config.DialFunc = g.dial
	return config, nil
}

// hijack takes the connection to PostgreSQL from pgconn, for relaying.
func hijack(ctx context.Context, conn *pgconn.PgConn) (*pgconn.HijackedConn, error) {
	// pgconn reads in the background after a slow write, and would take the first answer
	// from the relay. The documentation of Hijack requires SyncConn for this reason.
	if err := conn.SyncConn(ctx); err != nil {
		conn.Close(ctx)
		return nil, err
	}
	return conn.Hijack()
}

// sendConnectError sends the error with which PostgreSQL has refused a session.
func (g *gateway) sendConnectError(conn net.Conn, err error, role principal, claims jwt.MapClaims) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return sendFatal(conn, "08006", "the emulator cannot reach its PostgreSQL", "")
	}
	if pgErr.Code == "28P01" && role.password == "" { // the role's password is another application's client id
		return g.refuse(conn, g.azure.objectIDMismatch(role, claims))
	}
	return sendError(conn, pgErr)
}

// relayRaw sends the first packet to PostgreSQL and relays everything after it.
func (g *gateway) relayRaw(conn net.Conn, packet []byte) error {
	config, err := g.server.config()
	if err != nil {
		return err
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	backend, err := g.dial(g.ctx, network, address)
	if err != nil {
		return err
	}
	defer backend.Close()
	if _, err := backend.Write(packet); err != nil {
		return err
	}
	return g.relay(conn, backend, nil)
}

// relay copies in both directions until either side closes. w, if not nil, rewrites the
// client's statements.
func (g *gateway) relay(client, backend net.Conn, w *rewriter) error {
	stop := context.AfterFunc(g.ctx, func() { backend.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if w != nil {
			w.copy(backend, client)
		} else {
			io.Copy(backend, client)
		}
		backend.Close() // ends the other copy
	}()
	_, err := io.Copy(client, backend)
	client.Close()
	<-done
	return err
}
