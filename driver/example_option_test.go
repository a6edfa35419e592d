package driver_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
)

const billing = "host=app.postgres.database.azure.com user=billing dbname=app"

// vault is a credential of one's own: whatever has GetToken.
type vault struct{ key string }

func (vault) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	fmt.Println("asked for", o.Scopes[0])
	return azcore.AccessToken{Token: "what-the-vault-holds", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// Credentials are for programs that make their connections by other means. Here it shows what
// a credential is asked for.
func ExampleWithCredential() {
	c, err := driver.NewConnector(billing, driver.WithCredential(vault{"billing"}))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	login, err := c.Credentials(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(login)
	fmt.Println(login.Password)
	// Output:
	// asked for https://ossrdbms-aad.database.windows.net/.default
	// "billing", password xxxxx
	// what-the-vault-holds
}

// A token is logged after whoever waited for it has it: a slow log keeps nobody waiting.
func ExampleWithLogger() {
	logged, w := io.Pipe()
	text := slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if slices.Contains([]string{slog.TimeKey, "took", "expires"}, a.Key) {
			return slog.Attr{} // what differs each time
		}
		return a
	}})
	c, err := driver.NewConnector(billing, driver.WithCredential(vault{"logged"}), driver.WithLogger(slog.New(text)))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Credentials(context.Background()); err != nil {
		log.Fatal(err)
	}
	line, err := bufio.NewReader(logged).ReadString('\n')
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(line)
	// Output:
	// asked for https://ossrdbms-aad.database.windows.net/.default
	// level=INFO msg="token fetched"
}

// Whatever pgx can be told in Go, for all connections.
func ExampleWithConnConfig() {
	c, err := driver.NewConnector(billing, driver.WithConnConfig(func(config *pgx.ConnConfig) {
		config.RuntimeParams["application_name"] = "billing"
		config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Config().RuntimeParams["application_name"])
	// Output: billing
}

// Roots and a client certificate that are not in files. Which server it must be is
// still the DSN's to say.
func ExampleWithTLSConfig() {
	roots := x509.NewCertPool() // AppendCertsFromPEM
	c, err := driver.NewConnector(billing, driver.WithTLSConfig(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Config().TLSConfig.ServerName)
	// Output: app.postgres.database.azure.com
}

// Token requests by a proxy, and no other request of the program.
func ExampleWithTransport() {
	proxied := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}, Timeout: 20 * time.Second}
	c, err := driver.NewConnector(billing+" aad_auth=managed-identity", driver.WithTransport(proxied))
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()
	fmt.Println(c)
	// Output: aad_auth=managed-identity dbname=app host=app.postgres.database.azure.com user=billing
}

// Where a program has no standard error that anybody reads.
func ExampleWithDeviceCodePrompt() {
	c, err := driver.NewConnector("host=app.postgres.database.azure.com dbname=app aad_auth=device-code",
		driver.WithDeviceCodePrompt(func(_ context.Context, m azidentity.DeviceCodeMessage) error {
			return show(m.UserCode, m.VerificationURL)
		}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c)
	// Output: aad_auth=device-code dbname=app host=app.postgres.database.azure.com
}

// show is the program's window.
func show(...string) error { return nil }
