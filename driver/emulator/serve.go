package emulator

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Serve starts another gateway of the same Azure, in front of the PostgreSQL of a
// superuser's DSN, and returns the gateway's port. That PostgreSQL may be a replica of
// the emulator's or a connection pooler in front of it. Serve creates no roles there, and
// the server need not be up yet. [Azure.Close] stops the gateway and leaves the server
// running.
func (a *Azure) Serve(ctx context.Context, dsn string) (port int, err error) {
	server := &postgres{dsn: dsn, schema: a.postgres.schema, serviceFile: a.postgres.serviceFile}
	if err := server.openPool(ctx); err != nil {
		return 0, fmt.Errorf("emulator: the additional PostgreSQL: %w", err)
	}
	g, err := newGateway(a, server)
	if err != nil {
		server.pool.Close()
		return 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.additionalGateways = append(a.additionalGateways, g)
	return g.port, nil
}

// openPool creates the pool, which connects on first use.
func (p *postgres) openPool(ctx context.Context) error {
	s, err := p.connString()
	if err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(s)
	if err != nil {
		return err
	}
	config.ConnConfig.Database = "postgres" // Azure's functions are in this database
	removeEmpty(config.ConnConfig.RuntimeParams)
	config.MaxConns = 5 // one may hold the lock of lockServer
	p.pool, err = pgxpool.NewWithConfig(ctx, config)
	return err
}
