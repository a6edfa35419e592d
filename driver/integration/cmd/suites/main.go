// Command suites runs the test suites of other projects twice, through pgx and through
// this project's driver, and compares the result of each test:
//
//	.ci/suites
//
// Arguments select suites by name. With -list it prints their names. Both runs use one
// PostgreSQL, which the emulator starts. The driver's run signs in with tokens that are
// valid for two seconds, or for ten where pgx's pool connects, over connections that live
// for one.
//
// The suites are not part of this repository. Each comes from the module proxy, or from
// its public repository if its module does not contain it. A suite that cannot be
// downloaded is reported as not run, which is not a failure.
//
// The exit status is 1 if a suite fails to build, or if a difference is not listed, with
// its reason, in exceptions.txt.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("suites: ")
	list := flag.Bool("list", false, "print the names of the suites")
	keep := flag.Bool("keep", false, "keep the folder of the suites and of their output")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: suites [-keep] [-list] [NAME ...]")
		flag.PrintDefaults()
	}
	flag.Parse()
	selected, err := selectSuites(flag.Args())
	if err != nil {
		log.Fatal(err)
	}
	if *list {
		for _, s := range selected {
			fmt.Println(s.name)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed, err := run(ctx, os.Stdout, selected, *keep)
	if err != nil {
		log.Fatal(err)
	}
	if failed {
		os.Exit(1)
	}
}

// selectSuites returns the suites of those names, or all if there are none.
func selectSuites(names []string) ([]suite, error) {
	if len(names) == 0 {
		return suites, nil
	}
	var selected []suite
	for _, name := range names {
		i := slices.IndexFunc(suites, func(s suite) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown suite %q; -list prints the names", name)
		}
		selected = append(selected, suites[i])
	}
	return selected, nil
}

// run runs the suites, prints what each has found, and the table at the end.
func run(ctx context.Context, out io.Writer, selected []suite, keep bool) (failed bool, err error) {
	exceptions, err := parseExceptions(exceptionsText)
	if err != nil {
		return false, err
	}
	l, err := newLab(ctx, out)
	if err != nil {
		return false, err
	}
	defer func() {
		if keep {
			fmt.Fprintln(out, "kept:", l.dir)
			return
		}
		l.removeAll()
	}()
	defer l.azure.Close()
	var reports []report
	for _, s := range selected {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		fmt.Fprintf(out, "== %s %s\n", s.name, s.version)
		r := l.runSuite(ctx, s, exceptions)
		r.print(out)
		reports = append(reports, r)
		failed = failed || r.failed()
	}
	printTable(out, reports)
	return failed, nil
}

// printTable prints a line for each suite, and how many did not run.
func printTable(out io.Writer, reports []report) {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "suite\tversion\tran\tpgx passed\tours passed\tdifferences\texplained\tsign-ins\tbuild\tpgx\tours")
	notRun := 0
	for _, r := range reports {
		if r.err != nil || r.notRun != "" {
			fmt.Fprintf(w, "%s\t%s\t%s\n", r.suite.name, r.suite.version, r.state())
		} else {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", r.suite.name, r.suite.version, r.ran, r.passed[0], r.passed[1],
				len(r.differences), r.explained(), r.signIns, r.build.Round(time.Second), r.took[0].Round(time.Second), r.took[1].Round(time.Second))
		}
		if r.notRun != "" {
			notRun++
		}
	}
	w.Flush()
	fmt.Fprintf(out, "%d of %d suites not run\n", notRun, len(reports))
}
