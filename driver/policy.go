package driver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/internal/direct"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// A tlsPolicy says where a token may be sent. A bearer token is a password that works on
// every server that the identity may use, so the rule is: to a named host of its own
// cloud, over verified TLS.
type tlsPolicy struct {
	insecure string // dsn.Config.Insecure
	cloud    string // that the token is for; "" until it is resolved
}

var errNoHost = errors.New("no host is given")

// upgradeSSLMode raises an sslmode that would not verify the server. Azure's
// certificates are publicly trusted, so this costs nothing.
func upgradeSSLMode(cfg *dsn.Config) {
	switch cfg.Params["sslmode"] {
	case "", "allow", "prefer", "require":
		switch cfg.Insecure {
		case "":
			cfg.Params["sslmode"] = "verify-full"
		case "unverified":
			cfg.Params["sslmode"] = "require"
		}
	}
}

// needsVerifyFull reports whether the DSN says verify-ca and names no root: any publicly
// trusted certificate would do, and anyone can have one for a name of their own.
func needsVerifyFull(cfg *dsn.Config, config *pgx.ConnConfig) bool {
	return cfg.Params["sslmode"] == "verify-ca" && cfg.Insecure == "" && config.TLSConfig != nil && config.TLSConfig.RootCAs == nil
}

// verifyFull makes of pgx's verify-ca its verify-full, for each host.
func verifyFull(config *pgx.ConnConfig) {
	for _, h := range hostConfigs(&config.Config) {
		if h.TLSConfig != nil {
			h.TLSConfig.InsecureSkipVerify = false
			h.TLSConfig.VerifyPeerCertificate = nil
			h.TLSConfig.ServerName = h.Host
		}
	}
}

// check refuses a config by which a token could travel unprotected. It is run on what
// will be dialed, after every option was applied.
func (p tlsPolicy) check(config *pgconn.Config) error {
	for _, h := range hostConfigs(config) {
		if err := p.checkCloud([]string{h.Host}); err != nil {
			return err
		}
		if err := p.checkHost(h.Host, h.TLSConfig); err != nil {
			return err
		}
	}
	return nil
}

// checkCloud refuses hosts of another cloud than the token's.
func (p tlsPolicy) checkCloud(hosts []string) error {
	for _, host := range hosts {
		cloud := dsn.CloudOf(host)
		if cloud != "" && p.cloud != "" && cloud != p.cloud {
			return newError(StepDSN, fmt.Errorf("host %q is in cloud %s, but the token is for cloud %s", host, cloud, p.cloud), nil)
		}
	}
	return nil
}

func (p tlsPolicy) checkHost(host string, t *tls.Config) error {
	if p.insecure == "plaintext" {
		return nil
	}
	if network, _ := pgconn.NetworkAddress(host, 5432); network == "unix" {
		return newError(StepTLS, fmt.Errorf("host %q is a Unix socket, where any local user may listen", host), nil)
	}
	if t == nil {
		return newError(StepTLS, fmt.Errorf("without TLS to host %q the token would be sent in the clear", host), nil)
	}
	if p.insecure == "" && !verifies(t) {
		return newError(StepTLS, fmt.Errorf("the certificate of host %q would not be verified", host), nil)
	}
	return nil
}

// verifies reports whether t verifies the server's certificate, in the standard way or
// by a function.
func verifies(t *tls.Config) bool {
	return !t.InsecureSkipVerify || t.VerifyPeerCertificate != nil || t.VerifyConnection != nil
}

// checkToken refuses a token that says it is for the servers of another cloud, whatever
// its source.
func checkToken(t *token.Token, hosts []string) error {
	for _, host := range hosts {
		cloud := dsn.CloudOf(host)
		if t.Cloud != "" && cloud != "" && cloud != t.Cloud {
			return newError(StepToken, fmt.Errorf("the token is for cloud %s, but host %q is in cloud %s", t.Cloud, host, cloud), nil)
		}
	}
	return nil
}

// hostConfigs lists all that config may connect to, the first host included.
func hostConfigs(config *pgconn.Config) []*pgconn.FallbackConfig {
	first := &pgconn.FallbackConfig{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}
	return append([]*pgconn.FallbackConfig{first}, config.Fallbacks...)
}

func hostNames(config *pgconn.Config) []string {
	var names []string
	for _, h := range hostConfigs(config) {
		names = append(names, h.Host)
	}
	return names
}

// hostOf returns the host of conn: pgx passes to its hooks one config for all hosts, with
// the first one's name. With several hosts it is the name that TLS sent (SNI), else the
// remote address, because an IP address is not sent.
func hostOf(cfg *pgconn.Config, conn net.Conn) string {
	if len(cfg.Fallbacks) == 0 {
		return cfg.Host
	}
	if t, ok := conn.(*tls.Conn); ok && t.ConnectionState().ServerName != "" {
		return t.ConnectionState().ServerName
	}
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return cfg.Host // a Unix socket
	}
	return host
}

// handshake finishes TLS, which pgx leaves to the first write, and refuses a connection
// that is not TLS. It is the last check before the token.
func (p tlsPolicy) handshake(ctx context.Context, conn net.Conn) error {
	if t, ok := conn.(*tls.Conn); ok {
		// HandshakeContext would start a goroutine and wait for its end: 2 % of a
		// connect on a busy machine. This is how pgx itself obeys ctx.
		stop := context.AfterFunc(ctx, func() { t.SetDeadline(time.Unix(1, 0)) })
		err := t.Handshake()
		if !stop() {
			return ctx.Err()
		}
		return err
	}
	if p.insecure == "plaintext" {
		return nil
	}
	return newError(StepTLS, errors.New("the connection is not TLS"), nil)
}

// checkProtocol refuses a server that was begun with TLS and did not select the protocol.
func (c *Connector) checkProtocol(cfg *pgconn.Config, conn net.Conn) error {
	err := c.servers.Verify(conn)
	t, ok := conn.(*tls.Conn)
	if ok && cfg.SSLNegotiation == "direct" && t.ConnectionState().NegotiatedProtocol != direct.Protocol {
		err = direct.ErrProtocol
	}
	if err != nil {
		return newError(StepTLS, err, nil)
	}
	return nil
}

// wraps reports whether conn is inner, or wraps it and says so as crypto/tls does.
func wraps(conn, inner net.Conn) bool {
	for conn != inner {
		w, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return false
		}
		conn = w.NetConn()
	}
	return true
}

// certificateNames lists what the server's certificate is for, as far as err says so.
func certificateNames(err error) string {
	var wrong x509.HostnameError
	if !errors.As(err, &wrong) {
		return ""
	}
	return namesOf(wrong.Certificate)
}

// namesOf lists the first names and addresses of a certificate.
func namesOf(c *x509.Certificate) string {
	const (
		allowed  = "abcdefghijklmnopqrstuvwxyz0123456789.*-_" // a stranger's certificate may hold any text
		maxNames = 5
	)
	var names []string
	for _, name := range c.DNSNames {
		if strings.Trim(strings.ToLower(name), allowed) == "" {
			names = append(names, name)
		}
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) > maxNames {
		names = append(names[:maxNames], "...")
	}
	return strings.Join(names, ", ")
}
