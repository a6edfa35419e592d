package driver

import (
	"cmp"
	"context"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver/internal/credential"
	"github.com/aadpostgres/aadpostgres/driver/internal/direct"
	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/driver/internal/socket"
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

// noticeVanished returns dial with TCP options by which a server that vanishes without a
// word is noticed in a minute. pgx's own leave a statement without a deadline waiting for a
// quarter of an hour.
func noticeVanished(dial pgconn.DialFunc) pgconn.DialFunc {
	return socket.Within(socket.DefaultTimeout).Dialer(dial)
}

// offerProtocol offers the name of PostgreSQL's protocol to each host, for
// sslnegotiation=auto: only a server that selects it may be begun with TLS.
func offerProtocol(config *pgx.ConnConfig) {
	for _, h := range hostConfigs(&config.Config) {
		if h.TLSConfig != nil {
			h.TLSConfig.NextProtos = []string{direct.Protocol}
		}
	}
}

// beginWithTLS makes config begin with TLS where the connector knows that it works.
func (c *Connector) beginWithTLS(config *pgx.ConnConfig) {
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return c.servers.Dialer(dial)(ctx, network, addr) // Open may have replaced the history
	}
	lookup := config.LookupFunc
	config.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		return c.servers.Lookup(lookup)(ctx, host)
	}
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

// roots says what a server's certificate is verified by. The zero value is the system's
// root certificates.
type roots struct {
	file string         // that sslrootcert names, or that pgx has found; "" for none
	home bool           // pgx has found it in the home directory
	own  bool           // the program has set them
	pool *x509.CertPool // nil for the system's
}

// rootsOf returns the roots that pgx has read for cfg. config is nil if it could not.
func rootsOf(cfg *dsn.Config, config *pgx.ConnConfig) roots {
	var r roots
	if config != nil && config.TLSConfig != nil {
		r.pool = config.TLSConfig.RootCAs
	}
	switch file := cmp.Or(cfg.Params["sslrootcert"], os.Getenv("PGSSLROOTCERT")); {
	case file == "system":
	case file != "":
		r.file = file
	case config == nil || r.pool != nil:
		r.file, r.home = homeRootFile()
	}
	return r
}

// after returns the roots after the program's options were applied.
func (r roots) after(config *pgx.ConnConfig) roots {
	if config.TLSConfig != nil && config.TLSConfig.RootCAs != r.pool {
		return roots{own: config.TLSConfig.RootCAs != nil, pool: config.TLSConfig.RootCAs}
	}
	return r
}

// homeRootFile returns the file that pgx, as libpq, uses if it exists.
func homeRootFile() (path string, exists bool) {
	home, _ := os.UserHomeDir()
	path = filepath.Join(home, ".postgresql", "root.crt")
	if runtime.GOOS == "windows" {
		path = filepath.Join(os.Getenv("APPDATA"), "postgresql", "root.crt")
	}
	if _, err := os.Stat(path); err != nil {
		return "", false
	}
	return path, true
}

func (r roots) name() hint.Facts {
	if r.home {
		return hint.Facts{"home_root_file": strconv.Quote(r.file)}
	}
	if r.file != "" {
		return hint.Facts{"root_file": strconv.Quote(r.file)}
	}
	return hint.Facts{}
}

// facts says why the root of a certificate may be unknown, if text is about a certificate.
func (r roots) facts(f hint.Facts, text string) {
	if !strings.Contains(text, "x509: ") {
		return
	}
	maps.Copy(f, r.name())
	if r.own {
		f["own_roots"] = "yes"
	}
	if !credential.HasRoots() {
		f["no_roots"] = "yes"
		f["certificate_variable"] = credential.RootVariables()
	}
}
