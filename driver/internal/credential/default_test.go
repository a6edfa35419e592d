package credential

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// Mode default has the members of azidentity's DefaultAzureCredential, in the same order,
// whatever AZURE_TOKEN_CREDENTIALS selects.
func TestDefaultIsAzidentitys(t *testing.T) {
	rows := []string{"unset", "dev", "prod", "Prod", "", "nothing", "environmentcredential"}
	for _, m := range members {
		rows = append(rows, m.name)
	}
	for _, selection := range rows {
		t.Run(cmp.Or(selection, "empty"), func(t *testing.T) {
			entratest.CleanEnv(t)
			entratest.NoTools(t)
			t.Setenv("AZURE_TOKEN_CREDENTIALS", selection)
			if selection == "unset" {
				os.Unsetenv("AZURE_TOKEN_CREDENTIALS")
			}
			synctest.Test(t, func(t *testing.T) {
				silent := &fakeTransport{func(r *http.Request) (*http.Response, error) {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}}
				original, wantErr := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
					ClientOptions: azcore.ClientOptions{Transport: silent}})
				cfg, cloud := parse(t, "host=h user=u")
				ours, err := newDefault(cfg, Options{Transport: silent}.forCloud(cloud))
				if fmt.Sprint(err) != fmt.Sprint(wantErr) {
					t.Fatalf("newCredential() = %v, want %v", err, wantErr)
				}
				if err != nil {
					return
				}
				got := membersAsked(t, ours)
				want := membersAsked(t, original)
				if !slices.Equal(got, want) {
					t.Errorf("the members are %q, want %q", got, want)
				}
			})
		})
	}
}

// membersAsked returns the names of the credentials that a chain has tried.
func membersAsked(t *testing.T, cred azcore.TokenCredential) (names []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ctx, _ = withExchange(ctx)
	_, err := cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://s/.default"}})
	if err == nil {
		t.Fatal("GetToken() = nil, want an error")
	}
	if !strings.HasPrefix(err.Error(), "DefaultAzureCredential: ") {
		t.Errorf("GetToken() = %q, want it to begin with DefaultAzureCredential", err)
	}
	for _, reason := range attempts(err.Error()) {
		name, _, _ := strings.Cut(reason, ":")
		if name == string(dsn.ManagedIdentity) {
			name = "ManagedIdentityCredential" // as in a list of modes
		}
		names = append(names, name)
	}
	return names
}

// In mode default each error of a developer tool leads to the next one.
func TestToolsInDefault(t *testing.T) {
	broken := optionalTool{failing(errors.New("the tool is broken"))}
	next := failing(errors.New("the next tool"))
	chain, err := azidentity.NewChainedTokenCredential([]azcore.TokenCredential{broken, next}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = chain.GetToken(t.Context(), policy.TokenRequestOptions{})
	if err == nil || !strings.Contains(err.Error(), "the next tool") {
		t.Errorf("GetToken() = %v, want the next tool to be asked", err)
	}
}
