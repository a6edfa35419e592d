package azure

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/dsn"
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

func tryCreate(ctx context.Context, t *trial) {
	role := t.newName("new role")
	var got string
	err := t.query(ctx, []any{&got}, createWithOID, role, t.newID(), "service", false)
	t.dropLater(role)
	if err != nil {
		t.observeError(err)
		t.contradict("the function failed")
		return
	}
	t.observe("%s", got)
	if want := fmt.Sprintf("Created role for %q", role); got != want {
		t.contradict("it returned another text")
	}
}

func tryOtherDatabase(ctx context.Context, t *trial) {
	name := "aadpostgres_" + strings.ToLower(rand.Text()[:8])
	if t.failed("CREATE DATABASE", t.exec(ctx, "CREATE DATABASE "+name)) {
		return
	}
	defer func() { t.failed("DROP DATABASE", t.exec(context.WithoutCancel(ctx), "DROP DATABASE "+name)) }()
	conn, err := t.signIn(ctx, Admin, func(c *dsn.Config) { c.Params["dbname"] = name })
	if t.failed("the sign-in", err) {
		return
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, createByName, t.newName("role that does not exist"))
	t.wantRefusal(err)
}

func tryList(ctx context.Context, t *trial) {
	oid := t.newID()
	role := t.createRole(ctx, oid, "service")
	if role == "" {
		return
	}
	conn, err := t.administrator(ctx)
	if t.failed("the administrator's session", err) {
		return
	}
	rows, err := conn.Query(ctx, "SELECT * FROM pg_catalog.pgaadauth_list_principals(false)")
	if err != nil {
		t.contradict("the function failed")
		return
	}
	var columns []string
	for _, f := range rows.FieldDescriptions() {
		columns = append(columns, f.Name)
	}
	found := false
	for rows.Next() {
		values, err := rows.Values()
		if err == nil && len(values) >= 3 && fmt.Sprint(values[0]) == role {
			found = fmt.Sprint(values[1]) == "service" && strings.EqualFold(fmt.Sprint(values[2]), oid)
		}
	}
	if t.failed("the list", rows.Err()) {
		return
	}
	t.observe("columns: %s", strings.Join(columns, ", "))
	if len(columns) != 6 || !found {
		t.contradict("the columns, or the row of a new role, are others")
	}
}

func tryUpdate(ctx context.Context, t *trial) {
	role, other := t.createRole(ctx, uuid.NewString(), "service"), t.createRole(ctx, uuid.NewString(), "service")
	if role == "" || other == "" {
		return
	}
	granted := t.exec(ctx, "GRANT "+quoteName(other)+" TO "+quoteName(role)) == nil
	oid := t.newID()
	err := t.exec(ctx, "SELECT * FROM pg_catalog.pgaadauth_update_principal_with_oid($1::text, $2::text, 'service', false, false)", role, oid)
	if err != nil {
		t.observeError(err)
		t.contradict("the function failed")
		return
	}
	t.wantLabel(ctx, role, oid, "service")
	var member bool
	err = t.query(ctx, []any{&member}, "SELECT pg_has_role($1::name, $2::name, 'MEMBER')", role, other)
	if !t.failed("reading memberships", err) && granted && !member {
		t.contradict("the membership is gone")
	}
}

func tryFunctions(ctx context.Context, t *trial) {
	conn, err := t.administrator(ctx)
	if t.failed("the administrator's session", err) {
		return
	}
	rows, err := conn.Query(ctx, "SELECT proname || '(' || pg_get_function_identity_arguments(oid) || ')' FROM pg_catalog.pg_proc WHERE proname ~ '^(pgaadauth|azure_roles)' ORDER BY 1")
	if t.failed("reading pg_proc", err) {
		return
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if t.failed("reading pg_proc", err) {
		return
	}
	for _, name := range names {
		t.observe("%s", name)
	}
	for _, want := range []string{"pgaadauth_sync_roles_for_group_members", "azure_roles_authtype"} {
		if !slices.ContainsFunc(names, func(s string) bool { return strings.HasPrefix(s, want+"(") }) {
			t.contradict("%s does not exist", want)
		}
	}
}

var labelForm = regexp.MustCompile(`^aadauth,oid=([0-9a-fA-F-]{36}),type=(user|group|service)$`)

// wantLabel judges the label of a role.
func (t *trial) wantLabel(ctx context.Context, role, oid, objectType string) {
	t.mask.add("object ID", oid)
	var label string
	err := t.query(ctx, []any{&label}, readLabel, role)
	if errors.Is(err, pgx.ErrNoRows) {
		t.contradict("the role has no label of provider pgaadauth")
		return
	}
	if t.failed("reading pg_shseclabel", err) {
		return
	}
	t.observe("%s", label)
	m := labelForm.FindStringSubmatch(label)
	if m == nil || !strings.EqualFold(m[1], oid) || m[2] != objectType {
		t.contradict("the label is another")
	}
}
