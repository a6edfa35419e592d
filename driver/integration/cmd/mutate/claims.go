package main

// claimMutants are about the trial of claims on Azure: where its tokens go, and what its
// report says.
var claimMutants = []mutant{
	{"driver/integration/azure/startup.go", `if !s.plaintext && (config.TLSConfig == nil || config.TLSConfig.InsecureSkipVerify) {`, `if false {`, "TestStartupIsVerified"},
	{"driver/integration/azure/mask.go", `k.pattern.ReplaceAllLiteralString(part, k.placeholder)`, `k.pattern.ReplaceAllLiteralString(part, part)`, "TestMask"},
	{"driver/integration/azure/mask.go", `			if k.pattern.MatchString(text) {`, `			if false {`, "TestLeaks"},
	{"driver/integration/azure/mask.go", `		inner = known // a part of it may be private still`, `		_ = known`, "TestMask"},
	{"driver/integration/azure/report.go", `if r.Target != "Azure" || r.Count(Confirmed) == 0 {`, `if r.Count(Confirmed) == 0 {`, "TestEmulator"},
	{"driver/integration/azure/azure.go", `if leaked := r.mask.leaks(report.dynamic()); leaked != "" {`, `if leaked := ""; leaked != "" {`, "TestReportThatLeaks"},
}
