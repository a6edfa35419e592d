package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// parseConfig lets pgx read its part of the DSN. Secrets are passed apart, so that no
// error or ConnString of pgx holds one.
func parseConfig(cfg *dsn.Config) (*pgx.ConnConfig, error) {
	var o pgx.ParseConfigOptions
	o.GetSSLPassword = func(context.Context) string { return cfg.SSLPassword.Value() }
	config, err := pgx.ParseConfigWithOptions(cfg.ConnString(), o)
	if err != nil {
		// pgx quotes the whole DSN before it says what is wrong.
		if _, cause, ok := strings.Cut(err.Error(), "`: "); ok {
			err = errors.New(cause)
		}
		return nil, err
	}
	if p := cfg.Password.Value(); p != "" {
		config.Password = p
	}
	for name := range config.RuntimeParams {
		// They come from a service file. Package dsn has read them, and the server must not.
		if strings.HasPrefix(strings.ToLower(name), "aad") {
			delete(config.RuntimeParams, name)
		}
	}
	return config, nil
}

// openPgx is the openFunc that connects with pgx.
func openPgx(ctx context.Context, config *pgx.ConnConfig) (driver.Conn, error) {
	return stdlib.GetConnector(*config).Connect(ctx)
}

// BeforeConnect prepares config, which must come from [Connector.Config], to authenticate.
// Pass BeforeConnect to pgxpool.Config or stdlib.OptionBeforeConnect, which call it for each
// connection. It starts a token request if one is needed and does not wait for it. The
// context is not used. The AfterNetConnect that it installs in config waits for the token
// after the TLS handshake, within the context of the connect. In mode password and with
// [WithOpenFunc], BeforeConnect does nothing. Errors are of type [*Error]. It is safe for
// concurrent use.
//
// Unlike [Connector.Connect], pgx does not retry after the server rejects a token. If a newer
// token may help, it is requested for the next connect. If a connect fails before the server
// accepts or rejects the token, the Config of the *pgconn.ConnectError still contains the
// token: do not log it.
func (c *Connector) BeforeConnect(_ context.Context, config *pgx.ConnConfig) error {
	if c.err != nil || c.source == nil {
		return c.err
	}
	a, err := c.prepareAttempt(config)
	if err != nil {
		return err
	}
	if a.call != nil {
		a.cancelDialOnFailure(config)
	}
	return nil
}

// cancelDialOnFailure ends the dial of programs that connect by themselves if the token
// request fails. The hooks outlive the attempt: pgx dials with a connection's config
// again to cancel a query.
func (a *attempt) cancelDialOnFailure(config *pgx.ConnConfig) {
	call := a.call
	explain := a.c.baseContext.explainToken
	lookup := config.LookupFunc
	dial := config.DialFunc
	config.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		var addrs []string
		err := runWithToken(ctx, call, explain, func(ctx context.Context) (err error) {
			addrs, err = lookup(ctx, host)
			return err
		})
		return addrs, err
	}
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		var conn net.Conn
		err := runWithToken(ctx, call, explain, func(ctx context.Context) (err error) {
			conn, err = dial(ctx, network, addr)
			return err
		})
		return conn, err
	}
}

// runWithToken calls f, whose work is useless if the token request fails.
func runWithToken(ctx context.Context, call *token.Call, explain func(error) *Error, f func(context.Context) error) error {
	err := call.Run(ctx, f)
	var failed *token.Error
	if errors.As(err, &failed) {
		return explain(failed)
	}
	return err
}

// Config returns a copy of the pgx configuration. It contains no token, and no password
// except in mode password. Call [Connector.BeforeConnect] on it before each connect. Config
// returns nil only if the DSN was empty and the settings are invalid. Connect then returns
// the error.
func (c *Connector) Config() *pgx.ConnConfig {
	if c.config == nil {
		return nil
	}
	return c.config.Copy()
}
