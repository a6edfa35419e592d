// Byhand signs in with pgx and azidentity alone, as a program without this driver does, and
// prints the role. The argument names the credential.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name string) error {
	cred, err := newCredential(name)
	if err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		return err
	}
	config.BeforeConnect = func(ctx context.Context, c *pgx.ConnConfig) error {
		token, err := cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://ossrdbms-aad.database.windows.net/.default"}})
		c.Password = token.Token
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	var role string
	if err := pool.QueryRow(ctx, "select session_user").Scan(&role); err != nil {
		return err
	}
	fmt.Println(role)
	return nil
}

func newCredential(name string) (azcore.TokenCredential, error) {
	if name == "browser" {
		return azidentity.NewInteractiveBrowserCredential(nil)
	}
	return azidentity.NewDefaultAzureCredential(nil)
}
