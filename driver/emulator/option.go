package emulator

// An Option changes what [New] starts.
type Option func(*Azure)

// WithPostgres uses the server of that superuser DSN instead of starting one. One
// emulator at a time may, and Close leaves the server as it was found. Azure's
// functions go to its database postgres, which there must be.
func WithPostgres(dsn string) Option { return func(a *Azure) { a.postgres.dsn = dsn } }

// WithSingleServer emulates single server: user names end in "@" + [ServerName].
func WithSingleServer() Option { return func(a *Azure) { a.single = true } }

// WithIdentity starts with that identity known to Entra, as by [Azure.Add], and a
// role for it, as by [Azure.Grant]. [Azure.Identity] returns it completed.
func WithIdentity(id Identity) Option {
	return func(a *Azure) { a.granted = append(a.granted, granted{id, false}) }
}

// WithAdmin is WithIdentity for an Entra administrator: see [Azure.GrantAdmin].
func WithAdmin(id Identity) Option {
	return func(a *Azure) { a.granted = append(a.granted, granted{id, true}) }
}

// granted is an identity that has a role from the start.
type granted struct {
	id    Identity
	admin bool
}
