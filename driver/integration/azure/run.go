package azure

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// A run tries claims on one server.
type run struct {
	settings Settings
	mask     *mask
	base     *dsn.Config // of Settings.DSN
	admin    *pgx.Conn
	version  string      // of the server
	roles    []string    // that the run has created
	expired  credentials // of the administrator, once a trial has waited
	connects map[Identity]*driver.Connector
}

// newRun signs the administrator in.
func newRun(ctx context.Context, s Settings) (*run, error) {
	r := &run{settings: s, mask: newMask(), connects: map[Identity]*driver.Connector{}}
	base, err := dsn.Parse(s.DSN)
	if err != nil {
		return nil, err
	}
	r.base = base
	for host := range strings.SplitSeq(base.Params["host"], ",") {
		r.mask.add("host", host)
	}
	for _, id := range slices.Sorted(maps.Keys(s.Identities)) {
		cfg, err := r.config(id)
		if err != nil {
			return nil, fmt.Errorf("azure: the parameters of the %s: %w", id, err)
		}
		r.mask.add("role of the "+string(id), cfg.Params["user"])
		r.mask.add("client ID of the "+string(id), cfg.ClientID)
		r.mask.add("tenant", cfg.TenantID)
		for _, secret := range []dsn.Secret{cfg.ClientSecret, cfg.ClientCertificatePassword, cfg.Password} {
			r.mask.add("secret", secret.Value())
		}
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	r.admin, err = r.signIn(ctx, Admin, nil)
	if err != nil {
		r.close()
		return nil, fmt.Errorf("azure: the administrator cannot sign in: %s", r.mask.text(firstLine(err)))
	}
	if err := r.admin.QueryRow(ctx, "SHOW server_version").Scan(&r.version); err != nil {
		r.close()
		return nil, fmt.Errorf("azure: %s", r.mask.text(firstLine(err)))
	}
	return r, nil
}

func (r *run) close() {
	if r.admin != nil {
		ctx, cancel := context.WithTimeout(context.Background(), claimTimeout)
		defer cancel()
		if err := r.dropRoles(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "azure: roles whose names begin with aadpostgres_ are left")
		}
		if r.admin != nil {
			r.admin.Close(ctx)
		}
	}
	for _, c := range r.connects {
		c.Close()
	}
}

// config returns the settings by which an identity signs in.
func (r *run) config(id Identity) (*dsn.Config, error) {
	return dsn.Parse(r.settings.DSN + " " + r.settings.Identities[id])
}

// connector returns a connector of an identity, with settings that change may change.
func (r *run) connector(id Identity, change func(*dsn.Config)) (*driver.Connector, error) {
	cfg, err := r.config(id)
	if err != nil {
		return nil, err
	}
	if change != nil {
		change(cfg)
	}
	return driver.NewConnector(cfg.DSN(), r.settings.Options...)
}

// signIn signs an identity in as the driver does it, and returns the connection.
func (r *run) signIn(ctx context.Context, id Identity, change func(*dsn.Config)) (*pgx.Conn, error) {
	c, err := r.connector(id, change)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	config := c.Config()
	if err := c.BeforeConnect(ctx, config); err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, config)
}

// signsIn reports what session_user and error a sign-in has.
func (r *run) signsIn(ctx context.Context, id Identity, change func(*dsn.Config)) (user string, err error) {
	conn, err := r.signIn(ctx, id, change)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, "SELECT session_user").Scan(&user)
	return user, err
}

// credentials are an identity's role and token.
type credentials struct {
	User   string
	Token  string
	Claims token.Claims
}

// token returns the role and the token of an identity. It keeps the connector, so that the
// token is requested once.
func (r *run) token(ctx context.Context, id Identity) (credentials, error) {
	c := r.connects[id]
	if c == nil {
		var err error
		if c, err = r.connector(id, nil); err != nil {
			return credentials{}, err
		}
		r.connects[id] = c
	}
	got, err := c.Credentials(ctx)
	if err != nil {
		return credentials{}, err
	}
	text := got.Password.Value()
	claims := token.ParseClaims(text)
	r.mask.add("token", text)
	r.mask.add("role of the "+string(id), got.User)
	r.mask.add("object ID of the "+string(id), claims.ObjectID)
	r.mask.add("client ID of the "+string(id), claims.Application())
	r.mask.add("tenant", claims.Tenant)
	r.mask.add("name of the "+string(id), claims.Person())
	r.mask.add("resource ID of the "+string(id), claims.ManagedIdentity)
	return credentials{User: got.User, Token: text, Claims: claims}, nil
}

// A startup is a sign-in without the driver, as a program by hand makes it.
type startup struct {
	user, password string
	plaintext      bool              // without TLS; password must then be no secret
	params         map[string]string // further settings
	methods        []string          // what the server has asked for, set by connect
	tls            *tls.ConnectionState
}

var errUnverified = errors.New("a password would go over a connection that does not verify the server")

// connect makes the sign-in, over verified TLS.
func (r *run) connect(ctx context.Context, s *startup) error {
	conn, err := r.open(ctx, s)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func (r *run) open(ctx context.Context, s *startup) (*pgx.Conn, error) {
	cfg := r.base.Clone()
	cfg.Auth = []dsn.Mode{dsn.Password}
	cfg.Params["sslmode"] = "verify-full"
	if cfg.Params["sslrootcert"] == "" {
		cfg.Params["sslrootcert"] = "system" // not a root.crt in the home directory
	}
	if s.plaintext {
		cfg.Params["sslmode"] = "disable"
		delete(cfg.Params, "sslrootcert")
	}
	cfg.Params["user"] = s.user
	maps.Copy(cfg.Params, s.params)
	c, err := driver.NewConnector(cfg.DSN())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	config := c.Config()
	config.Password = s.password
	config.Fallbacks = nil
	if !s.plaintext && (config.TLSConfig == nil || config.TLSConfig.InsecureSkipVerify) {
		return nil, errUnverified
	}
	var received bytes.Buffer
	config.BuildFrontend = func(from io.Reader, to io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(io.TeeReader(from, &limitedWriter{&received, 4096}), to)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	s.methods = methodsIn(received.Bytes())
	if err != nil {
		return nil, err
	}
	if secure, ok := conn.PgConn().Conn().(*tls.Conn); ok {
		state := secure.ConnectionState()
		s.tls = &state
	}
	return conn, nil
}

// A limitedWriter keeps the first bytes that are written to it.
type limitedWriter struct {
	to   *bytes.Buffer
	left int
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.left -= n
	w.to.Write(p[:n])
	return len(p), nil
}

var mechanism = regexp.MustCompile(`^[A-Z0-9-]{1,32}$`)

// methodsIn returns the authentication methods that a server asks for in its messages.
func methodsIn(b []byte) (methods []string) {
	names := map[uint32]string{3: "cleartext password", 5: "md5", 7: "gss", 9: "sspi"}
	for len(b) >= 9 && b[0] == 'R' {
		length := int(binary.BigEndian.Uint32(b[1:]))
		if length < 8 || len(b) < 1+length {
			break
		}
		code := binary.BigEndian.Uint32(b[5:])
		if name := names[code]; name != "" {
			methods = append(methods, name)
		}
		if code == 10 {
			for name := range bytes.SplitSeq(b[9:1+length], []byte{0}) {
				if mechanism.Match(name) {
					methods = append(methods, string(name))
				}
			}
		}
		b = b[1+length:]
	}
	return methods
}

func firstLine(err error) string { return redact.Line(redact.FirstLine(err.Error())) }
