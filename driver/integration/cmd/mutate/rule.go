package main

// ruleMutants are about the table of hints, and about the imports between packages.
var ruleMutants = []mutant{
	{"driver/internal/hint/hint.go", ` && r.holds(facts)`, ``, "TestNoHintWithoutItsFacts"},
	{"driver/internal/hint/hint.go", `if facts[name] == "" {`, `if _, known := facts[name]; !known {`, "TestNoHintWithoutItsFacts"},
	{"driver/internal/hint/hint.go", `names := strings.Fields(r.Facts)`, `names := strings.Fields("")`, "TestHints"},
	{"driver/internal/hint/hint.go", `names = append(names, m[1])`, `_ = m`, "TestFind"},
	{"driver/internal/hint/hint.go", `slices.Contains(steps, r.Step) && `, ``, "TestFind"},
	{"driver/internal/hint/text.go", `text[:min(len(text), longest)]`, `text[:max(len(text), 0*longest)]`, "TestFind"},
	{"driver/internal/hint/text.go", `normalize(strings.ToLower(`, `normalize((`, "TestFind|TestHints"},
	{"driver/internal/hint/text.go", `return normalize(`, `return string(`, "TestFind"},
	{"driver/internal/hint/text.go", `		text = text[end:]
`, ``, "TestFind"},
	{"driver/internal/hint/text.go", `withoutNames(lower(text))`, `lower(text)`, "TestSaysTokenRejected"},
	{"driver/internal/hint/hint.go", `text = said`, `text = text + said`, "TestFind"},
	{"driver/internal/hint/text.go", `if !within {`, `if true || !within {`, "TestFind"},
	{"driver/errcontext.go", `if other != nil || f["person_name"]`, `if f["person_name"]`, "TestHintsGiveNoRoleAway"},
	{"driver/errcontext.go", `other != nil || f["person_name"] != "" ||`, `other != nil ||`, "TestHintsGiveNoRoleAway"},
	{"driver/errcontext.go", ` || hint.SaysRoleExists(text) {`, ` {`, "TestHintsGiveNoRoleAway"},
	{"driver/errcontext.go", `role.Name != tokenUser(x.claims) {`, `false {`, "TestHintsGiveNoRoleAway"},
	{"driver/errcontext.go", `if x.intent.chose(x.claims) {`, `if true {`, "TestHintsNameTheIdentityThatWasMeant"},
	{"driver/identity.go", `if i.federated && !x.workloadIdentity() {`, `if false {`, "TestHintsGiveNoRoleAway"},
	{"driver/identity.go", `if len(i.statements) == 0 {`, `if true {`, "TestHintsGiveNoRoleAway"},
	{"driver/identity.go", `if !i.onlyPersons() {`, `if true {`, "TestHintsGiveNoRoleAway"},
	{"driver/identity.go", `return "another " + s.what`, `return s.what + " " + s.value`, "TestHintsNameTheIdentityThatWasMeant"},
	{"driver/user.go", `v != "" && strings.EqualFold(v, name)`, `v != ""`, "TestHintsGiveNoRoleAway"},
	{"driver/user.go", `!x.claims.Guest() && x.isPerson`, `x.isPerson`, "TestHintsGiveNoRoleAway"},
	{"driver/explain.go", `strings.HasPrefix(text, "OAuth`, `strings.Contains(text, "OAuth`, "TestNamesAreNoRefusal"},
	{"driver/internal/hint/hint.go", `return slices.Clone(rules)`, `return rules`, "TestRulesAreCopied"},
	{"driver/internal/hint/rules.go", `token, signIn, tls, network,`, `token, tls, signIn, network,`, "TestFind"},
	{"driver/internal/hint/rules.go", `token, signIn, tls, network,`, `token, tls, network, signIn,`, "TestFind"},

	{"dsn/format.go", `	"slices"
`, `	"slices"
	_ "github.com/jackc/pgx/v5"
`, ".: TestImports"},
	{"driver/internal/redact/redact.go", `	"unicode"
`, `	"unicode"
	_ "github.com/aadpostgres/aadpostgres/dsn"
`, ".: TestImports"},
	{"driver/internal/hint/hint.go", `	"slices"
`, `	"slices"
	_ "github.com/aadpostgres/aadpostgres/driver/internal/redact"
`, ".: TestImports"},
	{"driver/internal/token/cache.go", `	"errors"
`, `	"errors"
	_ "net/http"
`, ".: TestImports"},
	{"driver/internal/token/check.go", `	"strings"
`, `	"strings"
	_ "github.com/aadpostgres/aadpostgres/driver/internal/hint"
`, ".: TestImports"},
	{"driver/internal/credential/secrets.go", `	"strings"
`, `	"strings"
	_ "github.com/jackc/pgx/v5"
`, ".: TestImports"},
	{"driver/internal/credential/cause.go", `	"strings"
`, `	"strings"
	_ "github.com/aadpostgres/aadpostgres/driver/internal/hint"
`, ".: TestImports"},
	{"driver/limit.go", `	"sync/atomic"
`, `	"sync/atomic"
	_ "github.com/DATA-DOG/go-sqlmock"
`, ".: TestImports"},
}
