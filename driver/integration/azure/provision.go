package azure

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
)

func creating(wordings ...string) (hints []Hint) {
	for _, w := range wordings {
		hints = append(hints, Hint{hint.Role, w})
	}
	return hints
}

const (
	createWithOID = "SELECT * FROM pg_catalog.pgaadauth_create_principal_with_oid($1::text, $2::text, $3::text, $4::boolean, false)"
	createByName  = "SELECT * FROM pg_catalog.pgaadauth_create_principal($1::text, false, false)"
	readLabel     = "SELECT label FROM pg_catalog.pg_shseclabel WHERE provider = 'pgaadauth' AND objoid = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1)"
)

var provisioningClaims = []Claim{
	{
		ID: "role-create-with-oid", Text: "pgaadauth_create_principal_with_oid creates a role under any name, and returns Created role for the name in quotation marks.", Standing: Documented,
		Pages: []Page{{readme, "pgaadauth_create_principal_with_oid"}, {emulate, "Created role for"}},
		How:   "create a role with an object ID that nobody has", try: tryCreate,
	},
	{
		ID: "role-name-differs", Text: "The server knows a principal by the object ID: the role's name may be another one.", Standing: Documented,
		How: "create a role of another name for a managed identity, and sign in", Needs: []Need{Need(ManagedIdentity)},
		try: func(ctx context.Context, t *trial) {
			who, err := t.token(ctx, ManagedIdentity)
			if t.failed("the token", err) {
				return
			}
			role := t.createRole(ctx, who.Claims.ObjectID, "service")
			if role == "" {
				return
			}
			if err := t.connect(ctx, &startup{user: role, password: who.Token}); err != nil {
				t.observeError(err)
				t.contradict("the sign-in failed")
			}
		},
	},
	{
		ID: "role-exists", Text: "The text for a role that exists is PostgreSQL's.", Standing: Documented,
		Hints: creating("role*already exists"),
		How:   "create the same role twice",
		try: func(ctx context.Context, t *trial) {
			if role := t.createRole(ctx, uuid.NewString(), "service"); role != "" {
				t.wantRefusal(t.exec(ctx, createWithOID, role, uuid.NewString(), "service", false))
			}
		},
	},
	{
		ID: "role-unknown-name", Text: "The text for a name that no principal has is known.", Standing: Documented,
		Hints: creating("not found in the tenant"),
		How:   "pgaadauth_create_principal with a name that nobody has",
		try: func(ctx context.Context, t *trial) {
			t.wantRefusal(t.exec(ctx, createByName, t.newName("role that does not exist")))
		},
	},
	{
		ID: "role-admin-only", Text: "Only an Entra administrator may call pgaadauth_create_principal.", Standing: Reported,
		Hints: creating("permission denied for function pgaadauth"),
		How:   "call it as a managed identity that is no administrator", Needs: []Need{Need(ManagedIdentity)},
		try: func(ctx context.Context, t *trial) {
			conn, err := t.signIn(ctx, ManagedIdentity, nil)
			if t.failed("the sign-in", err) {
				return
			}
			defer conn.Close(ctx)
			_, err = conn.Exec(ctx, createByName, t.newName("role that does not exist"))
			t.wantRefusal(err)
		},
	},
	{
		ID: "role-postgres-only", Text: "The functions are in the database postgres only.", Standing: Documented,
		Hints: creating("function pg_catalog.pgaadauth*does not exist"),
		How:   "create a database, and call pgaadauth_create_principal there",
		try:   tryOtherDatabase,
	},
	{
		ID: "role-list", Text: "pgaadauth_list_principals has the role's name first, then its type, object ID, tenant, mfa and admin.", Standing: Documented,
		Pages: []Page{{emulate, "pgaadauth_list_principals"}},
		How:   "list the principals, and compare a role's own", try: tryList,
	},
	{
		ID: "role-update", Text: "pgaadauth_update_principal_with_oid gives a role to another principal and keeps its memberships.", Standing: Reported,
		Pages: []Page{{emulate, "pgaadauth_update_principal_with_oid"}},
		How:   "create a role, update it, and read its label", try: tryUpdate,
	},
	{
		ID: "role-label", Text: "The label of a role is aadauth,oid=<object ID>,type=<type>, of provider pgaadauth.", Standing: Documented,
		Pages: []Page{{emulate, "aadauth,oid="}},
		How:   "create a role, and read its label in pg_shseclabel",
		try: func(ctx context.Context, t *trial) {
			oid := uuid.NewString()
			if role := t.createRole(ctx, oid, "group"); role != "" {
				t.wantLabel(ctx, role, oid, "group")
			}
		},
	},
	{
		ID: "role-security-label", Text: "SECURITY LABEL gives a role to another principal.", Standing: Documented,
		Hints: creating("role*already exists"),
		How:   "create a role, relabel it, and read its label",
		try: func(ctx context.Context, t *trial) {
			role := t.createRole(ctx, uuid.NewString(), "service")
			if role == "" {
				return
			}
			oid := t.newID()
			if err := t.exec(ctx, fmt.Sprintf(`SECURITY LABEL FOR "pgaadauth" ON ROLE %s IS 'aadauth,oid=%s,type=service'`, quoteName(role), oid)); err != nil {
				t.observeError(err)
				t.contradict("SECURITY LABEL failed")
				return
			}
			t.wantLabel(ctx, role, oid, "service")
		},
	},
	{
		ID: "role-admin-attributes", Text: "An administrator's role is a member of azure_pg_admin with CREATEROLE and CREATEDB.", Standing: Documented,
		How: "read the administrator's own role",
		try: func(ctx context.Context, t *trial) {
			var role, db, member bool
			err := t.query(ctx, []any{&role, &db, &member}, "SELECT rolcreaterole, rolcreatedb, pg_has_role(oid, 'azure_pg_admin', 'MEMBER') FROM pg_catalog.pg_roles WHERE rolname = session_user")
			if t.failed("reading the role", err) {
				return
			}
			t.observe("rolcreaterole %t, rolcreatedb %t, member of azure_pg_admin %t", role, db, member)
			if !role || !db || !member {
				t.contradict("one of them is false")
			}
		},
	},
	{
		ID: "role-functions", Text: "The functions pgaadauth_sync_roles_for_group_members and azure_roles_authtype exist.", Standing: Documented,
		How: "list the functions by name", try: tryFunctions,
	},
}
