package main

// renewalMutants are about what a connector does after the server rejected a token.
var renewalMutants = []mutant{
	{"driver/retry.go", `if e.Code != "28P01" && e.Code != "28000" {`, `if false {`, "TestRejected"},
	{"driver/retry.go", `aboutToken(e), now)`, `true, now)`, "TestRenewalAfterRejection"},
	{"driver/retry.go", `a.call != nil || a.token.RecentlyIssued(now)`, `a.call != nil`, "TestRenewalAfterRejection"},
	{"driver/retry.go", `a.token.Valid(now) && (a.call`, `(a.call`, "TestTokenThatEndsDuringTheSignIn"},
	{"driver/retry.go", `a.call != nil || a.token.RecentlyIssued(now)`, `a.token.RecentlyIssued(now)`, "TestRenewalAfterRejection"},
	{"driver/retry.go", `!aboutToken && (recent || !a.c.signedIn.Load())`, `!aboutToken && (a.call != nil || !a.c.signedIn.Load())`, "TestRenewalAfterRejection"},
	{"driver/retry.go", `!aboutToken && (recent || !a.c.signedIn.Load())`, `!aboutToken && (a.token.RecentlyIssued(now) || !a.c.signedIn.Load())`, "TestRenewalAfterRejection"},
	{"driver/retry.go", `!aboutToken && (recent || !a.c.signedIn.Load())`, `!aboutToken && recent`, "TestRenewalAfterRejection|TestRejected"},
	{"driver/retry.go", `		if recent {
			next.NextAt`, `		if false {
			next.NextAt`, "TestRenewalAfterRejection"},
	{"driver/retry.go", `if !aboutToken || now.Before(old.NextAt) {`, `if !aboutToken {`, "TestBadTokensAreReplaced"},
	{"driver/retry.go", `if !aboutToken || now.Before(old.NextAt) {`, `if now.Before(old.NextAt) {`, "TestRenewalAfterRejection"},
	{"driver/retry.go", `next.Wait = min(2*old.Wait, maxRenewalWait)`, `next.Wait = old.Wait`, "TestBadTokensAreReplaced"},
	{"driver/retry.go", `next.Wait = min(2*old.Wait, maxRenewalWait)`, `next.Wait = 2 * old.Wait`, "TestBadTokensAreReplaced"},
	{"driver/internal/token/renewal.go", `return r.Call.Err() != nil || (r.Rejected`, `return (r.Rejected`, "driver: TestRejectionsShareOneRenewal"},
	{"driver/internal/token/renewal.go", ` || (r.Rejected == t && !r.Call.Returned(t))`, ``, "driver: TestRejectionsShareOneRenewal"},
	{"driver/retry.go", `		next.Wait = old.Wait
		return next`, `		return nil`, "TestRejectionsShareOneRenewal"},
	{"driver/internal/token/renewal.go", `	if r.Call == nil {
		return false
	}`, ``, "driver: TestRenewalAfterRejection"},
	{"driver/retry.go", `errors.As(err, &e) && e != a.lastPgError`, `errors.As(err, &e) && false`, "TestOAuthBearerRefused"},
	{"driver/retry.go", `if err != nil || t.Value == a.token.Value {`, `if _ = t; err != nil {`, "TestRenewalAfterRejection"},
	{"driver/hooks.go", `	if a.lastPgError == nil {
		a.c.settled.Store(a.c.source.Renewals().Latest())
	}`, `	a.c.settled.Store(a.c.source.Renewals().Latest())`, "TestOneHostRejectsAnotherAccepts"},
	{"driver/retry.go", `a.nextRenewal(c.since(latest)`, `a.nextRenewal(latest`, "TestRenewalOfAnotherRole"},
	{"driver/hooks.go", `	a.replacement = nil
`, ``, "TestProgramRejectsTheNextHost"},
	{"driver/connector.go", `if retried || !a.shouldRetry(ctx, err) {`, `if _ = retried; !a.shouldRetry(ctx, err) {`, "TestRetriedOnce"},
	{"driver/connect.go", `if !t.Valid(time.Now()) {`, `if !t.Valid(time.Time{}) {`, "TestTokenExpiresDuringTheConnect"},
}
