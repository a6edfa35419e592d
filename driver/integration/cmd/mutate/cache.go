package main

// cacheMutants are about whose token is presented, and about when one is requested.
var cacheMutants = []mutant{
	{"driver/internal/credential/registry.go", `append(env, c.DSN(), files)`, `append(env, files)`, "TestSharing"},
	{"driver/internal/credential/registry.go", `append(env, c.DSN(), files)`, `append(env[:0], c.DSN(), files)`, "TestSharingFollowsTheEnvironment"},
	{"driver/internal/credential/registry.go", `append(env, c.DSN(), files)`, `append(env, c.String(), files)`, "TestSharing"},
	{"driver/internal/credential/registry.go", `c.Scope = cloud.Scope`, `c.Scope = ""`, "TestSharing"},
	{"driver/internal/credential/registry.go", `c.AuthorityHost = cloud.Authority`, `c.AuthorityHost = ""`, "TestSharing"},
	{"driver/internal/credential/registry.go", `c.DisableInstanceDiscovery = !cloud.InstanceDiscovery`, `c.DisableInstanceDiscovery = true`, "TestSharing"},
	{"driver/internal/credential/registry.go", `		credential: o.Credential,
`, ``, "TestSharingFollowsTheOptions"},
	{"driver/internal/credential/registry.go", `		transport:  o.Transport,
`, ``, "TestSharingFollowsTheOptions"},
	{"driver/internal/credential/registry.go", `		prompt:     o.Prompt,
`, ``, "TestSharingFollowsTheOptions"},
	{"driver/internal/credential/registry.go", `if !key.comparable() {`, `if false {`, "TestSharingFollowsTheOptions"},
	{"driver/internal/credential/registry.go", `"AZURE_", "IDENTITY_"`, `"AZURE_"`, "TestSharingFollowsTheEnvironment"},
	{"driver/internal/credential/registry.go", `cache.Retain()`, ``, "driver: TestCloseEndsTheRequest"},
	{"driver/internal/credential/registry.go", `runtime.AddCleanup(cache, evict, hash)`, `runtime.KeepAlive(cache)`, "TestCachesAreCollected"},
	{"driver/internal/credential/registry.go", `runtime.AddCleanup(cache, evict, hash)`, `runtime.AddCleanup(cache, func(k cacheKey) { evict(k.hash()) }, key)`, "driver: TestPoolsAreCollected"},
	{"driver/internal/credential/registry.go", `ref.fetcher.Value().key == key`, `true`, "TestSharingFollowsTheOptions"},
	{"driver/internal/credential/registry.go", `append(env, c.DSN(), files)`, `append(env, c.DSN())`, "TestSharingFollowsFiles"},
	{"driver/internal/credential/registry.go", `	k.owner = owner
`, ``, "TestSharingByOwner"},
	{"driver/internal/credential/registry.go", `			f.closeIdle = closeIdleConnections
`, `			_ = closeIdleConnections
`, "TestReleaseClosesIdleConnections"},
	{"driver/internal/credential/registry.go", `if o.Transport == nil {`, `if true {`, "TestReleaseLeavesTheProgramsTransport"},
	{"driver/internal/credential/registry.go", `"AZD_", `, ``, "TestSharingFollowsToolVariables"},
	{"driver/internal/credential/digest.go", `		paths = append(paths, cfg.ClientCertificate)
`, ``, "TestSharingFollowsFiles"},
	{"driver/internal/credential/transport.go", `IdleConnTimeout:        time.Second`, `IdleConnTimeout:        time.Minute`, "driver: TestCloseLeavesNothing"},
	{"driver/internal/credential/constructors.go", `return !slices.ContainsFunc(cfg.Auth, func(m dsn.Mode) bool { return constructors[m].person })`, `return true`, "TestWhoIsAskedEarly"},
	{"driver/driver.go", `	d.keptCaches().keep(dsn, c)
`, ``, "TestOpenFinishesTheRefresh"},
	{"driver/driver.go", `old.maskedDSN == c.maskedDSN`, `true`, "TestOpenDoesNotMixRoles"},
	{"driver/driver.go", `old.cache == cache && `, ``, "TestOpenSeesTheEnvironment|TestOpenFinishesTheRefresh"},
	{"driver/driver.go", `left > 0`, `false`, "TestOpenLetsGo"},
	{"driver/internal/credential/managed.go", `	if err != nil || c.accepts(at) {
		return at, err
	}
	if`, `	if true {
		return at, err
	}
	if`, "TestManagedIdentitiesShareNoToken"},
	{"driver/internal/credential/managed.go", `		if err != nil || c.accepts(at) {
			return`, `		if true {
			return`, "TestTokenOfAnotherIdentity"},
	{"driver/internal/credential/managed.go", `strings.EqualFold(got, c.want)`, `strings.Compare(got, c.want) == 0`, "TestManagedIdentitiesShareNoToken"},
	{"driver/internal/credential/managed.go", `o.Claims = notBefore(time.Now())`, `_ = notBefore(time.Now())`, "TestManagedIdentitiesShareNoToken"},
	{"driver/internal/credential/presence.go", `p.try(probe, probeTimeout)`, `p.try(probe, time.Minute)`, "TestChainWithoutMetadataService"},
	{"driver/internal/credential/presence.go", `p.try(req, responseTimeout)`, `p.try(req, time.Minute)`, "TestNextAfterAnotherServer"},
	{"driver/internal/credential/presence.go", `policy.RetryOptions{MaxRetries: -1}`, `policy.RetryOptions{}`, "TestNextAfterAnotherServer"},
	{"driver/internal/credential/presence.go", `p.found.Store(true)`, ``, "TestChainProbesOnce"},
	{"driver/internal/credential/presence.go", `resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone || resp.StatusCode >= 500`, `false && resp.StatusCode == http.StatusOK`, "TestRefusalEndsAList"},
	{"driver/internal/credential/presence.go", `if absence != "" {`, `if false {`, "TestNextAfterAnotherServer"},
	{"driver/internal/credential/endpoint.go", `return ok || resp.StatusCode/100 != 2`, `return true || ok`, "TestIsOfMetadataService"},
	{"driver/internal/credential/default.go", `return selection != m.group && !strings.EqualFold(selection, m.name)`, `return selection != m.name`, "TestDefaultIsAzidentitys"},
	{"driver/internal/credential/default.go", `err = azidentity.NewCredentialUnavailableError(err.Error())`, ``, "TestToolsInDefault"},
	{"driver/internal/credential/credential.go", `if err != nil && !c.ambient {`, `if false {`, "TestConstructorErrors"},
	{"driver/internal/credential/credential.go", `if err != nil && !c.ambient {`, `if err != nil {`, "TestChainWithoutMetadataService"},
	{"driver/internal/credential/fetcher.go", `case <-ctx.Done():`, `case <-make(chan bool):`, "TestFetchEndsWithItsContext"},
	{"driver/internal/credential/fetcher.go", `policy.RetryOptions{MaxRetries: -1}`, `policy.RetryOptions{}`, "TestOneTryAfterAFailure"},
	{"driver/internal/credential/fetcher.go", `options.Claims = notBefore(r.IssuedAfter)`, ``, "TestFetchAsksForAYoungerToken"},
	{"driver/internal/credential/exchange.go", `min(wait, maxWait)`, `wait`, "TestRetryAfterOfAnError"},
	{"driver/internal/credential/exchange.go", `min(retryAfter(failed.RawResponse), maxWait)`, `retryAfter(failed.RawResponse)`, "TestRetryAfterOfAnError"},
	{"driver/internal/credential/exchange.go", `min(retryAfter(response.RawResponse), maxWait)`, `retryAfter(response.RawResponse)`, "TestRetryAfterOfAnError"},
	{"driver/internal/credential/exchange.go", `resp == nil || resp.StatusCode < 400`, `resp == nil`, "TestRetryAfterForms"},
	{"driver/internal/credential/capture.go", `x.update(func() { x.wait = wait })`, ``, "TestThrottledAuthority"},
	{"driver/internal/credential/capture.go", `resp.Header.Set("Retry-After-Ms", beyondMaxRetryDelay)`, ``, "TestThrottledAuthority"},

	{"driver/internal/token/cache.go", `if t != rejected && t.Valid(now) {`, `if t.Valid(now) {`, "TestRefresh"},
	{"driver/internal/token/cache.go", `current != t && current.Valid(now)`, `false`, "TestLateCaller"},
	{"driver/internal/token/cache.go", `rejected && since >= 0`, `false && since >= 0`, "TestRefresh"},
	{"driver/internal/token/cache.go", `		c.refreshedAt = began
`, ``, "TestRefresh"},
	{"driver/internal/token/cache.go", `	if c.call != nil {
		if !t.Valid`, `	if false {
		if !t.Valid`, "TestSingleRequestForManyCallers"},
	{"driver/internal/token/cache.go", `c.failed != nil && now.Before(c.retryAt)`, `false && now.Before(c.retryAt)`, "TestBackoff"},
	{"driver/internal/token/cache.go", `c.retryAt.Sub(now) <= c.retryIn`, `true`, "TestClockJumps"},
	{"driver/internal/token/cache.go", `context.WithTimeout(context.Background(), c.timeout)`, `context.WithCancel(context.Background())`, "TestRequestTimeout"},
	{"driver/internal/token/cache.go", `noRetry: c.backoff > 0}`, `noRetry: false}`, "TestNoRetryDuringBackoff"},
	{"driver/internal/token/cache.go", `min(max(2*c.backoff, minBackoff), maxBackoff)`, `minBackoff`, "TestBackoff"},
	{"driver/internal/token/cache.go", `min(max(2*c.backoff, minBackoff), maxBackoff)`, `max(2*c.backoff, minBackoff)`, "TestBackoffIsBounded"},
	{"driver/internal/token/cache.go", `c.retryIn = max(jittered, retryAfter)`, `c.retryIn = jittered`, "TestRetryAfter"},
	{"driver/internal/token/cache.go", `c.retryIn = max(jittered, retryAfter)`, `c.retryIn = max(c.backoff, retryAfter)
	_ = jittered`, "TestBackoffIsJittered"},
	{"driver/internal/token/cache.go", `	case !canceled:
		wait =`, `	default:
		wait =`, "TestRelease"},
	{"driver/internal/token/cache.go", `c.call = nil // nobody may join it any more`, ``, "TestRelease"},
	{"driver/internal/token/cache.go", `c.users > 0 || c.call.waiters > 0`, `c.call.waiters > 0`, "TestRelease"},
	{"driver/internal/token/cache.go", `c.users > 0 || c.call.waiters > 0`, `c.users > 0`, "TestReleaseKeepsWhatSomebodyWaitsFor"},
	{"driver/internal/token/cache.go", `	c.call.cancel()
`, ``, "TestRelease"},
	{"driver/internal/token/cache.go", `		c.fetcher.CloseIdle()
`, ``, "TestReleaseClosesIdleConnections"},
	{"driver/internal/token/call.go", `		c.cache.cancelUnwanted()
`, ``, "TestReleaseKeepsWhatSomebodyWaitsFor"},
	{"driver/internal/token/call.go", `c.err != nil && !c.abandoned`, `c.err != nil`, "TestAbandonedCall"},
	{"driver/internal/token/call.go", `if !c.Abandoned() || ctx.Err() != nil {`, `if true {`, "TestAbandonedCall"},
	{"driver/internal/token/call.go", `	case <-c.done: // first: a caller whose time is up still gets what is there
		return c.token, c.err
`, ``, "TestCallThatHasEnded"},
	{"driver/internal/token/call.go", `			if c.err != nil && !c.abandoned {
				cancel()
			}`, ``, "TestWithCancelOnFailure"},
	{"driver/internal/token/call.go", `!c.slow && `, ``, "TestOverlap"},
	{"driver/internal/token/call.go", `!c.claimed.Swap(true)`, `!c.claimed.Load()`, "TestOverlap"},
	{"driver/internal/token/call.go", `c.unfinished(ctx.Err())`, `c.unfinished(context.Cause(ctx))`, "TestCallThatHasEnded"},
	{"driver/internal/token/request.go", `if r.rejected && r.returned(t) {`, `if false {`, "TestRefresh"},
	{"driver/internal/token/request.go", `unusable != nil && t.Value == unusable.Value`, `false && unusable != nil`, "TestUnusableTokenIsNotKept"},
	{"driver/internal/token/request.go", `c.unusable.Store(t) // the`, `// the`, "TestUnusableTokenIsNotKept"},
	{"driver/internal/token/request.go", `c.unusable.Store(r.old) // a`, `// a`, "TestRejectedTokenDoesNotComeBack"},
	{"driver/internal/token/request.go", `errYounger == nil && checkFormat("", younger.Value) == nil`, `errYounger == nil`, "TestUnusableReplacement"},
	{"driver/internal/token/request.go", `return c.maxAge > 0 && (r.returned(t)`, `return false && (r.returned(t)`, "TestMaxAge"},
	{"driver/internal/token/request.go", `if errYounger != nil && r.rejected && r.returned(t) {`, `if false {`, "TestFailedReplacement"},
	{"driver/internal/token/request.go", `	if t.tooOld(response, now) {
		return fmt`, `	if false {
		return fmt`, "TestMaxAge"},
	{"driver/internal/token/request.go", `if !t.Valid(now) {`, `if false {`, "TestExpiredToken"},
	{"driver/internal/token/cache.go", `if exchange.Skew != 0 {`, `if true {`, "TestSkew"},
	{"driver/internal/token/token.go", `maxAge > 0 && tooOld.Before(t.ExpiresOn)`, `false && tooOld.Before(t.ExpiresOn)`, "TestMaxAge"},
	{"driver/internal/token/token.go", ` || !now.After(t.notBefore)`, ``, "TestClockJumps"},
	{"driver/internal/token/token.go", `t == nil || !now.Before(t.refreshOn)`, `t == nil || !now.Before(t.ExpiresOn)`, "TestRefreshAhead"},
	{"driver/internal/token/token.go", `at := earlier(now.Add(maxBackoff), expiresOn)`, `at := refreshOn`, "TestNew"},
	{"driver/internal/token/token.go", `from.Add(jitter(by.Sub(from)))`, `from.Add(by.Sub(from))`, "TestNew"},
	{"driver/internal/token/token.go", `by = earlier(by, refreshOn.Add(spread))`, `by = earlier(by, refreshOn)`, "TestNew"},
	{"driver/internal/token/request.go", `c.pastCache && r.tooEarly(t, now)`, `false`, "TestEarlyRefresh|TestFleet"},
	{"driver/internal/token/request.go", `c.pastCache && r.tooEarly(t, now)`, `r.tooEarly(t, now)`, "TestEarlyRefresh"},
	{"driver/internal/token/request.go", `younger.check(c.scope) != nil || `, ``, "TestEarlyRefreshKeepsTheBetterToken"},
	{"driver/internal/token/request.go", ` || younger.ExpiresOn.Before(t.ExpiresOn)`, ``, "TestEarlyRefreshKeepsTheBetterToken"},
	{"driver/internal/token/request.go", `	if r.tooEarly(t, now) {
		t.refreshOn`, `	if false {
		t.refreshOn`, "TestEarlyRefresh"},
	{"driver/internal/token/request.go", `max(maxBackoff, exchange.RetryAfter)`, `maxBackoff`, "TestEarlyRefreshObeysRetryAfter"},
	{"driver/internal/token/token.go", `if left < shortLife {`, `if false {`, "TestNew|TestRefreshAhead"},
	{"driver/internal/token/token.go", `return t != nil && now.Before(t.ExpiresOn)`, `return t != nil`, "TestValid"},
	{"driver/internal/token/token.go", `now.Sub(t.IssuedAt).Abs() < recent`, `now.Sub(t.IssuedAt) < recent`, "TestRecentlyIssued"},
	{"driver/internal/token/token.go", `iat.Add(backdated).Before(now)`, `false`, "TestNew"},
	{"driver/internal/token/claims.go", `if len(parts) != 3 {`, `if len(parts) < 2 {`, "TestParseClaims"},
	{"driver/internal/token/claims.go", `len(parts) > 3 && !slices`, `false && !slices`, "TestManagedIdentityName"},
	{"driver/internal/token/claims.go", `strings.Join(parts[2:], "/")`, `parts[len(parts)-1]`, "TestManagedIdentityName"},
	{"driver/internal/token/claims.go", `seconds <= 0 || seconds > 1<<40`, `seconds <= 0`, "TestClaimedTimes"},
	{"driver/internal/token/file.go", `if value == "" {`, `if false {`, "TestNoTokenIsGiven"},
	{"driver/internal/token/file.go", `strings.ContainsAny(value, " \t\r\n\"'{}")`, `strings.Contains(value, "\x00")`, "TestStatic"},
	{"driver/internal/token/file.go", `if !now.Before(expiresOn) {`, `if false {`, "TestStatic"},
	{"driver/internal/token/file.go", `if !t.Valid(now) {`, `if false {`, "TestStatic"},
	{"driver/user.go", `	if c.Guest() {
		return ""`, `	if false {
		return ""`, "TestUserName"},
}
