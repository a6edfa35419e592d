package hint

import "slices"

// facts are the names of all facts that the driver supplies. A rule names no other: it
// would never be found.
var facts = []string{
	"app_token",
	"asked",
	"authority",
	"came_identity",
	"certificate_names",
	"certificate_variable",
	"choose_setting",
	"create_error",
	"create_sql",
	"database_sql",
	"failure",
	"file",
	"home_root_file",
	"host",
	"host_identity",
	"host_is_address",
	"ignoring_mode",
	"login_command",
	"long_token",
	"max_name",
	"meant_by",
	"meant_identity",
	"mode",
	"name_length",
	"no_roots",
	"own_credential",
	"own_roots",
	"person_name",
	"principal_flags",
	"principal_kind",
	"rebind_sql",
	"resource",
	"role",
	"role_sql",
	"root_file",
	"server_suffix",
	"server_suffix_double",
	"server_suffix_extra",
	"set_audience",
	"set_own_user",
	"set_user",
	"skew",
	"static_token",
	"token_age",
	"token_length",
	"try_command",
	"user_is_id",
	"user_token",
}

// FactNames returns the names of all facts, in order.
func FactNames() []string { return slices.Clone(facts) }
