package azure

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

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

func firstLine(err error) string { return redact.Line(redact.FirstLine(err.Error())) }
