package emulator

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Serve opens one more server of the same Azure: a gateway of its own, on the port
// returned, before the PostgreSQL of that superuser DSN, which may be a replica of
// the emulator's or a pooler before it. Its roles are those that it has: nothing is
// made there. It need not answer yet, and Close leaves it running.
func (a *Azure) Serve(ctx context.Context, dsn string) (port int, err error) {
	server := &postgres{dsn: dsn}
	if err := server.connect(ctx); err != nil {
		return 0, fmt.Errorf("emulator: one more PostgreSQL: %w", err)
	}
	g, err := listen(a, server)
	if err != nil {
		server.pool.Close()
		return 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.served = append(a.served, g)
	return g.port, nil
}

// connect makes the pool. It reaches the server when it is first used.
func (p *postgres) connect(ctx context.Context) error {
	config, err := pgxpool.ParseConfig(p.dsn)
	if err != nil {
		return err
	}
	config.ConnConfig.Database = "postgres" // where Azure has its functions
	config.ConnConfig.RuntimeParams = nil   // none of PGAPPNAME, PGOPTIONS and PGTZ of this process
	config.MaxConns = 5                     // one of them may be the lock
	p.pool, err = pgxpool.NewWithConfig(ctx, config)
	return err
}
