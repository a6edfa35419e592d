package credential

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// azidentity keeps one cache of managed identity tokens for the process, and its key is
// the ID without its kind. No identity gets another's token from it.
func TestManagedIdentitiesShareNoToken(t *testing.T) {
	entratest.CleanEnv(t)
	kinds := []struct{ key, parameter, claim string }{
		{"aad_client_id", "client_id", "appid"},
		{"aad_object_id", "object_id", "oid"},
		{"aad_resource_id", "mi_res_id", "xms_mirid"},
	}
	var byObjectID, byResourceID atomic.Int64
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims := map[string]any{"oid": "system", "appid": "system"}
		for _, kind := range kinds {
			id := r.URL.Query().Get(kind.parameter)
			if id == "" {
				continue
			}
			claims = map[string]any{"uti": kind.parameter, "appid": "another", "oid": "another", "xms_mirid": "another"}
			claims[kind.claim] = strings.ToUpper(id)
		}
		switch claims["uti"] {
		case "object_id":
			byObjectID.Add(1)
		case "mi_res_id":
			byResourceID.Add(1)
		}
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_on":"%d"}`, entratest.JWT(claims), time.Now().Add(time.Hour).Unix())
	}))
	defer web.Close()
	t.Setenv("IDENTITY_ENDPOINT", web.URL)
	t.Setenv("IDENTITY_HEADER", "h")
	id := t.Name() + web.URL // azidentity's cache outlives the test
	for range 2 {
		for _, kind := range kinds {
			cache := cacheOf(t, "host=h user=u aad_auth=managed-identity "+kind.key+"='"+id+"'", Options{})
			got, err := requestToken(t.Context(), cache)
			if err != nil {
				t.Fatal(err)
			}
			if claims := token.ParseClaims(got.Value); !strings.Contains(fmt.Sprint(claims), strings.ToUpper(id)) {
				t.Errorf("%s: the token's claims are %+v, want those of %q", kind.key, claims, id)
			}
		}
	}
	if byObjectID.Load() == 0 {
		t.Error("no request by object ID: the token is that of azidentity's cache")
	}
	if byResourceID.Load() == 0 {
		t.Error("no request by resource ID: the token is that of azidentity's cache")
	}
}

// An endpoint that knows one identity only does not sign in another one.
func TestTokenOfAnotherIdentity(t *testing.T) {
	entratest.CleanEnv(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"access_token":%q,"expires_on":"%d"}`, entratest.JWT(map[string]any{"appid": "system"}), time.Now().Add(time.Hour).Unix())
	}))
	defer web.Close()
	t.Setenv("IDENTITY_ENDPOINT", web.URL)
	t.Setenv("IDENTITY_HEADER", "h")
	id := "mine " + web.URL
	_, err := requestToken(t.Context(), cacheOf(t, "host=h user=u aad_auth=managed-identity aad_client_id='"+id+"'", Options{}))
	want := fmt.Sprintf(`asked for the managed identity %q, the endpoint returned a token of "system"`, id)
	if err == nil || err.Error() != want {
		t.Errorf("Token() = %v, want %q", err, want)
	}
	if err != nil && strings.Contains(err.Error(), entratest.Marker) {
		t.Errorf("Token() = %v, which holds a secret", err)
	}
}

// On a laptop a list goes past the managed identity within a second. The error says of
// each mode why it is unavailable.
func TestChainWithoutMetadataService(t *testing.T) {
	entratest.CleanEnv(t)
	entratest.NoTools(t)
	t.Setenv("SYSTEM_ACCESSTOKEN", "")
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int64
		silent := &fakeTransport{func(r *http.Request) (*http.Response, error) {
			requests.Add(1)
			<-r.Context().Done()
			return nil, r.Context().Err()
		}}
		cache := cacheOf(t, "host=h user=u aad_auth=workload-identity,managed-identity,azure-pipelines,environment aad_tenant_id=t aad_client_id=c aad_service_connection_id=s", Options{Transport: silent})
		began := time.Now()
		_, err := requestToken(t.Context(), cache)
		if got := time.Since(began); got != time.Second {
			t.Errorf("Token() took %s, want 1s", got)
		}
		if got := requests.Load(); got != 1 {
			t.Errorf("%d requests, want 1", got)
		}
		const want = "workload-identity: no token file specified. Check pod configuration or set TokenFilePath in the options / " +
			"managed-identity: no instance metadata service answers here / azure-pipelines: SYSTEM_ACCESSTOKEN is not set" +
			" / environment: missing environment variable AZURE_TENANT_ID"
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Token() = %v, want %q", err, want)
		}
	})
}

// On Azure a list ends with the managed identity, after one probe.
func TestChainProbesOnce(t *testing.T) {
	entratest.CleanEnv(t)
	synctest.Test(t, func(t *testing.T) {
		probes := 0
		requests := 0
		metadata := &fakeTransport{func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Metadata") == "" {
				probes++
				return respond(http.StatusBadRequest, `{"error":"invalid_request","error_description":"Required metadata header not specified"}`), nil
			}
			requests++
			value := entratest.JWT(map[string]any{"appid": "listed"})
			return respond(http.StatusOK, fmt.Sprintf(`{"access_token":%q,"expires_on":"%d"}`, value, time.Now().Add(4*time.Minute).Unix())), nil
		}}
		cache := cacheOf(t, "host=h user=u aad_auth=managed-identity,azure-cli aad_client_id=listed", Options{Transport: metadata})
		for range 3 {
			if _, err := requestToken(t.Context(), cache); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
		}
		if probes != 1 {
			t.Errorf("%d probes, want 1", probes)
		}
		if requests != 3 {
			t.Errorf("%d requests, want 3", requests)
		}
	})
}

// In a list, a response that is not a metadata service's counts as absence. A refusal
// ends the list.
func TestChainEndsWithARefusal(t *testing.T) {
	rows := []struct {
		name, body string
		status     int
		next       bool // the next mode is tried
	}{
		{"page of a proxy", "<html>a proxy</html>", http.StatusOK, true},
		{"JSON of another service", `["another service"]`, http.StatusOK, true},
		{"refusal", `{"error":"invalid_request","error_description":"Identity not found"}`, http.StatusBadRequest, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			entratest.NoTools(t)
			transport := &fakeTransport{func(*http.Request) (*http.Response, error) { return respond(row.status, row.body), nil }}
			cache := cacheOf(t, "host=h user=u aad_auth=managed-identity,azure-cli aad_client_id=refused", Options{Transport: transport})
			_, err := requestToken(t.Context(), cache)
			if err == nil {
				t.Fatal("Token() = nil, want an error")
			}
			if got := strings.Contains(err.Error(), "AzureCLICredential"); got != row.next {
				t.Errorf("the next mode was tried: %v, want %v: %v", got, row.next, err)
			}
			if row.next {
				return
			}
			var failed *azidentity.AuthenticationFailedError
			if !errors.As(err, &failed) {
				t.Errorf("Token() = %v, want it to lead to azidentity's error", err)
			}
		})
	}
}
