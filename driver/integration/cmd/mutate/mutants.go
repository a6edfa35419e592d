package main

// mutants are the guards, each taken away in turn.
var mutants = slicesOf(tlsMutants, secretMutants, sourceMutants, hostileMutants)

func slicesOf(lists ...[]mutant) (all []mutant) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// Where a token may go.
var tlsMutants = []mutant{
	{"driver/tls.go", `case "", "allow", "prefer", "require":`, `case "never":`, "TestVerifiedTLS"},
	{"driver/tls.go", `case "", "allow", "prefer", "require":`, `case "", "allow", "prefer":`, "TestWrongName"},
	{"driver/tls.go", `cfg.Params["sslmode"] != "verify-ca" ||`, `true ||`, "TestVerifyCANeedsARoot"},
	{"driver/tls.go", `TLSConfig: config.TLSConfig}}, config.Fallbacks...)`, `TLSConfig: config.TLSConfig}})`, "TestPolicy"},
	{"driver/tls.go", `append([]*pgconn.FallbackConfig{{Host: config.Host, TLSConfig: config.TLSConfig}}, config.Fallbacks...)`, `config.Fallbacks`, "TestPolicy"},
	{"driver/tls.go", `of != "" && g.cloud != "" && of != g.cloud`, `false`, "TestPolicy"},
	{"driver/tls.go", `case g.insecure == "plaintext":`, `case true:`, "TestPolicy"},
	{"driver/tls.go", `case network == "unix":`, `case network == "none":`, "TestPolicy"},
	{"driver/tls.go", `case t == nil:`, `case false:`, "TestPolicy"},
	{"driver/tls.go", `case g.insecure == "" && t.InsecureSkipVerify`, `case false && t.InsecureSkipVerify`, "TestPolicy"},
	{"driver/tls.go", `t.cloud != "" && of != "" && of != t.cloud`, `false && of != ""`, "TestTokenOfAnotherCloud"},
	{"driver/tls.go", `t.ConnectionState().ServerName != ""`, `false`, "TestLaterHosts"},
	{"driver/tls.go", `err := t.Handshake()`, `err := error(nil)`, "TestNoTokenWithoutVerifiedTLS|TestHandshakeComesFirst"},
	{"driver/tls.go", `t.SetDeadline(time.Unix(1, 0))`, `_ = time.Now()`, "TestHangingHandshake"},
	{"driver/tls.go", `return &Error{Step: StepTLS, Err: errors.New("the connection is not TLS")`, `if false {
		return nil
	}
	return nil
	return &Error{Step: StepTLS, Err: errors.New("the connection is not TLS")`, "TestPlainConnectionGetsNoPassword"},
	{"driver/tls.go", `if !ok {
			return false
		}`, `if !ok {
			return true
		}`, "TestUsersHook"},
	{"driver/attempt.go", `if err := c.guard.check(&config.Config); err != nil {`, `if false {
		var err error`, "TestPolicyIsCheckedForEveryConnection"},
	{"driver/gate.go", `if err := a.c.guard.check(cfg); err != nil {`, `if false {
		var err error`, "TestPolicyIsCheckedLast"},
	{"driver/gate.go", `!over(wrapped, conn) &&`, `false &&`, "TestUsersHook"},
	{"driver/gate.go", `if err := a.c.guard.shake(ctx, conn); err != nil {`, `if false {
		var err error`, "TestPlainConnectionGetsNoPassword|TestHandshakeComesFirst"},
	{"driver/gate.go", `a.leave() // the host before`, ``, "TestHandshakeComesFirst"},
	{"driver/gate.go", `if a.user, err = a.c.present(t, a.host, hosts(cfg)); err != nil {`, `if a.user, err = a.c.user.of(t, a.host); err != nil {`, "TestTokenOfAnotherCloud|TestLaterHosts"},
	{"driver/gate.go", `a.hooks.refused, a.hooks.notice, a.hooks.bearer
`, `a.hooks.refused, a.hooks.notice, a.bearer
`, "TestOAuthBearer"},
	{"driver/gate.go", `a.live, cfg.Password = nil, ""`, `a.live = nil`, "TestTokenIsTakenOutOfConnections"},
	{"driver/refusal.go", `a.leave()`, `a.live = nil`, "TestRejectedThroughBeforeConnect|TestRejected"},
	{"driver/explain.go", `connect.Config.Password = ""`, ``, "TestTokenIsTakenOutWhenTheNetworkFails"},
	{"driver/connector.go", `const requireAuth = "password,oauth"`, `const requireAuth = "password,oauth,md5"`, "TestRequireAuth|TestHostileServer"},
	{"driver/connector.go", `const requireAuth = "password,oauth"`, `const requireAuth = "password,oauth,scram-sha-256"`, "TestRequireAuth|TestHostileServer"},
	{"driver/connector.go", `const requireAuth = "password,oauth"`, `const requireAuth = "password,oauth,none"`, "TestRequireAuth|TestHostileServer"},
	{"driver/connector.go", `if cfg.Host() == "" {`, `if false {`, "TestPolicy"},
	{"driver/connector.go", `return c, c.guard.check(&c.config.Config)`, `return c, nil`, "TestPolicy|TestOpenErrors"},
	{"driver/login.go", `if err := c.guard.meant(t, hosts); err != nil {`, `if false {
		var err error`, "TestTokenOfAnotherCloud"},
	{"driver/cloud.go", `} else if of != "" && of != name {`, `} else if false {`, "TestOpenErrors"},
	{"driver/cloud.go", `of := resourceCloud(t.scope); of != "" && of != name`, `of := ""; of != ""`, "TestOpenErrors"},
	{"driver/cloud.go", `cfg.AuthorityHost != "" || of == "" || of == t.cloud`, `true`, "TestForeignAuthority"},
	{"driver/identity.go", `if err := t.foreign(cfg); err != nil {`, `if false {
			var err error`, "TestForeignAuthority"},
}

