package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// parseConfig lets pgx read its part of the DSN. Secrets are passed apart, so that no
// error or ConnString of pgx holds one.
func parseConfig(cfg *dsn.Config) (*pgx.ConnConfig, error) {
	var o pgx.ParseConfigOptions
	o.GetSSLPassword = func(context.Context) string { return cfg.Params["sslpassword"] }
	config, err := pgx.ParseConfigWithOptions(cfg.ConnString(), o)
	if err != nil {
		// pgx quotes the whole DSN before it says what is wrong.
		if _, cause, ok := strings.Cut(err.Error(), "`: "); ok {
			err = errors.New(cause)
		}
		return nil, err
	}
	if p := cfg.Params["password"]; p != "" {
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
// connection. It waits for the token if none is cached, until ctx ends or for at most
// aad_token_timeout. No server is dialed before the token is there, and connect_timeout does
// not include the wait. BeforeConnect sets AfterNetConnect in config, and keeps one that is
// there. That hook presents the token after the TLS handshake; a program that sets another
// one afterwards must call it. In mode password and with [WithOpenFunc], BeforeConnect does
// nothing. Errors are of type [*Error]. It is safe for concurrent use with different configs,
// and may be called again for the same one.
//
// Unlike [Connector.Connect], pgx does not retry after the server rejects a token. If a newer
// token may help, it is requested for the next connect. config never contains the token.
func (c *Connector) BeforeConnect(ctx context.Context, config *pgx.ConnConfig) error {
	if c.err != nil || c.source == nil {
		return c.err
	}
	if err := c.policy.check(&config.Config); err != nil {
		return err
	}
	a := c.newAttempt()
	if _, err := a.wait(ctx); err != nil {
		return err
	}
	a.prepare(config)
	return nil
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
