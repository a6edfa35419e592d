package driver

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// A statement is a setting that says which identity is meant to sign in.
type statement struct {
	setting string // the key of the DSN, or the variable
	what    string // the setting names such a thing
	value   string
	claims  func(token.Claims) []string // of a token that is meant, one has the value
	choose  string                      // the DSN's setting that obeys the statement; "" for a key
}

// variable reports whether the environment states it, and not the DSN.
func (s statement) variable() bool { return s.choose != "" }

// names says what the setting names. A value that could be a secret in the wrong place is
// not shown.
func (s statement) names() string {
	if guid.MatchString(s.value) {
		return s.what + " " + strconv.Quote(s.value)
	}
	return "another " + s.what
}

// An intent is what the DSN and the environment say about the identity that is meant to
// sign in.
type intent struct {
	modes      []dsn.Mode // nil if the program has its own credential
	statements []statement
	federated  bool // the environment is that of a workload identity
	givenUser  bool // the DSN, PGUSER or a service names the user
}

// intentOf reads the DSN and the environment. ownCredential says that the DSN's modes are
// not used.
func intentOf(cfg *dsn.Config, getenv func(string) string, ownCredential bool) intent {
	i := intent{federated: getenv("AZURE_FEDERATED_TOKEN_FILE") != "", givenUser: cfg.Params["user"] != ""}
	if !ownCredential {
		i.modes = cfg.Auth
	}
	state := func(setting, what, value string, claims func(token.Claims) []string, choose string) {
		if value != "" {
			i.statements = append(i.statements, statement{setting, what, value, claims, choose})
		}
	}
	if !i.onlyPersons() {
		state("aad_client_id", "application", cfg.ClientID, applications, "")
	}
	state("aad_object_id", "object ID", cfg.ObjectID, objectIDs, "")
	state("aad_resource_id", "managed identity", cfg.ResourceID, managedIdentities, "")
	state("aad_login_hint", "person", cfg.LoginHint, persons, "")
	if len(i.statements) == 0 { // the DSN's choice has precedence
		setting, what, value, claims := clientVariable(getenv)
		state(setting, what, value, claims, i.chooseApplication(value))
	}
	tenant := getenv("AZURE_TENANT_ID")
	switch { // the domain of a tenant cannot be compared
	case guid.MatchString(cfg.TenantID):
		state("aad_tenant_id", "tenant", cfg.TenantID, tenants, "")
	case cfg.TenantID == "" && guid.MatchString(tenant):
		state("AZURE_TENANT_ID", "tenant", tenant, tenants, "aad_tenant_id="+tenant)
	}
	return i
}

// clientVariable returns the variable that names the identity that is meant. Service
// Connector's is for this database; a person's name counts where azidentity would use it.
func clientVariable(getenv func(string) string) (setting, what, value string, claims func(token.Claims) []string) {
	secret := cmp.Or(getenv("AZURE_CLIENT_SECRET"), getenv("AZURE_CLIENT_CERTIFICATE_PATH"))
	if name := getenv("AZURE_USERNAME"); name != "" && getenv("AZURE_PASSWORD") != "" && secret == "" {
		return "AZURE_USERNAME", "person", name, persons
	}
	for _, name := range []string{"AZURE_POSTGRESQL_CLIENTID", "AZURE_CLIENT_ID", "AZURESUBSCRIPTION_CLIENT_ID"} {
		if value := getenv(name); value != "" {
			return name, "application", value, applications
		}
	}
	return "", "", "", nil
}

// chooseApplication returns the settings that choose an application by its client ID.
func (i intent) chooseApplication(clientID string) string {
	setting := "aad_client_id"
	if guid.MatchString(clientID) {
		setting += "=" + clientID
	}
	if i.federated {
		return "aad_auth=workload-identity"
	}
	if !slices.Contains(i.modes, dsn.ManagedIdentity) {
		setting = "aad_auth=managed-identity " + setting
	}
	return setting
}

// onlyPersons reports whether all modes sign in people, through the application that
// aad_client_id names.
func (i intent) onlyPersons() bool {
	return len(i.modes) > 0 && !slices.ContainsFunc(i.modes, func(m dsn.Mode) bool {
		return m != dsn.InteractiveBrowser && m != dsn.DeviceCode
	})
}

// onlyApplications reports whether all modes sign in applications.
func (i intent) onlyApplications() bool {
	return len(i.modes) > 0 && !slices.ContainsFunc(i.modes, func(m dsn.Mode) bool {
		switch m {
		case dsn.WorkloadIdentity, dsn.ManagedIdentity, dsn.ClientSecret, dsn.ClientCertificate, dsn.AzurePipelines:
			return false
		}
		return true
	})
}

