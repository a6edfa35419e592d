package through

import "testing"

func TestContainerDSN(t *testing.T) {
	t.Setenv(DSN, "postgres://app@127.0.0.1:5433/suites?sslrootcert=ca.pem&aad_auth=managed-identity")
	for _, tt := range []struct{ name, dsn, want string }{
		{"no container", "postgres://u:p@127.0.0.1/db?sslmode=disable", "postgres://u:p@127.0.0.1/db?sslmode=disable"},
		{"keywords", "host=127.0.0.1 user=u", "host=127.0.0.1 user=u"},
		{"its superuser", "postgres://postgres:p@container.invalid:7/postgres?sslmode=disable&search_path=foo",
			"postgres://app@127.0.0.1:5433/container_7?sslrootcert=ca.pem&aad_auth=managed-identity&search_path=foo"},
		{"a role of the suite", "postgres://not_owner:p@container.invalid:7/postgres?sslmode=disable",
			"postgres://not_owner:p@127.0.0.1:5433/container_7?sslrootcert=ca.pem&aad_auth=password"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := containerDSN(tt.dsn)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("containerDSN() = %q, want %q", got, tt.want)
			}
		})
	}
}