// What may be shown of a secret.
var secretMutants = []mutant{
	{"dsn/format.go", `func (c Config) String() string { return c.write(true) }`, `func (c Config) String() string { return c.write(false) }`, "TestSecretsAreMasked"},
	{"dsn/format.go", `func (c Config) Format(`, `func (c Config) Printed(`, "TestSecretsAreMasked"},
	{"dsn/format.go", `slog.StringValue(c.String())`, `slog.StringValue(c.DSN())`, "TestSecretsAreMasked"},
	{"dsn/format.go", `return []byte(c.String()), nil`, `return []byte(c.DSN()), nil`, "TestSecretsAreMasked"},
	{"dsn/format.go", `name == "password" || name == "sslpassword"`, `name == "password"`, "TestSecretsAreMasked"},
	{"dsn/format.go", `name == "password" || name == "sslpassword"`, `name == "sslpassword"`, "TestSecretsAreMasked"},
	{"dsn/format.go", `if !secretParam(name) {`, `if true {`, "TestSecretsAreMasked"},
	{"dsn/format.go", `return nil, errors.New("dsn: a Config`, `return []byte(c.DSN()), errors.New("dsn: a Config`, "TestSecretsAreMasked"},
	{"dsn/format.go", `add(k.Name, v, k.Secret)`, `add(k.Name, v, false)`, "TestSecretsAreMasked"},
	{"driver/login.go", `fmt.Sprintf("%q, password xxxxx", l.User)`, `fmt.Sprintf("%q, password %s", l.User, l.Password)`, "TestNothingExportedPrintsASecret"},
	{"driver/login.go", `func (l Credentials) Format(`, `func (l Credentials) Printed(`, "TestNothingExportedPrintsASecret"},
	{"driver/login.go", `return []byte(l.String()), nil`, `return []byte(l.Password), nil`, "TestNothingExportedPrintsASecret"},
	{"driver/login.go", `return nil, errors.New("driver: a Credentials holds a token and is not written")`, `return []byte(l.Password), errors.ErrUnsupported`, "TestNothingExportedPrintsASecret"},
	{"driver/error.go", `func (e Error) GoString() string { return e.Error() }`, `func (e Error) GoString() string { return fmt.Sprintf("%#v", e.Err) }`, "TestErrorPrintsAsOneLine"},
	{"driver/error.go", `return []byte(e.Error()), nil`, `return []byte(e.Err.Error()), nil`, "TestErrorPrintsAsOneLine"},
	{"driver/error.go", `said = semicolons.Replace(said)`, ``, "TestHostileText"},
	{"driver/error.go", `if !unicode.IsPrint(r) {`, `if r == unicode.MaxRune {`, "TestHostileText"},
	{"driver/error.go", `s = jot.ReplaceAllString(s, masked) // before it is cut`, ``, "TestTokensAreMasked"},
	{"driver/error.go", `	s = jot.ReplaceAllString(s, masked)
	if len(s) > most {`, `	if len(s) > most {`, "TestTokensAreMasked"},
	{"driver/error.go", `": %!w(<nil>)", "",`, ``, "TestHostileServer"},
	{"driver/mask.go", `return jot.ReplaceAll(said, []byte(masked))`, `return said`, "TestHostileAuthority/JSON.*"},
	{"driver/mask.go", `said = bytes.ReplaceAll(said, []byte(s), []byte(masked))`, ``, "TestHostileServer"},
	{"driver/mask.go", `r.Body, _ = r.GetBody()`, `r.Body.(io.Seeker).Seek(0, io.SeekStart)`, "TestBodyOfItsOwn"},
	{"driver/mask.go", `r.Header.Get("X-Identity-Header"), r.Header.Get("Secret")`, `""`, "TestHostileAuthority/the_secret.*"},
	{"driver/mask.go", `strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")`, `strings.Clone("")`, "TestSecretsOfARequest"},
	{"driver/mask.go", `secrets = append(secrets, v, url.QueryEscape(v))`, `secrets = append(secrets, v)`, "TestSecretsOfARequest"},
	{"driver/throttle.go", `b = mask(b, secrets)`, `_ = secrets`, "TestHostileAuthority/the_secret.*"},
	{"driver/explain.go", `Err: hush(err, s.secrets...), Hint: hint`, `Err: err, Hint: hint`, "TestHostileAuthority/JSON.*"},
	{"driver/explain.go", `e.Err = hush(err, s.secrets...);`, ``, "TestHostileServer"},
	{"driver/explain.go", `*said = s.mask(*said)`, `*said += ""`, "TestHostileServer"},
	{"driver/explain.go", `e.said = oneLine(text)`, ``, "TestHostileServer"},
	{"driver/refusal.go", `a.situation().mask(oauth + status)`, `oauth + status`, "TestHostileServer/bearer.*"},
	{"driver/refusal.go", `			a.situation().maskError(e)
			a.refused(e)`, `			a.refused(e)`, "TestHostileServer/bearer.*"},
	{"driver/gate.go", `	a.situation().maskError(e)
`, ``, "TestHostileServer"},
	{"driver/gate.go", `a.situation().maskError((*pgconn.PgError)(n))`, ``, "TestHostileServer/the_token_in_a_notice"},
	{"driver/gate.go", `	return false
}

func (a *attempt) notice`, `	return true
}

func (a *attempt) notice`, "TestHostileServer/the_token_said_again.*"},
	{"driver/pgx.go", `delete(config.RuntimeParams, name)`, ``, "TestPgxSeesNoKeyOfOurs"},
}

