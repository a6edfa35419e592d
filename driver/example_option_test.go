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

// A vault is a program's own credential. It implements azcore.TokenCredential.
type vault struct{ key string }

func (vault) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	fmt.Println("requested:", o.Scopes[0])
	return azcore.AccessToken{Token: "token-from-the-vault", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// WithCredential signs in with a credential of the program's own. Credentials returns the
// user and the token, for programs that do not connect with this package.
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
	fmt.Println(login.Password.Value())
	// Output:
	// requested: https://ossrdbms-aad.database.windows.net/.default
	// "billing", password xxxxx
	// token-from-the-vault
}

// WithLogger logs each token request. A record is written after the token has been returned,
// so a slow log delays no connect.
func ExampleWithLogger() {
	r, w := io.Pipe()
	text := slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if slices.Contains([]string{slog.TimeKey, "took", "expires"}, a.Key) {
			return slog.Attr{} // it differs from run to run
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
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(line)
	// Output:
	// requested: https://ossrdbms-aad.database.windows.net/.default
	// level=INFO msg="token fetched"
}

// WithConnConfig changes pgx's configuration for all connections, where the DSN has no key
// for a setting.
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

// WithTLSConfig sets roots and client certificates that are not in files. The server's name
// still comes from the DSN.
func ExampleWithTLSConfig() {
	roots := x509.NewCertPool() // then roots.AppendCertsFromPEM(pem)
	c, err := driver.NewConnector(billing, driver.WithTLSConfig(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Config().TLSConfig.ServerName)
	// Output: app.postgres.database.azure.com
}

// WithTransport sends token requests, and no other request of the program, through a proxy.
// The endpoint of a managed identity is on this host, and needs no proxy.
func ExampleWithTransport() {
	proxied := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}, Timeout: 20 * time.Second}
	c, err := driver.NewConnector(billing+" aad_auth=device-code", driver.WithTransport(proxied))
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(c)
	defer db.Close()
	fmt.Println(c)
	// Output: aad_auth=device-code dbname=app host=app.postgres.database.azure.com user=billing
}

// WithDeviceCodePrompt shows the code in the program's own window. By default it is printed
// to standard error.
func ExampleWithDeviceCodePrompt() {
	c, err := driver.NewConnector("host=app.postgres.database.azure.com dbname=app aad_auth=device-code",
		driver.WithDeviceCodePrompt(func(_ context.Context, m azidentity.DeviceCodeMessage) error {
			return showCode(m.UserCode, m.VerificationURL)
		}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c)
	// Output: aad_auth=device-code dbname=app host=app.postgres.database.azure.com
}

// showCode shows a code and the address to enter it at in the program's window.
func showCode(code, url string) error { return nil }
