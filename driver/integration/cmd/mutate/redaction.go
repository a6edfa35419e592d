package main

// redactionMutants are about what may be printed of a secret.
var redactionMutants = []mutant{
	{"dsn/format.go", `func (c Config) String() string { return c.write(true) }`, `func (c Config) String() string { return c.write(false) }`, "TestSecretsAreMasked"},
	{"dsn/format.go", `slog.StringValue(c.String())`, `slog.StringValue(c.DSN())`, "TestSecretsAreMasked"},
	{"dsn/format.go", `return []byte(c.String()), nil`, `return []byte(c.DSN()), nil`, "TestSecretsAreMasked"},
	{"dsn/format.go", `add(name, v, true)`, `add(name, v, false)`, "TestSecretsAreMasked"},
	{"dsn/format.go", `add(name, v, looksSecret(name))`, `add(name, v, false)`, "TestSecretsInParams"},
	{"dsn/format.go", `if !looksSecret(name) {`, `if true {`, "TestSecretsInParams"},
	{"dsn/secret.go", `	return mask
}`, `	return s.Value()
}`, "TestSecretsAreMasked|TestSecret"},
	{"dsn/name.go", `if word := secretWord(name); word != "" {`, `if word := secretWord(name); word == "x" {`, "TestSecretsInOddPlaces"},
	{"dsn/name.go", `if !nearly(name, known) {`, `if false {`, "TestSecretsInOddPlaces|TestNearMisses"},
	{"dsn/value.go", `if !nearly(word, known) {`, `if false {`, "TestSecretsInOddPlaces"},
	{"dsn/check.go", `case assignsSecret(text):`, `case false:`, "TestSecretsInOddPlaces"},
	{"dsn/check.go", `case jwtPattern.MatchString(text):`, `case false:`, "TestSecretsInOddPlaces"},
	{"dsn/check.go", `for range 8 {`, `for range 1 {`, "TestSecretsInOddPlaces"},
	{"dsn/check.go", `[]string{value, unescape(value)}`, `[]string{value}`, "TestSecretsInOddPlaces"},
	{"dsn/keyword.go", `if continues(raw, n) {`, `if false {`, "TestSecretsInOddPlaces"},
	{"dsn/keyword.go", `if spaced && assigns &&`, `if spaced && assigns && false &&`, "TestNearMisses"},
	{"dsn/url.go", `strings.ContainsAny(user, "?&;#=\\")`, `false`, "TestQueryInPlaceOfUser"},
	{"dsn/url.go", `queryInPassword.MatchString(password) ||`, `false ||`, "TestQueryInPlaceOfUser"},
	{"dsn/url.go", `if CloudOf(user) != "" {`, `if false {`, "TestQueryInPlaceOfUser"},
	{"dsn/format.go", `return nil, errors.New("dsn: a Config`, `return []byte(c.DSN()), errors.New("dsn: a Config`, "TestSecretsAreMasked"},
	{"dsn/format.go", `add(k.Name, v, k.Secret)`, `add(k.Name, v, false)`, "TestSecretsAreMasked"},
	{"driver/credentials.go", `fmt.Sprintf("%q, password xxxxx", c.User)`, `fmt.Sprintf("%q, password %s", c.User, c.Password.Value())`, "TestNothingExportedPrintsASecret"},
	{"driver/credentials.go", `return []byte(c.String()), nil`, `return []byte(c.Password.Value()), nil`, "TestNothingExportedPrintsASecret"},
	{"driver/credentials.go", `return nil, errors.New("driver: Credentials hold a token and cannot be encoded")`, `return []byte(c.Password.Value()), errors.ErrUnsupported`, "TestNothingExportedPrintsASecret"},
	{"driver/connector.go", `func (c *Connector) Format(`, `func (c *Connector) Printed(`, "TestNothingExportedPrintsASecret|TestDeferredConnectorIsMasked"},
	{"driver/prepare.go", `p.password = config.Password
	config.Password = ""`, `p.password = config.Password`, "TestAccessToken|TestNothingExportedPrintsASecret"},
	{"driver/error.go", `func (e Error) GoString() string { return e.Error() }`, `func (e Error) GoString() string { return fmt.Sprintf("%#v", e.Err) }`, "TestErrorPrintsAsOneLine"},
	{"driver/error.go", `return []byte(e.Error()), nil`, `return []byte(e.Err.Error()), nil`, "TestErrorPrintsAsOneLine"},
	{"driver/error.go", `cause = semicolons.Replace(cause)`, ``, "TestHostileText"},
	{"driver/error.go", `cause = redact.Line(causeOf(e.Err))`, `cause = causeOf(e.Err)`, "TestCauseIsPrintedInOneLine"},
	{"driver/error.go", `"; " + redact.Printable(e.Hint)`, `"; " + e.Hint`, "TestHostileText|TestErrorPrintsAsOneLine"},
	{"driver/error.go", `": %!w(<nil>)", "",`, ``, "TestHostileServer"},
	{"driver/explain.go", `Err: redact.Error(err, x.secrets...), cause: redact.Line(cause)}`, `Err: err, cause: redact.Line(cause)}`, "TestRepeatedSecretIsRedacted"},
	{"driver/explain.go", `redact.Error(err, x.secrets...), cause: redact.Line(cause)}`, `redact.Error(err, x.secrets...)}`, "TestRepeatedSecretIsRedacted"},
	{"driver/explain.go", `Err: redact.Error(err, x.secrets...), cause: redact.Line(x.redactText(causeOf(err)))}`, `Err: err, cause: redact.Line(x.redactText(causeOf(err)))}`, "TestRepeatedSecretIsRedacted"},
	{"driver/explain.go", `cause := x.redactText(causeOf(err))`, `cause := causeOf(err)`, "TestRepeatedSecretIsRedacted"},
	{"driver/explain.go", `*field = x.redactText(*field)`, `*field += ""`, "TestRepeatedSecretIsRedacted"},
	{"driver/limit.go", `return []byte(redact.Text(string(withoutEscapes(body)), f.token))`, `return []byte(redact.Text(string(withoutEscapes(body))))`, "TestHostileServer"},
	{"driver/limit.go", `string(withoutEscapes(body))`, `string(body)`, "TestHostileServer"},
	{"driver/limit.go", `case 'E', 'N', 'S':`, `case 'E', 'S':`, "TestHostileServer/the_token_in_a_notice"},
	{"driver/limit.go", `case 'E', 'N', 'S':`, `case 'N', 'S':`, "TestHostileServer"},
	{"driver/hooks.go", `	return false
}

// validateConnect`, `	return true
}

// validateConnect`, "TestHostileServer/the_token_repeated.*"},
	{"driver/config.go", `delete(config.RuntimeParams, name)`, ``, "TestPgxSeesNoKeyOfOurs"},
	{"driver/diagnose.go", `c.Found = redact.Printable(c.Found)`, ``, "TestChecksArePrintable"},

	{"driver/internal/redact/redact.go", `s = strings.ReplaceAll(s, secret, Mask)`, ``, "TestText"},
	{"driver/internal/redact/redact.go", `return jwtPattern.ReplaceAllString(s, Mask)`, `return s`, "TestText"},
	{"driver/internal/redact/redact.go", `if len(secret) >= minSecret {`, `if len(secret) > 0 {`, "TestText"},
	{"driver/internal/redact/redact.go", `if len(secret) >= minSecret {`, `if len(secret) > minSecret {`, "TestText"},
	{"driver/internal/redact/redact.go", `[A-Za-z0-9_-]{8,}`, `[A-Za-z0-9_-]{80,}`, "TestText"},
	{"driver/internal/redact/redact.go", `if redacted == text {`, `if redacted != "" {`, "TestError"},
	{"driver/internal/redact/redact.go", `return errors.New(redacted)`, `return errors.Join(errors.New(redacted), err)`, "TestError"},
	{"driver/internal/redact/redact.go", `s = jwtPattern.ReplaceAllString(s, Mask) // before a JWT is cut in two`, ``, "TestJWTsAreMasked"},
	{"driver/internal/redact/redact.go", `	s = jwtPattern.ReplaceAllString(s, Mask)
	if len(s) > maxPrint {`, `	if len(s) > maxPrint {`, "TestJWTsAreMasked"},
	{"driver/internal/redact/redact.go", `if len(s) > maxPrint {`, `if false {`, "TestPrintable"},
	{"driver/internal/redact/redact.go", `len(r) > maxLine {`, `len(r) > 4*maxLine {`, "TestLine"},
	{"driver/internal/redact/redact.go", `if !unicode.IsPrint(r) {`, `if r == unicode.MaxRune {`, "TestPrintable"},
	{"driver/internal/redact/redact.go", `strings.ToValidUTF8(s, "?")`, `s`, "TestPrintable"},

	{"driver/internal/token/token.go", `io.WriteString(f, redact.Mask)`, `io.WriteString(f, redact.Mask+t.Value)`, "TestTokenPrintsNoSecret"},
	{"driver/internal/credential/secrets.go", `r.Body, _ = r.GetBody()`, `r.Body.(io.Seeker).Seek(0, io.SeekStart)`, "TestEachTryHasItsOwnBody"},
	{"driver/internal/credential/secrets.go", `credentials, h.Get("X-Identity-Header"), h.Get("Secret")}`, `credentials}`, "TestRequestSecrets"},
	{"driver/internal/credential/secrets.go", `_, credentials, _ := strings.Cut(h.Get("Authorization"), " ")`, `credentials := strings.TrimPrefix(h.Get("Authorization"), "Bearer ")`, "TestHeaderSecrets"},
	{"driver/internal/credential/secrets.go", `secrets = append(secrets, v, url.QueryEscape(v))`, `secrets = append(secrets, v)`, "TestRequestSecrets"},
	{"driver/internal/credential/secrets.go", `secrets = append(secrets, v, url.QueryEscape(v))`, `secrets = append(secrets, url.QueryEscape(v))`, "TestRequestSecrets"},
	{"driver/internal/credential/secrets.go", `"client_secret", "client_assertion", `, ``, "TestRequestSecrets"},
	{"driver/internal/credential/secrets.go", `"refresh_token", "code", "device_code", `, ``, "TestRequestSecrets"},
	{"driver/internal/credential/secrets.go", `"assertion", `, ``, "TestRequestSecrets"},
	{"driver/internal/credential/secrets.go", `"code_verifier", "password"`, `"code_verifier"`, "TestRequestSecrets"},
	{"driver/internal/credential/secrets.go", `"code_verifier", "password"`, `"password"`, "TestRequestSecrets"},
	{"driver/internal/credential/secrets.go", `"access_token", "refresh_token", "id_token", "oidcToken"`, `"access_token"`, "TestResponseSecrets"},
	{"driver/internal/credential/capture.go", `body = []byte(redact.Text(string(body), secrets...))`, ``, "TestRefusalCanBeRead"},
	{"driver/internal/credential/capture.go", `resp.Status = redact.Text(resp.Status, secrets...)`, ``, "driver: TestHostileAuthority/the_secret.*"},
	{"driver/internal/credential/capture.go", `x.addSecrets(responseSecrets(body))`, `x.addSecrets(nil)`, "driver: TestHostileAuthority/a_refresh_token.*"},
	{"driver/internal/credential/capture.go", `	x.addSecrets(secrets)
`, `	_ = secrets
`, "driver: TestHostileAuthority/the_secret_in_JSON.*"},
	{"driver/internal/credential/exchange.go", `x.seen = append(x.seen, secrets...)`, `x.seen = secrets`, "TestRefusalThatRepeatsTheLatestToken"},
	{"driver/internal/credential/fetcher.go", `if redacted != text {`, `if false {`, "TestExchangeOfAFailure"},
	{"driver/internal/credential/fetcher.go", `detail = redact.Text(detail, secrets...)`, ``, "TestExchangeOfAFailure"},
	{"driver/internal/credential/fetcher.go", `known.Detail = detail[:min(len(detail), maxDetailBytes)]`, `known.Detail = detail`, "TestExchangeOfAFailure"},
	{"driver/internal/credential/fetcher.go", `redact.Line(redact.Text(reason, secrets...))`, `redact.Line(reason)`, "driver: TestHostileAuthority/the_secret.*"},
	{"driver/internal/credential/fetcher.go", `len(text) > 2*maxResponseBytes {`, `false {`, "TestExchangeOfAFailure"},
	{"driver/internal/credential/fetcher.go", `with a value of type %T", panicking(), v)`, `with a value of type %v", panicking(), v)`, "TestCredentialPanics"},
	{"driver/internal/credential/fetcher.go", `if v := recover(); v != nil {`, `if v := any(nil); v != nil {`, "TestCredentialPanics"},
	{"driver/internal/credential/tool.go", `longWord.ReplaceAllString(why, redact.Mask)`, `why`, "TestHostileOutput"},
	{"driver/internal/credential/tool.go", `cut(longWord.ReplaceAllString(line, redact.Mask), 160)`, `cut(line, 160)`, "TestHostileOutput"},
	{"driver/internal/credential/tool.go", `if !plain.MatchString(value) {`, `if value == "" {`, "TestCommands"},
	{"driver/internal/credential/list.go", `if i < 0 {
		return head
	}`, `if i < 0 {
		return head + tail
	}`, "TestShorten"},
	{"driver/internal/credential/mode.go", `if m.mode == dsn.WorkloadIdentity {`, `if false {`, "TestFederatedTokenFile"},
	{"driver/internal/credential/mode.go", `deadline.Add(-min(reserve, time.Until(deadline)/4))`, `deadline.Add(0 * reserve)`, "driver: TestToolHangs"},
	{"driver/internal/credential/cause.go", `if !list[i].absent {`, `if true {`, "driver: TestListsReason"},
	{"driver/explain.go", `delete(f, "authority")`, ``, "TestTokenHint"},
	{"driver/config.go", `if !credential.HasRoots() {`, `if true {`, "TestUnknownRoot"},
	{"driver/internal/credential/roots.go", `&& !pool.Equal(x509.NewCertPool())`, `&& pool != nil`, "driver: TestNoRootCertificates"},
	{"driver/internal/token/text.go", `case text != string(b) || strings.ContainsRune(text, 0):`, `case strings.ContainsRune(text, 0):`, "TestCheckAssertion"},
	{"driver/internal/credential/transport.go", `return u.Scheme + "://" + u.Host`, `return u.String()`, "TestLocation"},
	{"driver/internal/credential/capture.go", `&& !json.Valid(body)`, `&& !json.Valid(body) && false`, "TestNonRetriable"},
}
