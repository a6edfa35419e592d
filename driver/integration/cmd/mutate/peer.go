package main

// peerMutants are about what a hostile authority, server, file or name can do.
var peerMutants = []mutant{
	{"driver/internal/credential/transport.go", `			return false
		}
	}
	return true`, `			return false
		}
	}
	return false`, "TestOnServiceFabric"},
	{"driver/internal/credential/managed.go", `options.Transport = o.plainTransport`, `_ = o.plainTransport`, "driver: TestServiceFabric"},
	{"driver/internal/credential/default.go", `	o.chained = o.chained || len(selected) > 1`, `	if onServiceFabric() {
		o.Transport = o.plainTransport
	}
	o.chained = o.chained || len(selected) > 1`, "TestApplicationOnServiceFabric"},
	{"driver/internal/credential/transport.go", `MaxResponseHeaderBytes: 64 << 10,`, ``, "driver: TestHeadersWithDefaultTransport"},
	{"driver/internal/credential/transport.go", `return nil, nonRetriable{err}`, `return nil, err`, "TestResponseThatBreaksOff"},
	{"driver/internal/credential/transport.go", `c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }`, ``, "TestNonRetriable"},
	{"driver/internal/credential/transport.go", `if resp.StatusCode/100 == 3 {`, `if false {`, "TestNonRetriable"},
	{"driver/internal/credential/transport.go", `if !isSecure(r) {`, `if false {`, "TestSecretsNeedTLS"},
	{"driver/internal/credential/transport.go", `return isIdentityEndpoint(r.URL)`, `return true`, "TestSecretsNeedTLS"},
	{"driver/internal/credential/transport.go", `return isLocal(r.URL) && isNamedBy`, `return isLocal(r.URL) || isNamedBy`, "TestSecretsNeedTLS"},
	{"driver/internal/credential/endpoint.go", `named.Host != "" && origin(named) == origin(u)`, `named.Host != "" && named.Hostname() == u.Hostname()`, "TestSecretsNeedTLS"},
	{"driver/internal/credential/endpoint.go", `if isLocal(r.URL) || isIdentityEndpoint(r.URL) {`, `if isLocal(r.URL) {`, "TestProxyFor"},
	{"driver/internal/credential/endpoint.go", `if isLocal(r.URL) || isIdentityEndpoint(r.URL) {`, `if isIdentityEndpoint(r.URL) {`, "TestProxyFor"},
	{"driver/internal/credential/endpoint.go", `ip.IsLoopback() || ip.IsLinkLocalUnicast()`, `ip.IsLoopback()`, "TestProxyFor"},
	{"driver/internal/credential/endpoint.go", `return nil, nonRetriable{errors.New("the proxy in HTTPS_PROXY or HTTP_PROXY is not a URL")}`, `_ = errors.New
		return nil, err`, "TestInvalidProxy"},
	{"driver/internal/credential/transport.go", `left:       maxResponseBytes,`, `left:       64 * maxResponseBytes,`, "TestEndlessResponse"},
	{"driver/internal/credential/transport.go", `left:       maxResponseBytes,`, `left:       maxResponseBytes - 1,`, "TestLongestResponse"},
	{"driver/internal/credential/transport.go", `truncate:   resp.StatusCode >= 400,`, ``, "TestEndlessResponse"},
	{"driver/internal/credential/transport.go", `truncate:   resp.StatusCode >= 400,`, `truncate: true,`, "TestEndlessResponse"},
	{"driver/internal/credential/transport.go", `func (nonRetriable) NonRetriable() {}`, ``, "TestNonRetriable"},
	{"driver/internal/credential/transport.go", `	if t == nil {
		client = defaultClient()`, `	if t == nil {
		return nil`, "driver: TestRedirectsWithDefaultTransport"},
	{"driver/internal/credential/credential.go", `Transport:        safeTransport{plain},`, `Transport:        plain,`, "TestNonRetriable"},
	{"driver/internal/credential/credential.go", `PerRetryPolicies: []policy.Policy{capturePolicy{}},`, ``, "TestNonRetriable"},
	{"driver/internal/credential/credential.go", `if err := checkFiles(cfg); err != nil {`, `if false {
		var err error`, "TestHugeFederatedTokenFile"},
	{"driver/internal/credential/credential.go", `		{"aad_federated_token_file", cfg.FederatedTokenFile},
`, ``, "TestHugeFederatedTokenFile"},
	{"driver/internal/credential/credential.go", `		{"AZURE_FEDERATED_TOKEN_FILE", os.Getenv("AZURE_FEDERATED_TOKEN_FILE")},
`, ``, "TestHugeFilesOfTheEnvironment"},
	{"driver/internal/credential/credential.go", `		{"AZURE_CLIENT_CERTIFICATE_PATH", os.Getenv("AZURE_CLIENT_CERTIFICATE_PATH")},
`, ``, "TestHugeFilesOfTheEnvironment"},
	{"driver/internal/credential/credential.go", `m == dsn.Environment || `, ``, "TestHugeFilesOfTheEnvironment"},
	{"driver/internal/credential/credential.go", ` || m == dsn.WorkloadIdentity`, ``, "TestHugeFederatedTokenFile"},
	{"driver/internal/credential/constructors.go", `data, err := token.ReadFile(cfg.ClientCertificate)`, `_ = token.ReadFile
		data, err := os.ReadFile(cfg.ClientCertificate)`, "TestConstructorErrors"},

	{"driver/limit.go", `if bodyLen > f.bytesLeft-headerBytes {`, `if false {`, "TestHostileServer"},
	{"driver/limit.go", `if f.writesLeft <= 0 {`, `if false {`, "TestHostileServer"},
	{"driver/limit.go", `	f.writesLeft--
`, ``, "TestHostileServer"},
	{"driver/limit.go", `	f.bytesLeft -= headerBytes + bodyLen
`, ``, "TestHostileServer"},
	{"driver/limit.go", `if !optionsFit(body) {`, `if false {`, "TestOptionsFit"},
	{"driver/limit.go", `f.ready = true //`, `//`, "TestLimitEndsWithTheSignIn"},
	{"driver/hooks.go", `a.filter.finish()`, ``, "TestLimitEndsWithTheSignIn"},
	{"driver/conntrace.go", `config.ConnectTimeout = cmp.Or(config.ConnectTimeout, stepTimeout)`, ``, "TestDiagnoseIsBounded"},
	{"driver/hooks.go", `buildFrontend:   a.buildFrontend,`, `buildFrontend:   a.original.buildFrontend,`, "TestHostileServer"},

	{"driver/internal/token/check.go", `if err := checkFormat("the response's token", t.Value); err != nil {`, `if false {
		var err error`, "TestFormat"},
	{"driver/internal/token/check.go", `if len(value) > maxTokenBytes {`, `if false {`, "TestFormat"},
	{"driver/internal/token/check.go", `r <= ' ' || r > '~'`, `r > '~'`, "TestFormat"},
	{"driver/internal/token/check.go", `r <= ' ' || r > '~'`, `r <= ' '`, "TestFormat"},
	{"driver/internal/token/check.go", `if value == "" {`, `if false {`, "TestFormat"},
	{"driver/internal/token/file.go", `!info.Mode().IsRegular() || info.Size() > maxFileBytes`, `info.Size() > maxFileBytes`, "TestFilesThatDoNotEnd"},
	{"driver/internal/token/file.go", `!info.Mode().IsRegular() || info.Size() > maxFileBytes`, `!info.Mode().IsRegular()`, "TestReadFile"},
	{"driver/internal/token/file.go", `info.Mode()&0o027 == 0`, `info.Mode()&0o007 == 0`, "TestExposedFile"},
	{"driver/internal/token/file.go", `info.Mode()&0o027 == 0`, `info.Mode()&0o020 == 0`, "TestExposedFile"},
	{"driver/internal/token/file.go", `!f.warned.Swap(true)`, `true`, "TestExposedFile"},

	{"driver/role.go", `r.ObjectID != "" && !guid.MatchString(r.ObjectID)`, `false`, "TestRoleSQLErrors"},
	{"driver/role.go", `if len(r.Name) > maxNameBytes {`, `if false {`, "TestRoleSQLErrors"},
	{"driver/role.go", `if strings.ContainsRune(r.Name, 0) || !utf8.ValidString(r.Name) {`, `if strings.Contains(r.Name, "\x00\x00") || !utf8.ValidString(r.Name) {`, "TestRoleSQLErrors"},
	{"driver/quote.go", "strings.ReplaceAll(s, `\"`, `\"\"`)", "s", "TestRoleSQL"},
	{"driver/quote.go", "strings.ReplaceAll(s, \"'\", \"''\")", "s", "TestRoleSQL"},
	{"driver/quote.go", "printable(s) && !strings.Contains(s, `\\`)", "printable(s)", "TestRoleSQL"},
}