// ignoredVariable returns the variable that names an identity and that the modes do not
// read, and the mode that does not; or "".
func (i intent) ignoredVariable() (variable string, mode dsn.Mode) {
	if len(i.modes) == 0 {
		return "", "" // the program's own credential may read any
	}
	host := slices.Contains(i.modes, dsn.ManagedIdentity)
	if host && i.federated && !slices.Contains(i.modes, dsn.WorkloadIdentity) {
		return "AZURE_FEDERATED_TOKEN_FILE", dsn.ManagedIdentity
	}
	stated := slices.ContainsFunc(i.statements, func(s statement) bool { return s.setting == "AZURE_CLIENT_ID" })
	switch {
	case !stated:
		return "", ""
	case host:
		return "AZURE_CLIENT_ID", dsn.ManagedIdentity
	case slices.ContainsFunc(i.modes, readsClientID):
		return "", ""
	}
	return "AZURE_CLIENT_ID", i.modes[0]
}

// readsClientID reports whether the mode reads AZURE_CLIENT_ID. In others azidentity does
// so, or package dsn where the mode requires a client ID.
func readsClientID(m dsn.Mode) bool {
	switch m {
	case dsn.Default, dsn.Environment, dsn.WorkloadIdentity:
		return true
	}
	for _, info := range dsn.Modes() {
		if info.Name == m {
			return slices.Contains(info.Required, "aad_client_id")
		}
	}
	return false
}

func applications(c token.Claims) []string {
	if !c.AppOnly() {
		return nil // a person's token has the application through which the person signs in
	}
	return []string{c.Application()}
}

func objectIDs(c token.Claims) []string { return []string{c.ObjectID} }

func managedIdentities(c token.Claims) []string { return []string{c.ManagedIdentity} }

func persons(c token.Claims) []string {
	if c.AppOnly() {
		return nil
	}
	return []string{c.UPN, c.PreferredUsername, c.UniqueName}
}

func tenants(c token.Claims) []string { return []string{c.Tenant} }

// holdsFor reports whether the token is of the identity that the setting names. A token
// without claims is of an unknown identity, which does not contradict anything.
func (s statement) holdsFor(c token.Claims) bool {
	return c.Opaque() || slices.ContainsFunc(s.claims(c), func(v string) bool { return strings.EqualFold(v, s.value) })
}

// chose reports whether a setting names just the identity of the token.
func (i intent) chose(c token.Claims) bool {
	return !c.Opaque() && slices.ContainsFunc(i.statements, func(s statement) bool { return s.what != "tenant" && s.holdsFor(c) })
}

// otherMeant returns the facts about the identity that was meant, if a setting says that
// it is not the one of the token, else nil.
func (x errContext) otherMeant() hint.Facts {
	i := x.intent
	for _, s := range i.statements {
		if s.holdsFor(x.claims) || (s.variable() && s.what == "application" && x.namesItself()) {
			continue
		}
		f := hint.Facts{"came_identity": x.came(), "meant_by": s.setting, "meant_identity": s.names()}
		if s.variable() {
			f["choose_setting"] = s.choose
		}
		return f
	}
	if i.federated && !x.workloadIdentity() {
		return hint.Facts{
			"came_identity": x.came(), "meant_by": "AZURE_FEDERATED_TOKEN_FILE",
			"meant_identity": "a workload identity", "choose_setting": "aad_auth=workload-identity",
		}
	}
	return nil
}

// workloadIdentity reports whether the token can be the workload identity's. The node's own
// managed identity can be used by every pod.
func (x errContext) workloadIdentity() bool {
	i := x.intent
	only := len(i.modes) == 1
	if only && i.modes[0] == dsn.WorkloadIdentity {
		return true
	}
	tries := len(i.modes) == 0 || slices.Contains(i.modes, dsn.WorkloadIdentity) || i.modes[0] == dsn.Default
	return tries && !x.claims.Opaque() && slices.ContainsFunc(i.statements, func(s statement) bool {
		return s.what == "application" && s.holdsFor(x.claims)
	})
}

// came says which identity the token is of.
func (x errContext) came() string {
	const longest = 100 // bytes; a forged token may hold more
	c := x.claims
	kind, name := "person", c.Person()
	if c.AppOnly() {
		kind, name = "application", c.Application()
	}
	if name == "" || len(name) > longest {
		return "an identity that it does not name"
	}
	said := kind + " " + strconv.Quote(name)
	if own := c.ManagedIdentityName(); c.AppOnly() && own != "" && len(own) <= longest {
		said += " (" + strconv.Quote(own) + ")"
	}
	return said
}
