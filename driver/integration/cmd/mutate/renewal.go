package main

// renewalMutants are about what a connector does after the server rejected a token.
var renewalMutants = []mutant{
	{"driver/retry.go", `if e.Code != "28P01" && e.Code != "28000" {`, `if false {`, "TestRejected"},
	{"driver/retry.go", `aboutToken(e), now)`, `true, now)`, "TestRenewalAfterRejection"},
	{"driver/retry.go", `a.call != nil || a.token.RecentlyIssued(now)`, `a.call != nil`, "TestRenewalAfterRejection"},
	{"driver/retry.go", `a.call != nil || a.token.RecentlyIssued(now)`, `a.token.RecentlyIssued(now)`, "TestRenewalAfterRejection"},
	{"driver/retry.go", `!aboutToken && (recent || !a.c.signedIn.Load())`, `!aboutToken && (a.call != nil || !a.c.signedIn.Load())`, "TestRenewalAfterRejection"},
	{"driver/retry.go", `!aboutToken && (recent || !a.c.signedIn.Load())`, `!aboutToken && (a.token.RecentlyIssued(now) || !a.c.signedIn.Load())`, "TestRenewalAfterRejection"},
	{"driver/retry.go", `!aboutToken && (recent || !a.c.signedIn.Load())`, `!aboutToken && recent`, "TestRenewalAfterRejection|TestRejected"},
	{"driver/retry.go", `		if recent {
			next.nextAt`, `		if false {
			next.nextAt`, "TestRenewalAfterRejection"},
	{"driver/retry.go", `if !aboutToken || now.Before(old.nextAt) {`, `if !aboutToken {`, "TestBadTokensAreReplaced"},
	{"driver/retry.go", `if !aboutToken || now.Before(old.nextAt) {`, `if now.Before(old.nextAt) {`, "TestRenewalAfterRejection"},
	{"driver/retry.go", `next.wait = min(2*old.wait, maxRenewalWait)`, `next.wait = old.wait`, "TestBadTokensAreReplaced"},
	{"driver/retry.go", `next.wait = min(2*old.wait, maxRenewalWait)`, `next.wait = 2 * old.wait`, "TestBadTokensAreReplaced"},
	{"driver/retry.go", `return r.call.Err() != nil || (r.rejected`, `return (r.rejected`, "TestRejectionsShareOneRenewal"},
	{"driver/retry.go", ` || (r.rejected == t && !r.call.Returned(t))`, ``, "TestRejectionsShareOneRenewal"},
	{"driver/retry.go", `		next.wait = old.wait
		return next`, `		return nil`, "TestRejectionsShareOneRenewal"},
	{"driver/retry.go", `	if r.call == nil {
		return false
	}`, ``, "TestRenewalAfterRejection"},
	{"driver/retry.go", `errors.As(err, &e) && e != a.lastPgError`, `errors.As(err, &e) && false`, "TestOAuthBearerRefused"},
	{"driver/retry.go", `if err != nil || t.Value == a.token.Value {`, `if _ = t; err != nil {`, "TestRenewalAfterRejection"},
	{"driver/hooks.go", `	if a.lastPgError == nil {
		a.c.renewal.Store(nil)
	}`, `	a.c.renewal.Store(nil)`, "TestOneHostRejectsAnotherAccepts"},
	{"driver/hooks.go", `	a.replacement = nil
`, ``, "TestProgramRejectsTheNextHost"},
	{"driver/connector.go", `if retried || !a.shouldRetry(ctx, err) {`, `if _ = retried; !a.shouldRetry(ctx, err) {`, "TestRetriedOnce"},
	{"driver/connect.go", `if !t.Valid(time.Now()) {`, `if !t.Valid(time.Time{}) {`, "TestTokenExpiresDuringTheConnect"},
}
