package azure

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestFromEnv(t *testing.T) {
	full := map[string]string{
		variableDSN:                          "host=h dbname=postgres",
		"AADPOSTGRES_AZURE_ADMIN":            "user=a aad_auth=azure-cli",
		"AADPOSTGRES_AZURE_MANAGED_IDENTITY": "user=m aad_auth=managed-identity",
		variablePgBouncer:                    "6432",
		variableWait:                         "95m",
		variableClaims:                       "^tls-",
		variableFailover:                     "false with arguments",
	}
	s, err := FromEnv(func(name string) string { return full[name] })
	if err != nil {
		t.Fatal(err)
	}
	if s.Target != "Azure" || s.DSN != full[variableDSN] || s.PgBouncerPort != "6432" || s.Wait != 95*time.Minute {
		t.Errorf("FromEnv() = %+v, want what the variables say", s)
	}
	if got, want := len(s.Identities), 2; got != want {
		t.Errorf("identities = %d, want %d", got, want)
	}
	if !s.Only.MatchString("tls-direct") || s.Only.MatchString("role-tls-") {
		t.Errorf("Only = %v, want what the variable says", s.Only)
	}
	if s.Failover == nil || s.Failover(context.Background()) == nil {
		t.Error("Failover did not run the command, which fails")
	}
	rows := []struct{ name, variable, value, want string }{
		{"no DSN", variableDSN, "", "set it to host="},
		{"no administrator", "AADPOSTGRES_AZURE_ADMIN", "", "AADPOSTGRES_AZURE_ADMIN is not set"},
		{"wait is no duration", variableWait, "an hour", "write it as in 95m"},
		{"wait is negative", variableWait, "-1m", "write it as in 95m"},
		{"claims are no expression", variableClaims, "(", variableClaims},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := FromEnv(func(name string) string {
				if name == row.variable {
					return row.value
				}
				return full[name]
			})
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("FromEnv() = %v, want %q", err, row.want)
			}
		})
	}
}
