package aadpostgres

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// README's table of keys is the code's.
func TestReadmeKeys(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "| `aad_") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	for i, k := range dsn.Keys() {
		want := strings.ReplaceAll(fmt.Sprintf("| `%s` | %s | %s |", k.Name, k.Doc, k.Default), "|  |", "| |")
		if i >= len(rows) || rows[i] != want {
			t.Errorf("README's row %d is not\n%s", i+1, want)
		}
	}
	if len(rows) != len(dsn.Keys()) {
		t.Errorf("README has %d keys, the code %d", len(rows), len(dsn.Keys()))
	}
}

// Every DSN that is printed parses, and so does every key in prose.
func TestPrintedDSNs(t *testing.T) {
	quoted := regexp.MustCompile(`"((?:host=|aadpostgres://|postgres://)[^"]*)"`)
	n := 0
	for _, file := range []string{"README.md", "doc.go", "driver/driver.go"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range quoted.FindAllStringSubmatch(string(b), -1) {
			n++
			if _, err := dsn.Parse(m[1]); err != nil {
				t.Errorf("%s prints %q: %v", file, m[1], err)
			}
		}
	}
	if n < 4 {
		t.Errorf("found %d DSNs only: the pattern is off", n)
	}
}