// Whose token it is, and when it is asked for.
var sourceMutants = []mutant{
	{"driver/identity.go", `append(env, c.DSN())`, `env`, "TestSharing"},
	{"driver/identity.go", `append(env, c.DSN())`, `append(env[:0], c.DSN())`, "TestSharing"},
	{"driver/identity.go", `append(env, c.DSN())`, `append(env, c.String())`, "TestSharing"},
	{"driver/identity.go", `t.scope, t.authority, !t.discovery`, `"", t.authority, !t.discovery`, "TestSharing"},
	{"driver/identity.go", `t.scope, t.authority, !t.discovery`, `t.scope, "", !t.discovery`, "TestSharing"},
	{"driver/identity.go", `t.scope, t.authority, !t.discovery`, `t.scope, t.authority, true`, "TestSharing"},
	{"driver/identity.go", `o.credential, o.transport, o.prompt}`, `nil, o.transport, o.prompt}`, "TestSharing"},
	{"driver/identity.go", `o.credential, o.transport, o.prompt}`, `o.credential, nil, o.prompt}`, "TestSharing"},
	{"driver/identity.go", `o.credential, o.transport, o.prompt}`, `o.credential, o.transport, nil}`, "TestSharing"},
	{"driver/identity.go", `if !id.shareable() {`, `if false {`, "TestSharing"},
	{"driver/identity.go", `"AZURE_", "IDENTITY_"`, `"AZURE_"`, "TestSharing"},
	{"driver/managed.go", `if err != nil || n.fits(at) {`, `if true {`, "TestManagedIdentitiesShareNoToken"},
	{"driver/managed.go", `err != nil || n.fits(at) {
			return at, err
		}
	}
	return`, `true {
			return at, err
		}
	}
	return`, "TestAnotherIdentitysToken"},
	{"driver/source.go", `t != than && t.live(time.Now())`, `t.live(time.Now())`, "TestNewer|TestRejected"},
	{"driver/source.go", `t != than && t.live(time.Now())`, `false`, "TestNewer"},
	{"driver/source.go", `c != t && c.live(now)`, `false`, "TestLateCaller|TestManyPools"},
	{"driver/source.go", `if s.flight != nil {
		if`, `if false {
		if`, "TestSingleFlight"},
	{"driver/source.go", `s.failed != nil && now.Before(s.retry)`, `false && s.failed != nil && now.Before(s.retry)`, "TestBackoff"},
	{"driver/source.go", `s.retry.Sub(now) <= s.wait`, `true`, "TestClockJumps"},
	{"driver/source.go", `max(s.backoff/2+rand.N(s.backoff/2), asked.wait(f.err))`, `s.backoff/2 + rand.N(s.backoff/2)`, "TestRetryAfter|TestThrottledAuthority"},
	{"driver/source.go", `refused != "" && since >= 0`, `false && since >= 0`, "TestNewer"},
	{"driver/source.go", `policy.RetryOptions{MaxRetries: -1}`, `policy.RetryOptions{}`, "TestOneTryAfterAFailure"},
	{"driver/source.go", `case <-ctx.Done():
		f.err`, `case <-make(chan bool):
		f.err`, "TestTokenTimeout"},
	{"driver/source.go", `s.flight = nil // nobody may join it any more`, ``, "TestNobodyJoinsAnEndedRequest"},
	{"driver/source.go", `if s.users--; s.users <= 0 &&`, `if s.users--; true &&`, "TestCloseEndsTheRequest"},
	{"driver/source.go", `if err := t.fits(s.about.scope); err != nil {`, `if false {`, "TestLocalChecks"},
	{"driver/fixed.go", `if err := t.fits(f.scope); err != nil {`, `if false {
		var err error`, "TestLocalChecks"},
	{"driver/token.go", `sameHost(aud, scope) || resourceCloud(aud) != ""`, `true`, "TestLocalChecks"},
	{"driver/source.go", `case !now.Before(at.ExpiresOn):
		return nil`, `case false:
		return nil`, "TestExpiredToken"},
	{"driver/token.go", `if old := t.issued.Add(maxAge); maxAge > 0 &&`, `if old := t.issued.Add(maxAge); false &&`, "TestMaxAge"},
	{"driver/token.go", `return t != nil && now.Before(t.refresh) && now.After(t.from)`, `return t != nil && now.Before(t.refresh)`, "TestClockJumps"},
	{"driver/throttle.go", `return min(after, time.Hour)`, `return after`, "TestRetryAfterForms"},
	{"driver/throttle.go", `resp == nil || resp.StatusCode < 400`, `resp == nil`, "TestRetryAfterForms"},
	{"driver/throttle.go", `resp.Header.Set("Retry-After-Ms", "86400000")`, ``, "TestThrottledAuthority"},
	{"driver/refusal.go", `!words && (a.flight != nil || a.token.young(now) || !c.worked.Load())`, `!words && (a.flight != nil || !c.worked.Load())`, "TestAskedAfterARefusal"},
	{"driver/refusal.go", `!words && (a.flight != nil || a.token.young(now) || !c.worked.Load())`, `!words && (a.token.young(now) || !c.worked.Load())`, "TestAskedAfterARefusal"},
	{"driver/refusal.go", `!words && (a.flight != nil || a.token.young(now) || !c.worked.Load())`, `!words && (a.flight != nil || a.token.young(now))`, "TestRejected"},
	{"driver/refusal.go", `case q == nil && (a.flight != nil || a.token.young(now)):`, `case false:`, "TestAskedAfterARefusal"},
	{"driver/refusal.go", `case !words || now.Before(q.next):`, `case !words:`, "TestBadTokensAreReplaced"},
	{"driver/refusal.go", `case !words || now.Before(q.next):`, `case now.Before(q.next):`, "TestAskedAfterARefusal"},
	{"driver/refusal.go", `asking.wait = min(2*q.wait, maxBackoff)`, `asking.wait = q.wait`, "TestBadTokensAreReplaced"},
	{"driver/refusal.go", `q.flight.failure() != nil || q.than`, `q.than`, "TestSameQuestion"},
	{"driver/refusal.go", `|| q.than == a.token && !q.flight.brought(a.token)`, ``, "TestSameQuestion"},
	{"driver/refusal.go", `asking.wait = q.wait // the same question`, `return`, "TestSameQuestion"},
	{"driver/gate.go", `	if a.told == nil {
		a.c.asked.Store(nil)
	}`, `	a.c.asked.Store(nil)`, "TestRefusedHereAndTakenThere"},
	{"driver/refusal.go", `errors.As(err, &e) && e != a.told`, `errors.As(err, &e) && false`, "TestOAuthBearerRefused"},
	{"driver/refusal.go", `if err != nil || t.value == a.token.value {`, `if _ = t; err != nil {`, "TestAskedAfterARefusal"},
	{"driver/user.go", `	case c.guest():
		return ""`, `	case false:
		return ""`, "TestUserName"},
}

