package main

// execMutants are about what the program that aadpostgres exec runs does with a token.
var execMutants = []mutant{
	{"driver/cmd/aadpostgres/env.go", `name == "PGHOSTADDR" ||`, ``, "TestProgramEnv"},
	{"driver/cmd/aadpostgres/env.go", ` || isDriverDSN(value)`, ``, "TestProgramEnv"},
	{"driver/cmd/aadpostgres/env.go", `strings.Contains(database, "=") ||`, ``, "TestProgramEnv"},
	{"driver/cmd/aadpostgres/env.go", ` || strings.Contains(database, "://")`, ``, "TestProgramEnv"},
	{"driver/cmd/aadpostgres/env.go", `s[i] == '\\' || isSpace(s[i])`, `s[i] == '\\'`, "TestProgramEnv"},
	{"driver/cmd/aadpostgres/env.go", `trailing%2 == 1`, `trailing < 0`, "TestProgramEnv"},
	{"driver/cmd/aadpostgres/verify.go", `mode = requiredSSLMode(config.Insecure, mode, roots)`, `_ = requiredSSLMode(config.Insecure, mode, roots)`, "TestProgramEnv"},
	{"driver/cmd/aadpostgres/verify.go", `vars["PGREQUIREAUTH"] = "password"`, ``, "TestProgramEnv"},
	{"driver/cmd/aadpostgres/verify.go", `mode = "verify-full" // as in pgx`, `// as in pgx`, "TestProgramEnv"},
	{"driver/cmd/aadpostgres/verify.go", `vars["PGGSSENCMODE"] = "disable"`, ``, "TestProgramEnv"},
	{"driver/cmd/aadpostgres/verify.go", `if roots != "system" && (roots != "" || hasUserRoots()) {`, `if roots != "" || hasUserRoots() {`, "TestProgramEnv"},
}
