package main

import (
	"flag"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
)

// timeoutFlag defines -timeout with a default.
func timeoutFlag(f *flag.FlagSet, value time.Duration) {
	f.Duration("timeout", value, "`TIME` that each host, and the query after the sign-in, may take, as in 30s;\nby default connect_timeout if that is set")
}

// timeout returns the value of -timeout, and whether it was given.
func (inv *invocation) timeout() (value time.Duration, given bool, err error) {
	inv.flags.Visit(func(f *flag.Flag) { given = given || f.Name == "timeout" })
	value = inv.flags.Lookup("timeout").Value.(flag.Getter).Get().(time.Duration)
	if value <= 0 {
		return 0, false, usageError("-timeout is not positive; write it as in -timeout 30s")
	}
	return value, given, nil
}

// connectTimeout returns an option that bounds what a connect waits for at each host. It
// does not bound the token request, for which aad_token_timeout is there, because a person
// may have to sign in.
func (inv *invocation) connectTimeout() (driver.Option, error) {
	value, given, err := inv.timeout()
	if err != nil {
		return nil, err
	}
	return driver.WithConnConfig(func(config *pgx.ConnConfig) {
		if given || config.ConnectTimeout == 0 {
			config.ConnectTimeout = value
		}
	}), nil
}
