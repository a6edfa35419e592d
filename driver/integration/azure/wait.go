package azure

import (
	"context"
	"time"
)

var waitClaims = []Claim{
	{
		ID: "token-outlived", Text: "A session goes on after its token has expired.", Standing: Inferred,
		Pages: []Page{{"driver/driver.go", "the driver does not close connections when their"}},
		How:   "sign in, wait until the token has expired, and query", Needs: []Need{NeedsWait},
		waits: true,
		try: func(ctx context.Context, t *trial) {
			who, err := t.token(ctx, Admin)
			if t.failed("the token", err) {
				return
			}
			conn, err := t.open(ctx, &startup{user: who.User, password: who.Token})
			if t.failed("the sign-in", err) {
				return
			}
			defer conn.Close(ctx)
			if !t.waitFor(ctx, who) {
				return
			}
			if _, err := conn.Exec(ctx, "SELECT 1"); err != nil {
				t.observeError(err)
				t.contradict("the session has ended")
			}
		},
	},
	{
		ID: "refused-expired", Text: "The text for an expired token is known.", Standing: Reported,
		Hints: signIn("access token has expired"),
		How:   "wait until the administrator's token has expired, and present it", Needs: []Need{NeedsWait},
		waits: true,
		try:   tryExpired,
	},
}

func tryExpired(ctx context.Context, t *trial) {
	if t.expired.Token == "" {
		who, err := t.token(ctx, Admin)
		if t.failed("the administrator's token", err) || !t.waitFor(ctx, who) {
			return
		}
	}
	t.wantRefusal(t.connect(ctx, &startup{user: t.expired.User, password: t.expired.Token}))
}

// waitFor waits until a token has expired, with a minute for the server's clock if the
// token lives for long.
func (t *trial) waitFor(ctx context.Context, who credentials) bool {
	expires := time.Unix(int64(who.Claims.Expires), 0)
	left := time.Until(expires)
	if left > 5*time.Minute {
		left += time.Minute
	} else {
		left += time.Second
	}
	if left > t.settings.Wait {
		t.skip("the token lives for %s more, and %s allows %s", left.Round(time.Second), variableWait, t.settings.Wait)
		return false
	}
	select {
	case <-time.After(left):
		t.expired = who
		return true
	case <-ctx.Done():
		t.skip("the wait has ended: %s", ctx.Err())
		return false
	}
}
