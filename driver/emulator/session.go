package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

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
func (g *gateway) session(conn net.Conn, role principal, claims jwt.MapClaims, params map[string]string) error {
	config, err := pgconn.ParseConfig(g.server.dsn)
	if err != nil {
		return err
	}
	config.User, config.Password, config.Database = role.role, role.password, params["database"]
	if config.Database == "" {
		config.Database = role.role
	}
	if role.password == "" {
		config.Password, _ = claims["appid"].(string)
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
		switch ok := errors.As(err, &pg); {
		case ok && pg.Code == "28P01" && role.password == "":
			return g.refuse(conn, g.azure.mismatch(role, claims))
		case ok:
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
	return g.relay(conn, h.Conn, g.azure.rewriting(role, config.Database))
}

// relayRaw passes the packet that began a connection, and all that follows, on.
func (g *gateway) relayRaw(conn net.Conn, packet []byte) error {
	config, err := pgconn.ParseConfig(g.server.dsn)
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
	return g.relay(conn, backend, nil)
}

// relay copies both ways until either side ends.
func (g *gateway) relay(client, backend net.Conn, edit *rewriting) error {
	stop := context.AfterFunc(g.ctx, func() { backend.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if edit != nil {
			edit.copy(backend, client)
		} else {
			io.Copy(backend, client) // the end of either copy ends the other
		}
		backend.Close()
	}()
	_, err := io.Copy(client, backend)
	client.Close()
	<-done
	return err
}
