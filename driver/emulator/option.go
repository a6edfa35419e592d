package emulator

// An Option changes what [Start] and [New] start.
type Option func(*Azure)

// WithPostgres uses the running server of a superuser's DSN instead of starting one.
// Only one emulator at a time can use a server. The server must have the database
// postgres, in which the emulator installs Azure's functions. [Azure.Close] restores the
// server to its earlier state. Its version must be 13 or newer. No PG variable of the
// environment adds to the DSN. The sessions of clients have the options of the DSN, before
// their own.
func WithPostgres(dsn string) Option { return func(a *Azure) { a.postgres.dsn = dsn } }

// WithSingleServer emulates single server, whose user names end in "@" + [ServerName].
func WithSingleServer() Option { return func(a *Azure) { a.single = true } }

// WithIdentity adds an identity as [Azure.Add] does, and creates a role for it as
// [Azure.Grant] does. [Azure.Identity] returns the identity with all its fields set.
func WithIdentity(id Identity) Option {
	return func(a *Azure) { a.initialGrants = append(a.initialGrants, initialGrant{id: id}) }
}

// WithAdmin adds an identity as [WithIdentity] does, and makes it an Entra administrator
// as [Azure.GrantAdmin] does.
func WithAdmin(id Identity) Option {
	return func(a *Azure) { a.initialGrants = append(a.initialGrants, initialGrant{id: id, admin: true}) }
}

// An initialGrant is an identity that has a role from the start.
type initialGrant struct {
	id    Identity
	admin bool
}
