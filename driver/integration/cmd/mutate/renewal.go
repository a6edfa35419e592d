package main

// renewalMutants are about what a connector does after the server rejected a token.
var renewalMutants = []mutant{
	{"driver/retry.go", `if e.Code != "28P01" && e.Code != "28000" {`, `if false {`, "TestRejected"},
	{"driver/retry.go", `aboutToken(e), now)`, `true, now)`, "TestAskedAfterARefusal"},
	{"driver/retry.go", `a.call != nil || a.token.RecentlyIssued(now)`, `a.call != nil`, "TestAskedAfterARefusal"},
	{"driver/retry.go", `a.call != nil || a.token.RecentlyIssued(now)`, `a.token.RecentlyIssued(now)`, "TestAskedAfterARefusal"},
	{"driver/retry.go", `!aboutToken && (recent || !a.c.signedIn.Load())`, `!aboutToken && (a.call != nil || !a.c.signedIn.Load())`, "TestAskedAfterARefusal"},
	{"driver/retry.go", `!aboutToken && (recent || !a.c.signedIn.Load())`, `!aboutToken && (a.token.RecentlyIssued(now) || !a.c.signedIn.Load())`, "TestAskedAfterARefusal"},
	{"driver/retry.go", `!aboutToken && (recent || !a.c.signedIn.Load())`, `!aboutToken && recent`, "TestAskedAfterARefusal|TestRejected"},
	{"driver/retry.go", `		if recent {
			next.nextAt`, `		if false {
			next.nextAt`, "TestAskedAfterARefusal"},
	{"driver/retry.go", `if !aboutToken || now.Before(old.nextAt) {`, `if !aboutToken {`, "TestBadTokensAreReplaced"},
	{"driver/retry.go", `if !aboutToken || now.Before(old.nextAt) {`, `if now.Before(old.nextAt) {`, "TestAskedAfterARefusal"},
	{"driver/retry.go", `next.wait = min(2*old.wait, maxRenewalWait)`, `next.wait = old.wait`, "TestBadTokensAreReplaced"},
	{"driver/retry.go", `next.wait = min(2*old.wait, maxRenewalWait)`, `next.wait = 2 * old.wait`, "TestBadTokensAreReplaced"},
	{"driver/retry.go", `return r.call.Err() != nil || (r.rejected`, `return (r.rejected`, "TestSameQuestion"},
	{"driver/retry.go", ` || (r.rejected == t && !r.call.Returned(t))`, ``, "TestSameQuestion"},
	{"driver/retry.go", `		next.wait = old.wait
		return next`, `		return nil`, "TestSameQuestion"},
	{"driver/retry.go", `	if r.call == nil {
		return false
	}`, ``, "TestAskedAfterARefusal"},
	{"driver/retry.go", `errors.As(err, &e) && e != a.lastPgError`, `errors.As(err, &e) && false`, "TestOAuthBearerRefused"},
	{"driver/retry.go", `if err != nil || t.Value == a.token.Value {`, `if _ = t; err != nil {`, "TestAskedAfterARefusal"},
	{"driver/hooks.go", `	if a.lastPgError == nil {
		a.c.renewal.Store(nil)
	}`, `	a.c.renewal.Store(nil)`, "TestRefusedHereAndTakenThere"},
	{"driver/hooks.go", `	a.replacement = nil
`, ``, "TestRefusedHereAndUnwantedThere"},
	{"driver/connector.go", `if retried || !a.shouldRetry(ctx, err) {`, `if !a.shouldRetry(ctx, err) {`, "TestRejected"},
	{"driver/connect.go", `if !t.Valid(time.Now()) {`, `if false {`, "TestChainOfHosts|TestLateToken"},
}
