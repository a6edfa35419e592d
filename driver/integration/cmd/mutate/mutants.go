package main

import "slices"

// mutants is the list of guards.
var mutants = slices.Concat(policyMutants, redactionMutants, cacheMutants, renewalMutants, peerMutants, ruleMutants, execMutants, claimMutants)

// policyMutants are about where a token may be sent, and about which one.
var policyMutants = []mutant{
	{"driver/policy.go", `case "", "allow", "prefer", "require":`, `case "never":`, "TestVerifiedTLS"},
	{"driver/policy.go", `err := c.servers.Verify(conn)`, `var err error`, "TestDirectTLSNeedsTheProtocol"},
	{"driver/policy.go", `ok && cfg.SSLNegotiation == "direct"`, `ok && cfg.SSLNegotiation == "never"`, "TestDirectTLSNeedsTheProtocol"},
	{"driver/internal/direct/direct.go", ` || t.ConnectionState().NegotiatedProtocol != Protocol || !Supports`, ` || !Supports`, "TestDirect"},
	{"driver/internal/direct/direct.go", `		s.states[server] = trying
`, ``, "TestOneTries"},
	{"driver/prepare.go", `	config.DialFunc = noticeVanished(config.DialFunc)
`, ``, "TestConnectionsNoticeVanishedServers"},
	{"driver/internal/direct/hello.go", `	if record[0] != handshake {`, `	if false {`, "TestFallback"},
	{"driver/internal/direct/conn.go", `time.AfterFunc(c.timeout, func() { raw.Close() })`, `time.AfterFunc(time.Hour, func() { raw.Close() })`, "TestFallback"},
	{"driver/policy.go", `case "", "allow", "prefer", "require":`, `case "", "allow", "prefer":`, "TestWrongName"},
	{"driver/policy.go", `return cfg.Params["sslmode"] == "verify-ca" &&`, `return false &&`, "TestVerifyCANeedsARoot"},
	{"driver/policy.go", `&& config.TLSConfig.RootCAs == nil`, ``, "TestVerifyCANeedsARoot"},
	{"driver/policy.go", `"verify-ca" && cfg.Insecure == ""`, `"verify-ca"`, "TestVerifyCANeedsARoot"},
	{"driver/policy.go", `h.TLSConfig.InsecureSkipVerify = false`, ``, "TestVerifyCANeedsARoot"},
	{"driver/policy.go", `append([]*pgconn.FallbackConfig{first}, config.Fallbacks...)`, `[]*pgconn.FallbackConfig{first}`, "TestPolicy"},
	{"driver/policy.go", `append([]*pgconn.FallbackConfig{first}, config.Fallbacks...)`, `append([]*pgconn.FallbackConfig{first}[1:], config.Fallbacks...)`, "TestPolicy"},
	{"driver/policy.go", `cloud != "" && p.cloud != "" && cloud != p.cloud`, `cloud == "none"`, "TestPolicy"},
	{"driver/policy.go", `	if p.insecure == "plaintext" {
		return nil
	}
	if network`, `	if true {
		return nil
	}
	if network`, "TestPolicy"},
	{"driver/policy.go", `network == "unix"`, `network == "none"`, "TestPolicy"},
	{"driver/policy.go", `if t == nil {`, `if false {`, "TestPolicy"},
	{"driver/policy.go", `p.insecure == "" && !verifies(t)`, `false`, "TestPolicy"},
	{"driver/policy.go", `return !t.InsecureSkipVerify ||`, `return true ||`, "TestPolicy"},
	{"driver/policy.go", `t.Cloud != "" && cloud != "" && cloud != t.Cloud`, `cloud == "none"`, "TestTokenOfAnotherCloud"},
	{"driver/policy.go", `ok && t.ConnectionState().ServerName != ""`, `ok && false`, "TestUserSuffixIsTheConnectedHosts"},
	{"driver/policy.go", `err := t.Handshake()`, `err := error(nil)`, "TestNoTokenWithoutVerifiedTLS|TestHandshakeComesFirst"},
	{"driver/policy.go", `t.SetDeadline(time.Unix(1, 0))`, `_ = time.Now()`, "TestHangingHandshake"},
	{"driver/policy.go", `return newError(StepTLS, errors.New("the connection is not TLS"), nil)`, `return nil`, "TestPlainConnectionGetsNoPassword"},
	{"driver/policy.go", `if !ok {
			return false
		}`, `if !ok {
			return true
		}`, "TestUsersHook"},
	{"driver/config.go", `if err := c.policy.check(&config.Config); err != nil {`, `if false {
		var err error`, "TestPolicyIsCheckedForEveryConnection"},
	{"driver/hooks.go", `if err := a.c.policy.check(cfg); err != nil {`, `if false {
		var err error`, "TestPolicyIsCheckedLast"},
	{"driver/hooks.go", `err == nil && !wraps(wrapped, conn)`, `false`, "TestUsersHook"},
	{"driver/hooks.go", `if err := a.c.policy.handshake(ctx, conn); err != nil {`, `if false {
		var err error`, "TestPlainConnectionGetsNoPassword|TestHandshakeComesFirst"},
	{"driver/hooks.go", `cfg.Password = "" // the program's: what is sent is the token`, ``, "TestProgramsPasswordIsNotSent"},
	{"driver/hooks.go", `	if f != nil && reflect.ValueOf(f).Pointer() == netHookCode {`, `	if false {`, "TestBeforeConnectAgain"},
	{"driver/hooks.go", `if inside { //`, `if inside && false { //`, "TestBeforeConnectAroundAWrapper"},
	{"driver/connect.go", `		a.stopDial()
`, ``, "TestLateTokenIsAwaitedWithoutASession"},
	{"driver/connect.go", `limit = min(limit, connectTimeout/10)`, ``, "TestLateTokenIsAwaitedWithoutASession"},
	{"driver/connect.go", `a.call != nil && a.call.Overlap()`, `a.call != nil`, "TestCallersWaitWithoutSessions"},
	{"driver/hooks.go", `a.role, err = a.c.authorize(t, a.host, hostNames(cfg))`, `a.role, err = a.c.user.roleFor(t, a.host)`, "TestTokenOfAnotherCloud|TestLaterHosts"},
	{"driver/hooks.go", `	a.original.setIn(cfg)
}`, `	a.original.oauthToken = cfg.OAuthTokenProvider
	a.original.setIn(cfg)
}`, "TestOAuthBearer"},
	{"driver/hooks.go", `return bearerPlaceholder, nil`, `return a.token.Value, nil`, "TestNoConfigHoldsTheToken"},
	{"driver/hooks.go", `		return "", errors.New("the sign-in is over")`, `		return bearerPlaceholder, nil`, "TestOAuthTokenEndsWithTheSignIn"},
	{"driver/prepare.go", `	config.BuildFrontend = requireToken(config.BuildFrontend)
`, ``, "TestEmptyPasswordIsNotSent"},
	{"driver/limit.go", `string(b) == emptyPassword || withoutUser(b)`, `withoutUser(b)`, "TestEmptyPasswordIsNotSent"},
	{"driver/limit.go", `string(b) == emptyPassword || withoutUser(b)`, `string(b) == emptyPassword`, "TestEmptyPasswordIsNotSent"},
	{"driver/limit.go", `const requireAuth = "password,oauth"`, `const requireAuth = "password,oauth,md5"`, "TestRequireAuth|TestHostileServer"},
	{"driver/limit.go", `const requireAuth = "password,oauth"`, `const requireAuth = "password,oauth,scram-sha-256"`, "TestRequireAuth|TestHostileServer"},
	{"driver/limit.go", `const requireAuth = "password,oauth"`, `const requireAuth = "password,oauth,none"`, "TestRequireAuth|TestHostileServer"},
	{"driver/retry.go", `a.restore()`, `a.activeConfig = nil`, "TestOneHostRejectsAnotherAccepts|TestProgramRejectsTheNextHost"},
	{"driver/explain.go", `connect.Config.Password = ""`, ``, "TestRepeatedSecretIsRedacted"},
	{"driver/prepare.go", `if cfg.Host() == "" {`, `if false {`, "TestPolicy"},
	{"driver/prepare.go", `return p.c.policy.check(&config.Config)`, `return nil`, "TestPolicy|TestOpenErrors"},
	{"driver/prepare.go", `return p.c.policy.checkCloud(hostNames(&p.c.config.Config))`, `return nil`, "TestOtherCloudsAreRefusedWhenOpened"},
	{"driver/prepare.go", `if err := cloud.CheckAuthority(p.cfg); err != nil {`, `if false {
			var err error`, "TestOtherCloudsAreRefusedWhenOpened"},
	{"driver/credentials.go", `if err := checkToken(t, hosts); err != nil {`, `if false {
		var err error`, "TestTokenOfAnotherCloud"},
	{"driver/explain.go", `if cloud == "" || x.cloud.Scope`, `if x.cloud.Scope`, "TestServerCannotChooseTheAudience"},
	{"driver/internal/credential/cloud.go", `if ofHost != "" && ofHost != name {`, `if false {`, "TestResolveCloud"},
	{"driver/internal/credential/cloud.go", `ofScope := dsn.CloudOfResource(c.Scope); ofScope`, `ofScope := ""; ofScope`, "TestResolveCloud"},
	{"driver/internal/credential/cloud.go", `if name != "public" {`, `if false {`, "TestResolveCloud"},
	{"driver/internal/credential/cloud.go", `cfg.AuthorityHost != "" || cloud == "" || cloud == c.Name`, `true`, "TestCheckAuthority"},
	{"driver/internal/credential/cloud.go", `cfg.AuthorityHost != "" || cloud == ""`, `cloud == ""`, "TestCheckAuthority"},
	{"driver/internal/credential/cloud.go", `slices.Contains(cfg.Auth, m.Name) && slices.Contains(m.Keys, "aad_authority_host")`, `slices.Contains(cfg.Auth[:1], m.Name) && slices.Contains(m.Keys, "aad_authority_host")`, "TestCheckAuthority"},
	{"driver/internal/token/check.go", `sameHost(name, scope) || dsn.CloudOfResource(name) != ""`, `true || sameHost(name, scope) || dsn.CloudOfResource(name) != ""`, "TestAudience"},
	{"driver/internal/token/check.go", `!strings.HasPrefix(name, "https://") || `, ``, "TestAudience"},
	{"driver/internal/token/check.go", `|| u.Host == ""`, ``, "TestAudienceWithoutAHost"},
	{"driver/internal/token/check.go", `return checkAudience(t.Claims.Audience, scope)`, `return nil`, "TestAudience"},
	{"driver/internal/token/request.go", `if err := t.check(c.scope); err != nil {`, `if false {
		var err error`, "driver: TestLocalChecks"},
	{"driver/internal/token/file.go", `if err := t.check(scope); err != nil {`, `if false {
		var err error`, "TestAudience"},
	{"driver/internal/token/token.go", `t.Cloud = cmp.Or(t.Cloud, dsn.CloudOfResource(audience))`, `t.Cloud = cmp.Or(t.Cloud, dsn.CloudOfResource(audience[:0]))`, "TestCloud"},
}
