package main

import "time"

// A suite is the tests of another project, and how they are made to call package through.
type suite struct {
	name    string
	module  string // whose zip has the tests; or the path of the module in repo
	version string
	repo    string // public repository to clone at the tag version, if the zip does not have the tests
	folder  string // of the module in repo

	also     []string // other modules, as path@version, that are copied and patched too
	drop     []string // requirements that not every module proxy has
	packages []string // folders below the module's
	edits    []edit
	files    []file

	database  string        // default suites
	setup     string        // SQL that a superuser runs in the database
	tokenLife time.Duration // default 2 s; longer where pgx connects by itself, which does not retry if a token ends during the sign-in
	env       []string
	args      []string // of the test binary; {DSN} in env and args is the URL of the database, {PGX} that of pgx
}

// An edit replaces text in the files that match a pattern. It fails if there is none.
// A replacement that calls package through imports it.
type edit struct {
	files   string // as in path.Match, below the module's folder
	old     string // regular expression
	new     string
	keepUse string // a name like "os.Getenv", to use in the file so that its import stays in use
}

// A file is added.
type file struct{ name, content string }

var suites = []suite{
	{
		name: "pgx-stdlib", module: "github.com/jackc/pgx/v5", version: "v5.12.0",
		packages: []string{"stdlib"},
		setup:    pgxSetup,
		env:      []string{"PGX_TEST_DATABASE={DSN}"},
		edits: []edit{
			{"stdlib/sql*_test.go", `pgx\.ParseConfig\(os\.`, "through.ParseConfig(os.", "pgx.ParseConfig"},
			{"stdlib/sql*_test.go", `stdlib\.OpenDB\(`, "through.OpenDB(", "stdlib.OpenDB"},
			{"stdlib/sql_test.go", `stdlib\.OptionBeforeConnect\(`, "through.OptionBeforeConnect(", ""},
			{"stdlib/sql_test.go", `sql\.Open\(`, "through.Open(", ""},
			{"stdlib/sql_test.go", `pgxpool\.New\(`, "through.NewPool(", "pgxpool.New"},
		},
	},
	{
		name: "pgxpool", module: "github.com/jackc/pgx/v5", version: "v5.12.0",
		packages:  []string{"pgxpool"},
		setup:     pgxSetup,
		tokenLife: poolTokenLife,
		env:       []string{"PGX_TEST_DATABASE={DSN}"},
		edits: []edit{
			{"pgxpool/*_test.go", `pgxpool\.ParseConfig\(`, "through.ParsePoolConfig(", "pgxpool.ParseConfig"},
			{"pgxpool/*_test.go", `pgxpool\.New\(`, "through.NewPool(", "pgxpool.New"},
			{"pgxpool/pool_test.go", `pgx\.Connect\(`, "through.Connect(", ""},
			{"pgxpool/pool_test.go", `config\.BeforeConnect = (func\(ctx context\.Context, cfg \*pgx\.ConnConfig\) error \{\n(?:\t\t.*\n)+\t\})`,
				"config.BeforeConnect = through.Both(config.BeforeConnect, $1)", ""},
		},
	},
	{
		name: "golang-migrate", module: "github.com/golang-migrate/migrate/v4", version: "v4.20.1",
		packages: []string{"database/pgx/v5"},
		edits: []edit{
			{"database/pgx/v5/*.go", `sql\.Open\(`, "through.Open(", "sql.Open"},
			{"database/pgx/v5/pgx_test.go", `\n\t\tip, port, err := c\.FirstPort\(\)`, "\n\t\tip, port, err := through.Container(t)", ""},
			{"dktesting/dktesting.go", `testing\.Short\(\)`, "true", ""},
			{"dktesting/dktesting.go", `t\.Parallel\(\)\s+dktest\.Run\(.*\)`, "testFunc(t, dktest.ContainerInfo{})", ""},
		},
	},
	{
		name: "river", module: "github.com/riverqueue/river", version: "v0.51.2",
		also:      []string{"github.com/riverqueue/river/rivershared@v0.51.2"},
		packages:  []string{".", "riverdbtest", "riverlog", "rivermigrate", "rivertest", "internal/jobcompleter", "internal/leadership", "internal/maintenance", "internal/notifier"},
		tokenLife: poolTokenLife,
		env:       []string{"TEST_DATABASE_URL={DSN}"},
		edits: []edit{
			riverPool,
			{"*_test.go", `pgxpool\.New\(`, "through.NewPool(", "pgxpool.New"},
			{"river*/*_test.go", `pgxpool\.New\(`, "through.NewPool(", "pgxpool.New"},
		},
	},
	{
		name: "river-sql", module: "github.com/riverqueue/river/riverdriver/riverdatabasesql", version: "v0.51.2",
		also:     []string{"github.com/riverqueue/river/rivershared@v0.51.2"},
		packages: []string{"."},
		env:      []string{"TEST_DATABASE_URL={DSN}"},
		edits: []edit{
			{"*_test.go", `sql\.Open\(`, "through.Open(", "sql.Open"},
			riverPool,
		},
	},
	{
		name: "xorm", module: "xorm.io/xorm", version: "v1.4.3",
		drop:     []string{"gitee.com/travelliu/dm"},
		packages: []string{"tests"},
		database: "xorm_test",
		args:     []string{"-db=pgx", "-conn_str={DSN}", "-show_sql=false"},
		edits: []edit{
			{"tests/tests.go", `sql\.Open\(`, "through.Open(", "sql.Open"},
			{"tests/engine_test.go", `\n\t_ "gitee\.com/travelliu/dm"`, "", ""},
			{"core/db.go", `sql\.Open\(`, "through.Open(", "sql.Open"},
		},
	},
	{
		name: "sqlx", module: "github.com/jmoiron/sqlx", version: "v1.4.0",
		packages: []string{"."},
		env:      []string{"SQLX_POSTGRES_DSN={DSN}", "SQLX_MYSQL_DSN=skip", "SQLX_SQLITE_DSN=skip"},
		args:     []string{"-test.skip=^TestUsage"}, // for lib/pq: it creates its tables again and again, which fails with pgx's cached plans
		edits: []edit{
			{"sqlx_test.go", `Connect\("postgres", `, "Connect(through.Name(), ", ""},
			{"sqlx.go", `sql\.Open\(`, "through.Open(", "sql.Open"},
		},
		files: []file{{"aadpostgres_test.go", "package sqlx\n\nfunc init() { BindDriver(\"aadpostgres\", DOLLAR) }\n"}},
	},
	{
		name: "gorm", module: "gorm.io/gorm/tests", version: "v1.31.2",
		repo: "https://github.com/go-gorm/gorm", folder: "tests",
		packages: []string{"."},
		env:      []string{"GORM_DIALECT=postgres", "GORM_DSN={DSN}", "DEBUG=false"},
		edits: []edit{
			{"tests_test.go", `DSN:\s+dbDSN,\s+PreferSimpleProtocol: true,`, "Conn: through.Conn[gorm.ConnPool](dbDSN), DSN: dbDSN, PreferSimpleProtocol: true,", ""},
		},
	},
	{
		name: "goose", module: "github.com/pressly/goose/v3/internal/testing", version: "v3.30.0",
		repo: "https://github.com/pressly/goose", folder: "internal/testing",
		packages: []string{"integration"},
		args:     []string{"-test.run=Postgres"},
		edits: []edit{
			{"testdb/postgres.go", `func newPostgres\(.*\) \(.*\) \{`, "$0\n\tif true {\n\t\treturn through.Fresh()\n\t}", ""},
		},
	},
	{
		name: "bun", module: "github.com/uptrace/bun/internal/dbtest", version: "v1.3.0",
		repo: "https://github.com/uptrace/bun", folder: "internal/dbtest",
		packages: []string{"."},
		env:      []string{"PG={PGX}"}, // bun's own driver reads it too
		args:     []string{"-test.run=/^pgx$"},
		edits: []edit{
			{"db_test.go", `sql\.Open\("pgx", dsn\)`, `through.Database(dsn), error(nil)`, ""},
		},
	},
	{
		name: "ent", module: "entgo.io/ent/entc/integration", version: "v0.14.5",
		repo: "https://github.com/ent/ent", folder: "entc/integration",
		packages: []string{"."},
		args:     []string{"-test.run=^TestPostgres$/^14$"},
		edits: []edit{
			{"integration_test.go", `enttest\.Open\(t, dialect\.Postgres, addr, opts\)`,
				"enttest.NewClient(t, enttest.WithOptions(ent.Driver(sql.OpenDB(dialect.Postgres, through.Database(addr)))), opts)", ""},
		},
	},
}

// riverPool makes the pool that river's tests share.
var riverPool = edit{"../1/riversharedtest/*.go", `pgxpool\.ParseConfig\(`, "through.ParsePoolConfig(", ""}

// poolTokenLife is a tokenLife for suites of pgx's pool.
const poolTokenLife = 10 * time.Second

const pgxSetup = "CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE DOMAIN uint64 AS numeric(20,0)"
