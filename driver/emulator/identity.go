package emulator

import (
	"context"
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

// An Identity is a principal of the emulated tenant. Ids that are left empty
// are derived from the name, so Identity{Name: "app"} is complete.
type Identity struct {
	Name       string   // also the PostgreSQL role's
	Kind       string   // default ManagedIdentity
	ClientID   string   // appid
	ObjectID   string   // oid
	ResourceID string   // ARM id of a user-assigned managed identity; set by Add
	Secret     string   `json:"-"` // client secret; an application without one has none
	Groups     []string // object ids of its groups

	// Certificates are what an application may sign in with, instead of a secret: a
	// certificate itself, or the authority of one whose chain is sent.
	Certificates []*x509.Certificate

	Subject             string // of its federated tokens; set by Add
	ServiceConnectionID string // of Azure Pipelines; set by Add
}

// Add makes an identity known to Entra and returns it completed. The first
// managed identity is the host's system-assigned one. It has no PostgreSQL role
// until [Azure.Grant], or SQL that finds it by its name. Close returns the error
// if PostgreSQL could not be told of it.
func (a *Azure) Add(id Identity) Identity {
	a.mu.Lock()
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
		kind := "Microsoft.ManagedIdentity/userAssignedIdentities"
		if len(a.identities) == 0 {
			kind = "Microsoft.Web/sites"
		}
		id.ResourceID = fmt.Sprintf("/subscriptions/%s/resourcegroups/rg/providers/%s/%s", guid("subscription"), kind, id.Name)
	}
	if id.Subject == "" {
		id.Subject = "system:serviceaccount:default:" + id.Name
	}
	if id.ServiceConnectionID == "" {
		id.ServiceConnectionID = guid("connection " + id.Name)
	}
	a.identities = append(a.identities, id)
	a.mu.Unlock()
	a.enter(id)
	return id
}

// Identity is the identity of that name, as Add returned it. It panics if there is
// none, which is a mistake in the test.
func (a *Azure) Identity(name string) Identity {
	id, ok := a.find(func(id Identity) bool { return id.Name == name })
	if !ok {
		panic("emulator: no identity named " + name)
	}
	return id
}

// enter tells PostgreSQL of an identity. Add has no error to return: Close has it.
func (a *Azure) enter(id Identity) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := a.postgres.pool.Exec(ctx, `INSERT INTO pg_emulator.directory (oid, name, kind) VALUES ($1, $2, $3)
		ON CONFLICT (oid) DO UPDATE SET name = excluded.name, kind = excluded.kind`, id.ObjectID, id.Name, objectType(id))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unknown = errors.Join(a.unknown, err)
}

func (a *Azure) find(match func(Identity) bool) (Identity, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.IndexFunc(a.identities, match); i >= 0 {
		return a.identities[i], true
	}
	return Identity{}, false
}

func guid(of string) string {
	h := sha256.Sum256([]byte(of))
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
