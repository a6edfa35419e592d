package emulator

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The kinds of identity.
const (
	User             = "user"
	Group            = "group"
	ServicePrincipal = "service-principal"
	ManagedIdentity  = "managed-identity"
)

// An Identity is a principal of the emulated tenant. [Azure.Add] derives empty ids from
// the name, so Identity{Name: "app"} is complete.
type Identity struct {
	Name       string   // also the name of its PostgreSQL role
	Kind       string   // default ManagedIdentity
	ClientID   string   // the appid claim
	ObjectID   string   // the oid claim
	ResourceID string   // ARM id of a managed identity; set by Add
	Secret     string   `json:"-"` // client secret of an application; empty means none, until [Azure.Environ] creates one
	Groups     []string // object ids of the groups that it is a member of

	// Certificates are what an application may authenticate with instead of a secret.
	// Each is either the application's certificate, or a certificate authority, if the
	// application sends its certificate with the chain.
	Certificates []*x509.Certificate

	Subject             string // the sub claim of its federated tokens; set by Add
	ServiceConnectionID string // of Azure Pipelines; set by Add
}

// Add adds an identity to the tenant and returns it with all its fields set. The first
// managed identity is the host's system-assigned one. The identity has no PostgreSQL role
// until [Azure.Grant] is called or SQL creates one by its name. If the
// query that adds the identity to PostgreSQL fails, [Azure.Close] returns its error.
func (a *Azure) Add(id Identity) Identity {
	a.mu.Lock()
	id = id.withDefaults(len(a.identities) == 0)
	a.identities = append(a.identities, id)
	a.mu.Unlock()
	a.addToDirectory(id)
	return id
}

// withDefaults sets the empty fields. first tells whether it is the tenant's first identity.
func (id Identity) withDefaults(first bool) Identity {
	if id.Kind == "" {
		id.Kind = ManagedIdentity
	}
	if id.ClientID == "" {
		id.ClientID = guid("client " + id.Name)
	}
	if id.ObjectID == "" {
		id.ObjectID = guid("object " + id.Name)
	}
	if id.Kind == ManagedIdentity && id.ResourceID == "" {
		resourceType := "Microsoft.ManagedIdentity/userAssignedIdentities"
		if first {
			resourceType = "Microsoft.Web/sites"
		}
		id.ResourceID = fmt.Sprintf("/subscriptions/%s/resourcegroups/rg/providers/%s/%s", guid("subscription"), resourceType, id.Name)
	}
	if id.Subject == "" {
		id.Subject = "system:serviceaccount:default:" + id.Name
	}
	if id.ServiceConnectionID == "" {
		id.ServiceConnectionID = guid("connection " + id.Name)
	}
	return id
}

// Identity returns the first identity of that name as Add returned it. It panics if there
// is none, because that is a mistake in the test.
func (a *Azure) Identity(name string) Identity {
	id, ok := a.findIdentity(func(id Identity) bool { return id.Name == name })
	if !ok {
		panic("emulator: no identity named " + name)
	}
	return id
}

// addToDirectory adds an identity to the table from which SQL finds it by name.
func (a *Azure) addToDirectory(id Identity) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := a.postgres.pool.Exec(ctx, a.postgres.sql(`INSERT INTO pg_emulator.directory (oid, name, kind) VALUES ($1, $2, $3)
		ON CONFLICT (oid) DO UPDATE SET name = excluded.name, kind = excluded.kind`), id.ObjectID, id.Name, objectType(id))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.directoryErr = errors.Join(a.directoryErr, err)
}

func (a *Azure) findIdentity(match func(Identity) bool) (Identity, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.IndexFunc(a.identities, match); i >= 0 {
		return a.identities[i], true
	}
	return Identity{}, false
}

// clientSecret returns the client secret of an application, and creates one if it has none.
func (a *Azure) clientSecret(id Identity) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.identities, func(other Identity) bool { return other.ClientID == id.ClientID })
	if i < 0 {
		return "", fmt.Errorf("emulator: %q is not in the tenant; use what Add has returned", id.Name)
	}
	if a.identities[i].Secret == "" {
		a.identities[i].Secret = rand.Text()
	}
	return a.identities[i].Secret, nil
}

// guid derives a GUID from a seed.
func guid(seed string) string {
	h := sha256.Sum256([]byte(seed))
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
