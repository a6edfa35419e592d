package main

// ruleMutants are about the table of hints, and about the imports between packages.
var ruleMutants = []mutant{
	{"driver/internal/hint/hint.go", ` && r.holds(facts)`, ``, "TestNoHintWithoutItsFacts"},
	{"driver/internal/hint/hint.go", `if facts[name] == "" {`, `if _, known := facts[name]; !known {`, "TestNoHintWithoutItsFacts"},
	{"driver/internal/hint/hint.go", `names := strings.Fields(r.Facts)`, `names := strings.Fields("")`, "TestHints"},
	{"driver/internal/hint/hint.go", `names = append(names, m[1])`, `_ = m`, "TestFind"},
	{"driver/internal/hint/hint.go", `slices.Contains(steps, r.Step) && `, ``, "TestFind"},
	{"driver/internal/hint/hint.go", `text[:min(len(text), longest)]`, `text[:max(len(text), 0*longest)]`, "TestFind"},
	{"driver/internal/hint/hint.go", `normalize(strings.ToLower(`, `normalize((`, "TestFind|TestHints"},
	{"driver/internal/hint/hint.go", `text = normalize(`, `text = string(`, "TestFind"},
	{"driver/internal/hint/hint.go", `		text = rest
`, `		_ = rest
`, "TestFind"},
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
