package driver

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// roundTrip is a policy.Transporter of one function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f *roundTrip) Do(r *http.Request) (*http.Response, error) { return (*f)(r) }

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
}

// The library below keeps one cache of managed identity tokens for the process,
// and its key is the id without its kind. No identity gets another's token from it.
func TestManagedIdentitiesShareNoToken(t *testing.T) {
	clean(t)
	asked := map[string]int{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims := map[string]any{"oid": "system", "appid": "system"}
		for _, kind := range []string{"client_id", "object_id", "mi_res_id"} {
			if id := r.URL.Query().Get(kind); id != "" {
				asked[kind]++
				claims = map[string]any{"uti": kind, map[string]string{"client_id": "appid", "object_id": "oid", "mi_res_id": "xms_mirid"}[kind]: strings.ToUpper(id)}
				for _, other := range []string{"appid", "oid", "xms_mirid"} {
					if claims[other] == nil {
						claims[other] = "another"
					}
				}
			}
		}
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_on":"%d"}`, jwt(claims), time.Now().Add(time.Hour).Unix())
	}))
	defer web.Close()
	t.Setenv("IDENTITY_ENDPOINT", web.URL)
	t.Setenv("IDENTITY_HEADER", "h")
	id := t.Name() + web.URL // the cache outlives the test
	for range 2 {
		for _, tt := range []struct{ key, kind string }{{"aad_client_id", "client_id"}, {"aad_object_id", "object_id"}, {"aad_resource_id", "mi_res_id"}} {
			c, err := NewConnector("host=h user=u aad_auth=managed-identity " + tt.key + "='" + id + "'")
			if err != nil {
				t.Fatal(err)
			}
			token, err := ask(c.tokens, t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(fmt.Sprint(decode(token.value)), strings.ToUpper(id)) {
				t.Errorf("%s: got the token of %+v", tt.key, token.claims)
			}
		}
	}
	if asked["object_id"] == 0 || asked["mi_res_id"] == 0 {
		t.Errorf("asked %v: the cache's answer was taken", asked)
	}
}

// An endpoint that knows one identity only does not sign anybody else in.
func TestAnotherIdentitysToken(t *testing.T) {
	clean(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"access_token":%q,"expires_on":"%d"}`, jwt(map[string]any{"appid": "system"}), time.Now().Add(time.Hour).Unix())
	}))
	defer web.Close()
	t.Setenv("IDENTITY_ENDPOINT", web.URL)
	t.Setenv("IDENTITY_HEADER", "h")
	c, err := NewConnector("host=h user=u aad_auth=managed-identity aad_client_id='mine " + web.URL + "'")
	if err != nil {
		t.Fatal(err)
	}
	_, err = ask(c.tokens, t.Context())
	if err == nil || !strings.Contains(err.Error(), `answered with a token of "system"; assign the identity`) || strings.Contains(err.Error(), marker) {
		t.Errorf("got %v", err)
	}
}

// On a laptop a list goes past the managed identity within a second; on Azure the
// list ends there, after one probe.
func TestListProbesForTheMetadataService(t *testing.T) {
	clean(t)
	t.Setenv("PATH", t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		var imds atomic.Int64
		silent := roundTrip(func(r *http.Request) (*http.Response, error) {
			imds.Add(1)
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		c, err := NewConnector("host=h user=u aad_auth=workload-identity,managed-identity,azure-pipelines,environment aad_tenant_id=t aad_client_id=c aad_service_connection_id=s", WithTransport(&silent))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = ask(c.tokens, t.Context())
		if d := time.Since(began); d != time.Second || imds.Load() != 1 {
			t.Errorf("it took %s and %d requests", d, imds.Load())
		}
		const want = "workload-identity: no token file specified. Check pod configuration or set TokenFilePath in the options / " +
			"managed-identity: no instance metadata service answers here / azure-pipelines: aadpostgres: credential: SYSTEM_ACCESSTOKEN is not set"
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "/ environment: missing environment variable AZURE_TENANT_ID") {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var probes, requests int
		there := roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Metadata") == "" {
				probes++
				return answer(400, `{"error":"invalid_request","error_description":"Required metadata header not specified"}`), nil
			}
			requests++
			return answer(200, fmt.Sprintf(`{"access_token":%q,"expires_on":"%d"}`, jwt(map[string]any{"appid": "listed"}), time.Now().Add(4*time.Minute).Unix())), nil
		})
		c, err := NewConnector("host=h user=u aad_auth=managed-identity,azure-cli aad_client_id=listed", WithTransport(&there))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := ask(c.tokens, t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
		}
		if probes != 1 || requests != 3 {
			t.Errorf("%d probes, %d requests", probes, requests)
		}
	})
}

// What answers in the metadata service's place counts as absent in a list, but a
// refusal ends it.
func TestListEndsWithARefusal(t *testing.T) {
	clean(t)
	t.Setenv("PATH", t.TempDir())
	for body, next := range map[string]bool{"<html>a proxy</html>": true, `{"error":"invalid_request","error_description":"Identity not found"}`: false} {
		status := 200
		if !next {
			status = 400
		}
		proxy := roundTrip(func(*http.Request) (*http.Response, error) { return answer(status, body), nil })
		c, err := NewConnector("host=h user=u aad_auth=managed-identity,azure-cli aad_client_id=refused", WithTransport(&proxy))
		if err != nil {
			t.Fatal(err)
		}
		_, err = ask(c.tokens, t.Context())
		if err == nil || strings.Contains(err.Error(), "AzureCLICredential") != next {
			t.Errorf("%s: %v", body, err)
		}
		var failed *azidentity.AuthenticationFailedError
		if !next && !errors.As(err, &failed) {
			t.Errorf("azidentity's error cannot be reached: %v", err)
		}
	}
}

// absentService is a network on which nothing answers.
func absentService(*http.Request) (*http.Response, error) { return nil, errors.New("no route to host") }
