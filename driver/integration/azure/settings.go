package azure

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// variables are the names of the environment variables of identities.
var variables = []struct {
	identity Identity
	name     string
}{
	{Admin, "AADPOSTGRES_AZURE_ADMIN"},
	{Person, "AADPOSTGRES_AZURE_PERSON"},
	{Group, "AADPOSTGRES_AZURE_GROUP"},
	{ManagedIdentity, "AADPOSTGRES_AZURE_MANAGED_IDENTITY"},
	{ServicePrincipal, "AADPOSTGRES_AZURE_SERVICE_PRINCIPAL"},
}

const (
	variableDSN       = "AADPOSTGRES_AZURE_DSN"
	variablePgBouncer = "AADPOSTGRES_AZURE_PGBOUNCER_PORT"
	variableClaims    = "AADPOSTGRES_AZURE_CLAIMS"
	variableWait      = "AADPOSTGRES_AZURE_WAIT"
	variableFailover  = "AADPOSTGRES_AZURE_FAILOVER"
)

// FromEnv reads settings for a server of Azure from variables, by getenv:
//
//	AADPOSTGRES_AZURE_DSN                host, dbname and perhaps port and sslrootcert; required
//	AADPOSTGRES_AZURE_ADMIN              parameters of an Entra administrator; required
//	AADPOSTGRES_AZURE_PERSON             parameters of a person with a role
//	AADPOSTGRES_AZURE_GROUP              parameters of a member, with user as the group's role
//	AADPOSTGRES_AZURE_MANAGED_IDENTITY   parameters of a managed identity with a role
//	AADPOSTGRES_AZURE_SERVICE_PRINCIPAL  parameters of an application with a role
//	AADPOSTGRES_AZURE_PGBOUNCER_PORT     6432, if the server's PgBouncer is on
//	AADPOSTGRES_AZURE_CLAIMS             a regular expression: only claims whose IDs match are tried
//	AADPOSTGRES_AZURE_WAIT               how long to wait for a token to expire, as in 95m
//	AADPOSTGRES_AZURE_FAILOVER           a command that restarts the server or makes it fail over
//
// Parameters are such as "user=app aad_auth=managed-identity". Keep secrets out of them: in
// mode client-secret the driver reads AZURE_CLIENT_SECRET. A person's token may come from a
// file (aad_auth=access-token aad_token_file=...).
func FromEnv(getenv func(string) string) (Settings, error) {
	s := Settings{Target: "Azure", DSN: getenv(variableDSN), Identities: map[Identity]string{}, PgBouncerPort: getenv(variablePgBouncer)}
	if s.DSN == "" {
		return s, errors.New("azure: " + variableDSN + " is not set; set it to host=... dbname=postgres")
	}
	for _, v := range variables {
		if params := getenv(v.name); params != "" {
			s.Identities[v.identity] = params
		}
	}
	if s.Identities[Admin] == "" {
		return s, errors.New("azure: AADPOSTGRES_AZURE_ADMIN is not set; set it to the parameters of an Entra administrator, such as user=me@contoso.com aad_auth=azure-cli")
	}
	if claims := getenv(variableClaims); claims != "" {
		only, err := regexp.Compile(claims)
		if err != nil {
			return s, fmt.Errorf("azure: %s: %w", variableClaims, err)
		}
		s.Only = only
	}
	if wait := getenv(variableWait); wait != "" {
		d, err := time.ParseDuration(wait)
		if err != nil || d < 0 {
			return s, fmt.Errorf("azure: %s is not a duration; write it as in 95m", variableWait)
		}
		s.Wait = d
	}
	if command := strings.Fields(getenv(variableFailover)); len(command) > 0 {
		s.Failover = func(ctx context.Context) error {
			return exec.CommandContext(ctx, command[0], command[1:]...).Run() // its output may name the server
		}
	}
	return s, nil
}

// missing returns why a need is not met, or "".
func (r *run) missing(need Need) string {
	absent := func(variable string) string { return variable + " is not set" }
	switch need {
	case NeedsPgBouncer:
		if r.settings.PgBouncerPort == "" {
			return absent(variablePgBouncer)
		}
	case NeedsWait:
		if r.settings.Wait == 0 {
			return absent(variableWait)
		}
	case NeedsFailover:
		if r.settings.Failover == nil {
			return absent(variableFailover)
		}
	default:
		for _, v := range variables {
			if string(v.identity) == string(need) && r.settings.Identities[v.identity] == "" {
				return absent(v.name)
			}
		}
	}
	return ""
}
