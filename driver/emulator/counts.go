package emulator

// Counts are totals since the emulator started.
type Counts struct {
	Requests int64 // token requests received, including failed ones
	Tokens   int64 // tokens issued in response to them
	SignIns  int64 // successful sign-ins of Entra roles
	Refused  int64 // refused sign-ins of Entra roles
}

// Counts returns the current totals.
func (a *Azure) Counts() Counts {
	return Counts{
		Requests: a.tokenRequests.Load(),
		Tokens:   a.issuedTokens.Load(),
		SignIns:  a.signIns.Load(),
		Refused:  a.refusedSignIns.Load(),
	}
}

// maxRecorded is how many startups and how many requests are kept.
const maxRecorded = 1000

func (a *Azure) recordStartup(params map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.startups = append(a.startups[max(0, len(a.startups)-maxRecorded+1):], params)
}

// Startups returns the parameters of the latest 1,000 startup packets, oldest first.
func (a *Azure) Startups() []map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]map[string]string(nil), a.startups...)
}
