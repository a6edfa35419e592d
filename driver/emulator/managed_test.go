package emulator_test

import (
	"os"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// The endpoints of hosts answer programs on the host only, for the identities that the host
// has. Counts counts the requests for tokens.
func TestHostEndpoints(t *testing.T) {
	az := emulator.Start(t)
	id := az.Add(emulator.Identity{Name: "hosted"})
	const (
		imds         = "http://169.254.169.254/metadata/identity/oauth2/token"
		imdsResource = imds + "?api-version=2018-02-01&resource=" + emulator.Resource
	)
	appService := env(t, az, emulator.AppService, id)
	machineLearning := env(t, az, emulator.MachineLearning, id)
	cloudShell := env(t, az, emulator.CloudShell, emulator.Identity{})
	pipeline := env(t, az, emulator.Pipelines, id)
	metadata := []string{"Metadata", "true"}
	appServiceHeader := []string{"X-IDENTITY-HEADER", appService["IDENTITY_HEADER"]}
	pipelineHeader := []string{"Authorization", "Bearer " + pipeline["SYSTEM_ACCESSTOKEN"]}
	for _, tt := range []struct {
		name, method, url string
		headers           []string
		wantStatus        int
		wantCounted       int64
	}{
		{"metadata service", "GET", imdsResource, metadata, 200, 1},
		{"metadata service, client id", "GET", imdsResource + "&client_id=" + id.ClientID, metadata, 200, 1},
		{"metadata service, unknown client id", "GET", imdsResource + "&client_id=x", metadata, 400, 1},
		{"metadata service, probe", "GET", imds, nil, 400, 0},
		{"App Service", "GET", appService["IDENTITY_ENDPOINT"] + "?resource=r", appServiceHeader, 200, 1},
		{"App Service, unknown object id", "GET", appService["IDENTITY_ENDPOINT"] + "?resource=r&object_id=x", appServiceHeader, 400, 1},
		{"App Service, wrong header", "GET", appService["IDENTITY_ENDPOINT"] + "?resource=r", []string{"X-IDENTITY-HEADER", "x"}, 401, 1},
		{"Machine Learning", "GET", machineLearning["MSI_ENDPOINT"] + "?resource=r&clientid=" + id.ClientID, []string{"Secret", machineLearning["MSI_SECRET"]}, 200, 1},
		{"Machine Learning, no secret", "GET", machineLearning["MSI_ENDPOINT"] + "?resource=r", nil, 401, 1},
		{"Cloud Shell", "POST", cloudShell["MSI_ENDPOINT"] + "?resource=r", metadata, 200, 1},
		{"Cloud Shell, no header", "POST", cloudShell["MSI_ENDPOINT"], nil, 400, 1},
		{"pipeline", "POST", pipeline["SYSTEM_OIDCREQUESTURI"] + "?serviceConnectionId=" + id.ServiceConnectionID, pipelineHeader, 200, 0},
		{"pipeline, unknown connection", "POST", pipeline["SYSTEM_OIDCREQUESTURI"] + "?serviceConnectionId=x", pipelineHeader, 404, 0},
		{"pipeline, no header", "POST", pipeline["SYSTEM_OIDCREQUESTURI"] + "?serviceConnectionId=" + id.ServiceConnectionID, nil, 401, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := az.Counts().Requests
			checkResponse(t, doRequest(t, az, tt.method, tt.url, "", tt.headers...), tt.wantStatus)
			if got := az.Counts().Requests - before; got != tt.wantCounted {
				t.Errorf("counted %d requests, want %d", got, tt.wantCounted)
			}
		})
	}
}

func TestFederatedTokenFile(t *testing.T) {
	az := emulator.Start(t)
	b, err := os.ReadFile(env(t, az, emulator.Kubernetes, az.Identity("app"))["AZURE_FEDERATED_TOKEN_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(b), ".") != 2 {
		t.Errorf("file = %q, want a JWT", b)
	}
}

// The client does not connect to other machines.
func TestClientOfAnotherHost(t *testing.T) {
	az := emulator.Start(t)
	_, err := az.Client().Get("https://example.com")
	if want := "does not serve example.com"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Get() = %v, want %q in it", err, want)
	}
}
