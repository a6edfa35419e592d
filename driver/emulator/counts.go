package emulator

// Counts are totals since the start.
type Counts struct {
	Requests int64 // token requests that arrived, refused ones included
	Tokens   int64 // tokens issued to them
	SignIns  int64 // sessions of Entra roles
	Refused  int64 // sign-ins of Entra roles refused
}

// Counts returns the totals so far.
func (a *Azure) Counts() Counts {
	return Counts{a.requests.Load(), a.tokens.Load(), a.signIns.Load(), a.refused.Load()}
}

const maxStartups = 1000

func (a *Azure) record(startup map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.startups = append(a.startups[max(0, len(a.startups)-maxStartups+1):], startup)
}

// Startups returns the parameters of the latest 1,000 startup packets.
func (a *Azure) Startups() []map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]map[string]string(nil), a.startups...)
}