// What hostile peers may do.
var hostileMutants = []mutant{
	{"driver/transport.go", `			return false
		}
	}
	return true`, `			return false
		}
	}
	return false`, "TestServiceFabric"},
	{"driver/transport.go", `MaxResponseHeaderBytes: 64 << 10,`, ``, "TestHeadersOfTheOwnClient"},
	{"driver/transport.go", `return nil, final{fmt.Errorf("reading the answer: %w", err)} // a code`, `return nil, fmt.Errorf("reading the answer: %w", err) // a code`, "TestCutAnswerIsFinal"},
	{"driver/throttle.go", `resp.Status = string(mask([]byte(resp.Status), secrets))`, ``, "TestHostileAuthority/the_secret.*"},
	{"driver/throttle.go", `t.keep(brought(b))`, `t.keep(nil)`, "TestHostileAuthority/a_refresh_token.*"},
	{"driver/throttle.go", `	t.keep(secrets)
`, ``, "TestHostileAuthority/the_secret_in_JSON.*"},
	{"driver/transport.go", `&& !json.Valid(b)`, `&& !json.Valid(b) && false`, "TestHostileAuthority/a_refresh_token.*"},
	{"driver/mask.go", `if len(s) >= 6 {`, `if len(s) > 0 {`, "TestHush"},
	{"driver/transport.go", `alone.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }`, ``, "TestRedirects"},
	{"driver/transport.go", `if resp.StatusCode/100 == 3 {`, `if false {`, "TestRedirects"},
	{"driver/transport.go", `r.URL.Scheme != "https" && !loopback(r.URL)`, `false`, "TestMetadata"},
	{"driver/transport.go", `resp.Body = &reply{resp.Body, mostAnswer, r.URL.Host, resp.StatusCode >= 400}`, ``, "TestHostileAuthority/a_bomb.*"},
	{"driver/transport.go", `func (final) NonRetriable() {}`, ``, "TestUnfitIsFinal"},
	{"driver/option.go", `Transport: carry(o.transport),`, `Transport: o.transport,`, "TestRedirects"},
	{"driver/transport.go", `case t == nil:
		client = defaultClient()`, `case t == nil:
		return nil`, "TestRedirectsOfTheOwnClient"},
	{"driver/quota.go", `if q.left <= 0 {`, `if false {`, "TestHostileServer"},
	{"driver/quota.go", `if q.asked <= 0 {`, `if false {`, "TestHostileServer"},
	{"driver/quota.go", `q.body > mostSaid && int32(length) >= 0`, `false`, "TestHostileServer"},
	{"driver/gate.go", `a.quota.done.Store(true)`, ``, "TestSignedInIsNotBounded"},
	{"driver/quota.go", "case q.head[0] == 'Z':", "case false:", "TestSignedInIsNotBounded"},
	{"driver/gate.go", `a.frontend, a.signedIn, a.refusal, a.bearer`, `a.hooks.build, a.signedIn, a.refusal, a.bearer`, "TestHostileServer"},
	{"driver/token.go", `if err := shape(t.value); err != nil {`, `if false {
		var err error`, "TestHostileAuthority/a_token.*"},
	{"driver/source.go", `s.unfit.Store(old)`, `_ = old`, "TestRefusedTokenDoesNotComeBack"},
	{"driver/source.go", `unfit != nil && t.value == unfit.value`, `false && t.value == unfit.value`, "TestUnfitTokenIsNotKept"},
	{"driver/source.go", `err == nil && shape(younger.Token) == nil`, `err == nil`, "TestShape"},
	{"driver/token.go", `case len(value) > mostToken:`, `case false:`, "TestHostileAuthority/a_token.*"},
	{"driver/token.go", `r <= ' ' || r > '~'`, `false`, "TestHostileAuthority/a_token.*"},
	{"driver/token.go", `case value == "":
		return &Error`, `case false:
		return &Error`, "TestShape"},
	{"driver/fixed.go", `!info.Mode().IsRegular() || info.Size() > mostFile`, `info.Size() > mostFile`, "TestHostileFiles"},
	{"driver/fixed.go", `!info.Mode().IsRegular() || info.Size() > mostFile`, `!info.Mode().IsRegular()`, "TestHostileFiles"},
	{"driver/fixed.go", `info.Mode()&0o027 == 0`, `info.Mode()&0o007 == 0`, "TestExposedTokenFile"},
	{"driver/fixed.go", `info.Mode()&0o027 == 0`, `info.Mode()&0o020 == 0`, "TestExposedTokenFile"},
	{"driver/fixed.go", `!f.warned.Swap(true)`, `true`, "TestExposedTokenFile"},
	{"driver/credential.go", `if err := readable(c); err != nil {`, `if err := error(nil); err != nil {`, "TestHostileFiles"},
}
