package driver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// credentials makes the credential of each mode. A mode of dsn.Modes without a
// row is not there yet; access-token and password have no credential.
var credentials = map[dsn.Mode]func(*dsn.Config, target, azcore.ClientOptions) (azcore.TokenCredential, error){
	dsn.Default: func(c *dsn.Config, t target, o azcore.ClientOptions) (azcore.TokenCredential, error) {
		return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
			ClientOptions: o, TenantID: c.TenantID, DisableInstanceDiscovery: !t.discovery,
			AdditionallyAllowedTenants: c.AdditionallyAllowedTenants,
		})
	},
	dsn.ManagedIdentity: func(c *dsn.Config, t target, o azcore.ClientOptions) (azcore.TokenCredential, error) {
		mi := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: o}
		switch {
		case c.ClientID != "":
			mi.ID = azidentity.ClientID(c.ClientID)
		case c.ObjectID != "":
			mi.ID = azidentity.ObjectID(c.ObjectID)
		case c.ResourceID != "":
			mi.ID = azidentity.ResourceID(c.ResourceID)
		}
		return azidentity.NewManagedIdentityCredential(mi)
	},
	dsn.ClientSecret: func(c *dsn.Config, t target, o azcore.ClientOptions) (azcore.TokenCredential, error) {
		return azidentity.NewClientSecretCredential(c.TenantID, c.ClientID, c.ClientSecret, &azidentity.ClientSecretCredentialOptions{
			ClientOptions: o, DisableInstanceDiscovery: !t.discovery,
			AdditionallyAllowedTenants: c.AdditionallyAllowedTenants,
		})
	},
	dsn.AzureCLI: func(c *dsn.Config, t target, o azcore.ClientOptions) (azcore.TokenCredential, error) {
		return azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{
			TenantID: c.TenantID, Subscription: c.Subscription,
			AdditionallyAllowedTenants: c.AdditionallyAllowedTenants,
		})
	},
}

// transport replaces azidentity's HTTP client in tests.
var transport policy.Transporter

func newCredential(c *dsn.Config, t target) (azcore.TokenCredential, error) {
	if len(c.Auth) > 1 {
		return nil, &Error{Step: StepDSN, Err: errors.New("a list of modes in aad_auth is not there yet"), Hint: "name one mode"}
	}
	mode := c.Auth[0]
	make := credentials[mode]
	if make == nil {
		return nil, &Error{Step: StepDSN, Err: fmt.Errorf("aad_auth=%s is not there yet", mode),
			Hint: "use " + strings.Join(ready(), ", ") + ", or hand the credential over with WithCredential"}
	}
	cred, err := make(c, t, azcore.ClientOptions{
		Cloud:     azcloud.Configuration{ActiveDirectoryAuthorityHost: t.authority},
		Transport: transport, PerRetryPolicies: []policy.Policy{heed{}},
	})
	if err != nil {
		return nil, &Error{Step: StepCredential, Err: err}
	}
	return cred, nil
}

// ready lists the modes that there are, in the table's order.
func ready() []string {
	var names []string
	for _, m := range dsn.Modes() {
		if credentials[m.Name] != nil || m.Name == dsn.AccessToken || m.Name == dsn.Password {
			names = append(names, string(m.Name))
		}
	}
	return names
}

// fixed presents a token that somebody else fetched: the one of a file, read for
// every connection because others replace it, or the one in the password's place.
type fixed struct {
	file   string
	value  string
	maxAge time.Duration
}

func (f *fixed) get(*slog.Logger) (*token, *flight) {
	t, err := f.read()
	if err != nil {
		return nil, landed(nil, err)
	}
	return t, nil
}

func (f *fixed) newer(_ *token, log *slog.Logger) (*token, *flight) { return f.get(log) }

func (f *fixed) read() (*token, error) {
	value := f.value
	if f.file != "" {
		var err error
		if value, err = readToken(f.file); err != nil {
			return nil, &Error{Step: StepToken, Err: err, Hint: "check aad_token_file"}
		}
	}
	if value == "" {
		return nil, &Error{Step: StepToken, Err: errors.New("no access token is given"), Hint: "set aad_token_file, or put the token in the password's place (PGPASSWORD)"}
	}
	now := time.Now().Round(0)
	end := decode(value).expires()
	if end.IsZero() {
		end = now.Add(time.Hour) // opaque: the server knows
	}
	t := newToken(azcore.AccessToken{Token: value, ExpiresOn: end}, now, f.maxAge)
	switch {
	case !now.Before(end):
		return nil, &Error{Step: StepToken, Err: fmt.Errorf("the access token expired at %s", end.UTC().Format(time.RFC3339)), Hint: "fetch a new one"}
	case !t.live(now):
		return nil, &Error{Step: StepToken, Err: fmt.Errorf("the access token is %s old", now.Sub(t.issued).Round(time.Second)), Hint: "fetch a new one, or raise aad_token_max_age"}
	}
	return t, nil
}

// readToken reads a token of sane size from a regular file, not from a pipe
// that would block.
func readToken(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	const most = 1 << 20
	if !info.Mode().IsRegular() || info.Size() > most {
		return "", fmt.Errorf("%s is not a regular file of at most 1 MiB", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most))
	return string(bytes.TrimSpace(b)), err
}
