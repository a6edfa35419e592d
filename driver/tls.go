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

	"github.com/aadpostgres/aadpostgres/dsn"
)

// A guard says where a token may go. A bearer token is a password that works
// on every server the identity may enter, so the rule is: to a named host of its
// own cloud, over verified TLS.
type guard struct {
	insecure string // dsn.Config.Insecure
	cloud    string // the cloud that the token is for
}

var errNoHost = errors.New("no host is given")

// raiseTLS raises an sslmode that would not verify the server. Azure's
// certificates are publicly trusted, so this costs nothing.
func raiseTLS(cfg *dsn.Config) {
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

// raiseCA raises verify-ca where no root is named: then any certificate that is
// publicly trusted would do, and anyone can have one for a name of his own.
func raiseCA(cfg *dsn.Config, config *pgx.ConnConfig) bool {
	t := config.TLSConfig
	if cfg.Params["sslmode"] != "verify-ca" || cfg.Insecure != "" || t == nil || t.RootCAs != nil {
		return false
	}
	cfg.Params["sslmode"] = "verify-full"
	return true
}

// check refuses a config by which a token could travel unprotected. It is run
// on what will be dialled, after every option has had its say.
func (g guard) check(config *pgconn.Config) error {
	hosts := append([]*pgconn.FallbackConfig{{Host: config.Host, TLSConfig: config.TLSConfig}}, config.Fallbacks...)
	for _, h := range hosts {
		err := g.checkHost(h.Host, h.TLSConfig)
		if err != nil {
			return err
		}
	}
	return nil
}

func (g guard) checkHost(host string, t *tls.Config) error {
	network, _ := pgconn.NetworkAddress(host, 5432)
	of := dsn.CloudOf(host)
	switch {
	case of != "" && g.cloud != "" && of != g.cloud:
		return &Error{Step: StepDSN, Err: fmt.Errorf("host %q is of cloud %s, but the token is for %s", host, of, g.cloud),
			Hint: "name hosts of one cloud only"}
	case g.insecure == "plaintext":
		return nil
	case network == "unix":
		return &Error{Step: StepTLS, Err: fmt.Errorf("host %q is a Unix socket, where any local user may listen", host),
			Hint: "name the server's host, or write aad_insecure=plaintext if the socket is a proxy that you trust"}
	case t == nil:
		return &Error{Step: StepTLS, Err: fmt.Errorf("host %q would be reached without TLS, and the token be readable on the way", host),
			Hint: "drop sslmode=disable (PGSSLMODE too) to get verify-full, or write aad_insecure=plaintext if the way is yours"}
	case g.insecure == "" && t.InsecureSkipVerify && t.VerifyPeerCertificate == nil && t.VerifyConnection == nil:
		return &Error{Step: StepTLS, Err: fmt.Errorf("the certificate of host %q would not be verified", host),
			Hint: "leave InsecureSkipVerify off, or write aad_insecure=unverified"}
	}
	return nil
}

// meant refuses a token that says it is for the servers of another cloud, however
// it was come by.
func (g guard) meant(t *token, hosts []string) error {
	for _, host := range hosts {
		if of := dsn.CloudOf(host); t.cloud != "" && of != "" && of != t.cloud {
			return &Error{Step: StepToken, Err: fmt.Errorf("the token is for servers of cloud %s, host %q is of %s", t.cloud, host, of),
				Hint: "get a token for the host's cloud"}
		}
	}
	return nil
}

// hosts lists all that config may connect to.
func hosts(config *pgconn.Config) []string {
	all := []string{config.Host}
	for _, f := range config.Fallbacks {
		all = append(all, f.Host)
	}
	return all
}

// hostOf is the host that conn leads to: pgx hands its hooks one config for all
// hosts, with the first one's name. An address has no name to be asked by.
func hostOf(cfg *pgconn.Config, conn net.Conn) string {
	if len(cfg.Fallbacks) == 0 {
		return cfg.Host
	}
	if t, ok := conn.(*tls.Conn); ok && t.ConnectionState().ServerName != "" {
		return t.ConnectionState().ServerName
	}
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return cfg.Host // a socket
	}
	return host
}

// shake finishes TLS, which pgx leaves to the first write, and refuses a
// connection that is not TLS. It is the last gate before the token.
func (g guard) shake(ctx context.Context, conn net.Conn) error {
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
	if g.insecure == "plaintext" {
		return nil
	}
	return &Error{Step: StepTLS, Err: errors.New("the connection is not TLS"), Hint: "let pgx negotiate TLS, or write aad_insecure=plaintext"}
}

// over tells whether conn is below, or wraps it and says so as crypto/tls does.
func over(conn, below net.Conn) bool {
	for conn != below {
		w, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return false
		}
		conn = w.NetConn()
	}
	return true
}

// certificateNames lists what the server's certificate is for, as far as err tells.
func certificateNames(err error) string {
	var wrong x509.HostnameError
	if !errors.As(err, &wrong) {
		return "nobody"
	}
	return nameList(wrong.Certificate)
}

func nameList(c *x509.Certificate) string {
	var names []string
	for _, name := range c.DNSNames {
		if strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789.*-_") == "" { // others are no names
			names = append(names, name)
		}
	}
	for _, ip := range c.IPAddresses {
		names = append(names[:len(names):len(names)], ip.String())
	}
	if len(names) > 5 {
		names = append(names[:5:5], "...")
	}
	return strings.Join(names, ", ")
}

// verified tells what TLS is held to, for the first host as for the others.
func (d *diagnosis) verified() string {
	t := d.c.config.TLSConfig
	switch {
	case t == nil || t.InsecureSkipVerify && t.VerifyPeerCertificate == nil && t.VerifyConnection == nil:
		return "not verified"
	case t.InsecureSkipVerify: // verify-ca, or somebody's own way
		return "verified, by its issuer alone"
	}
	return "verified"
}
