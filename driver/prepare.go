package driver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/internal/credential"
	"github.com/aadpostgres/aadpostgres/driver/internal/direct"
	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// A preparation makes a connector in three steps: parse, resolveCloud, makeSource. Each
// needs the one before it. NewConnector runs all of them; Diagnose reports on each.
type preparation struct {
	options  *options
	cfg      *dsn.Config
	password string     // the DSN's, in place of which a token can stand
	c        *Connector // nil until the DSN has been parsed
}

func (p *preparation) run(s string) error {
	if err := p.parse(s); err != nil {
		return err
	}
	if err := p.resolveCloud(); err != nil {
		return err
	}
	return p.makeSource()
}

// parse reads the DSN, applies the options and checks the TLS policy.
func (p *preparation) parse(s string) error {
	o := p.options
	if o.credentialSet && isNil(o.credential) {
		return newError(StepCredential, errors.New("WithCredential was given nil"), nil)
	}
	cfg, err := dsn.ParseEnv(s, dsn.OS)
	if err != nil {
		return &Error{Step: StepDSN, Err: err}
	}
	p.cfg = cfg
	p.c = &Connector{maskedDSN: cfg.String(), policy: tlsPolicy{insecure: cfg.Insecure}, open: openPgx, log: o.logger, history: &history{}}
	if o.open != nil {
		p.c.open = o.open
	}
	if !p.needsToken() {
		return p.parseWithoutToken()
	}
	upgradeSSLMode(cfg)
	config, err := parseConfig(cfg)
	if err != nil {
		return newError(StepDSN, err, rootsOf(cfg, nil).name())
	}
	if needsVerifyFull(cfg, config) {
		verifyFull(config)
	}
	p.password = config.Password
	config.Password = ""
	config.User = cfg.Params["user"]
	p.c.config = config
	p.c.user = user{name: config.User}
	if cfg.Host() == "" {
		// pgx would look for a socket in folders where any user can listen.
		return newError(StepDSN, errNoHost, nil)
	}
	roots := rootsOf(cfg, config)
	p.applyOptions(config)
	if config.RequireAuth == "" {
		config.RequireAuth = requireAuth
	}
	config.BuildFrontend = requireToken(config.BuildFrontend)
	p.c.baseContext = errContext{
		database: config.Database,
		host:     config.Host,
		intent:   intentOf(cfg, dsn.OS.Getenv, o.credential != nil),
		roots:    roots.after(config),
	}
	return p.c.policy.check(&config.Config)
}

// parseWithoutToken is parse for mode password, which is pgx as it is.
func (p *preparation) parseWithoutToken() error {
	config, err := parseConfig(p.cfg)
	if err != nil {
		return newError(StepDSN, err, rootsOf(p.cfg, nil).name())
	}
	p.c.config = config
	p.applyOptions(config)
	p.c.hookPassword(config, p.auto())
	p.c.baseContext = errContext{passwordMode: true, database: config.Database, host: config.Host}
	return nil
}

func (p *preparation) auto() bool { return p.cfg.Params["sslnegotiation"] == "auto" }

// applyOptions changes config as the options say, and then what holds for every dial.
func (p *preparation) applyOptions(config *pgx.ConnConfig) {
	if p.auto() {
		offerProtocol(config)
	}
	p.options.apply(config)
	config.DialFunc = noticeVanished(config.DialFunc)
	if p.auto() {
		p.c.beginWithTLS(config)
	}
}

// hookPassword sets the hooks of mode password in config, around the program's own. auto is
// sslnegotiation=auto.
func (c *Connector) hookPassword(config *pgx.ConnConfig, auto bool) {
	netHook := config.AfterNetConnect
	if netHook == nil && !auto && config.SSLNegotiation != "direct" {
		return // pgx as it is
	}
	config.AfterNetConnect = func(ctx context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
		if direct.Begun(conn) || cfg.SSLNegotiation == "direct" {
			if err := c.policy.handshake(ctx, conn); err != nil {
				return conn, err
			}
			if err := c.checkProtocol(cfg, conn); err != nil {
				return conn, err
			}
		}
		if netHook == nil {
			return conn, nil
		}
		return callNetHook(ctx, cfg, conn, netHook)
	}
	if !auto {
		return
	}
	validate := config.ValidateConnect
	config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		c.servers.SignedIn(conn.Conn(), conn.ParameterStatus("server_version"))
		if validate == nil {
			return nil
		}
		return validate(ctx, conn)
	}
}

// resolveCloud finds what a token is requested for, and from whom.
func (p *preparation) resolveCloud() error {
	if !p.needsToken() {
		return nil
	}
	cloud, err := credential.ResolveCloud(p.cfg)
	if err != nil {
		return newError(StepDSN, err, nil)
	}
	if p.options.credential == nil && p.options.open == nil {
		if err := cloud.CheckAuthority(p.cfg); err != nil {
			return newError(StepDSN, err, nil)
		}
	}
	p.c.policy.cloud = cloud.Name
	p.c.user.serverType = cloud.ServerType
	p.c.baseContext.cloud = cloud
	return p.c.policy.checkCloud(hostNames(&p.c.config.Config))
}

// makeSource finds or makes the source of tokens. It touches no network.
func (p *preparation) makeSource() error {
	if !p.needsToken() || p.options.open != nil {
		return nil
	}
	cfg := p.cfg
	scope := p.c.baseContext.cloud.Scope
	if p.options.credential == nil && cfg.Auth[0] == dsn.AccessToken {
		p.c.baseContext.staticToken = true
		if cfg.TokenFile != "" {
			p.c.source = &token.File{Path: cfg.TokenFile, Scope: scope, MaxAge: cfg.TokenMaxAge}
		} else {
			given, err := givenToken(p.password)
			if err != nil {
				return newError(StepDSN, err, nil)
			}
			p.c.source = &token.Static{Value: given, Scope: scope, MaxAge: cfg.TokenMaxAge}
		}
		return nil
	}
	cache, err := credential.CacheFor(cfg, p.c.baseContext.cloud, p.options.forCredential())
	if err != nil {
		return p.c.baseContext.explainCredential(err)
	}
	p.c.source = cache
	return nil
}

// givenToken returns the token that stands in the place of the password. A variable that
// was filled from a file has the file's line break and byte order mark.
func givenToken(password string) (string, error) {
	if !utf8.ValidString(password) {
		return "", errors.New("the password is no token, because it is not UTF-8")
	}
	return strings.TrimSpace(strings.TrimPrefix(password, "\ufeff")), nil
}

// ignoresToken reports whether PGPASSWORD or the password file has a token that is not
// presented, because the mode requests its own.
func (p *preparation) ignoresToken() bool {
	return p.needsToken() && p.cfg.Auth[0] != dsn.AccessToken && redact.Text(p.password) != p.password
}

// needsToken reports whether connections present a token, as in all modes but password.
func (p *preparation) needsToken() bool {
	return p.options.credential != nil || p.cfg.Auth[0] != dsn.Password
}

// credentialName says who signs in: the modes of the DSN, or the type of the program's
// own credential.
func (p *preparation) credentialName() string {
	if p.options.credential != nil {
		return fmt.Sprintf("%T, by WithCredential", p.options.credential)
	}
	return strings.Trim(fmt.Sprint(p.cfg.Auth), "[]")
}
