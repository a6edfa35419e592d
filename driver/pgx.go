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

// parsePgx lets pgx read its part. Secrets are handed over apart, so that no
// error or ConnString of pgx holds one.
func parsePgx(cfg *dsn.Config) (*pgx.ConnConfig, error) {
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
		// A service file's keys: package dsn has read them, the server must not.
		if strings.HasPrefix(strings.ToLower(name), "aad") {
			delete(config.RuntimeParams, name)
		}
	}
	return config, nil
}

func open(ctx context.Context, config *pgx.ConnConfig) (driver.Conn, error) {
	return stdlib.GetConnector(*config).Connect(ctx)
}

// BeforeConnect prepares config, of [Connector.Config], to sign in. Hand it to
// pgxpool.Config or stdlib.OptionBeforeConnect, which call it for each connection. It
// begins a token request if one is needed, and returns at once. Token and user are put
// into config later, by its AfterNetConnect, once the connection is seen to be TLS.
// Errors are of type [*Error].
//
// A sign-in that the server refuses is not tried again, as [Connector.Connect] would,
// but the next one presents a newer token. If a sign-in ends without the server's
// verdict, the Config of the *pgconn.ConnectError still holds the token.
func (c *Connector) BeforeConnect(_ context.Context, config *pgx.ConnConfig) error {
	if c.err != nil || c.tokens == nil {
		return c.err
	}
	a, err := c.begin(config)
	if err == nil && a.flight != nil {
		a.flight.bindDial(config)
	}
	return err
}

// Config returns a copy of the pgx configuration, without token or password
// unless the mode is password. Connect with it through [Connector.BeforeConnect].
// It is nil if the empty DSN was opened and the environment is invalid, as Connect
// reports.
func (c *Connector) Config() *pgx.ConnConfig {
	if c.config == nil {
		return nil
	}
	return c.config.Copy()
}
