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

	"github.com/aadpostgres/aadpostgres/dsn"
)

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
