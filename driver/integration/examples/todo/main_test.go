package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// toEntra has the changes in main.go for the move to Entra: the driver and its name.
var toEntra = strings.NewReplacer(
	`_ "github.com/jackc/pgx/v5/stdlib"`, `_ "github.com/aadpostgres/aadpostgres"`,
	`sql.Open("pgx", `, `sql.Open("aadpostgres", `)

// TestMoveToEntra runs the service with a password first. Then an administrator assigns its
// role to an Entra identity, two lines of the program change, and the password is removed
// from the URL. The service must find the data that it had stored.
func TestMoveToEntra(t *testing.T) {
	az := emulator.Start(t)
	ctx := t.Context()
	database := az.Database(t)
	admin, err := pgx.Connect(ctx, az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	if _, err := admin.Exec(ctx, "CREATE ROLE todo LOGIN PASSWORD 'geheim'"); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(database.URL("sslmode=verify-full"))
	if err != nil {
		t.Fatal(err)
	}

	address.User = url.UserPassword("todo", "geheim")
	before := start(t, build(t, nil), "DATABASE_URL="+address.String())
	before.post("/todos", `{"text": "write it down", "due": "2026-12-24T18:00:00+01:00", "tags": ["a", "b,c"]}`, http.StatusCreated)
	before.post("/todos", `{"text": "write it down"}`, http.StatusConflict)
	before.post("/todos/1/done", "", http.StatusOK)
	stored := before.list()
	before.stop()
	if got := az.Counts().SignIns; got != 0 {
		t.Fatalf("Entra sign-ins before the move = %d, want 0", got)
	}

	id := az.Add(emulator.Identity{Name: "todo"})
	relabel(t, az, id)

	address.User = url.User("todo")
	env, err := az.Environ(emulator.AppService, id)
	if err != nil {
		t.Fatal(err)
	}
	after := start(t, build(t, toEntra), append(env, "AZURE_CLIENT_ID="+id.ClientID, "DATABASE_URL="+address.String())...)
	if got := after.list(); got != stored || !strings.Contains(got, "write it down") {
		t.Errorf("list = %s, want %s", got, stored)
	}
	after.post("/todos", `{"text": "write it down"}`, http.StatusConflict)
	after.post("/todos", `{"text": "another", "tags": ["ü"]}`, http.StatusCreated)
	after.post("/todos/4/done", "", http.StatusOK) // the conflicts used ids 2 and 3
	checkList(t, after.list())
	config := admin.Config()
	config.Database = database.Name
	after.stopBusy(config)
	counts := az.Counts()
	if counts.SignIns == 0 {
		t.Error("sign-ins = 0, want some")
	}
	if counts.Tokens == 0 {
		t.Error("tokens = 0, want some")
	}
	if counts.Refused != 0 {
		t.Errorf("refused sign-ins = %d, want 0", counts.Refused)
	}
}

// checkList checks the list after both entries are done.
func checkList(t *testing.T, text string) {
	t.Helper()
	var list []todo
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 {
		t.Fatalf("list = %+v, want 2 entries", list)
	}
	for _, entry := range list {
		if !entry.Done {
			t.Errorf("%+v is not done, want done", entry)
		}
	}
	if list[0].Due == nil {
		t.Errorf("%+v is never due, want a time", list[0])
	}
	if got, want := list[1].Tags, []string{"ü"}; !slices.Equal(got, want) {
		t.Errorf("tags = %q, want %q", got, want)
	}
}

// relabel assigns the role todo to id, as an Entra administrator does.
func relabel(t *testing.T, az *emulator.Azure, id emulator.Identity) {
	t.Helper()
	boss := az.Add(emulator.Identity{Name: "boss"})
	if err := az.GrantAdmin(t.Context(), boss); err != nil {
		t.Fatal(err)
	}
	c, err := driver.NewConnector(az.DSN("aad_auth=managed-identity", "aad_client_id="+boss.ClientID), driver.WithTransport(az.Client()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.(*stdlib.Conn).Conn().Exec(t.Context(), fmt.Sprintf(`SECURITY LABEL FOR "pgaadauth" ON ROLE todo IS 'aadauth,oid=%s,type=service'`, id.ObjectID)); err != nil {
		t.Fatal(err)
	}
}

// build compiles the program with changes to its source, which may be nil. It returns the
// program's path.
func build(t *testing.T, changes *strings.Replacer) string {
	t.Helper()
	text, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	args := []string{"build", "-o", filepath.Join(dir, "todo")}
	if changes != nil {
		changed := changes.Replace(string(text))
		if got := countChangedLines(string(text), changed); got != 2 {
			t.Fatalf("changed lines = %d, want 2", got)
		}
		path, err := filepath.Abs("main.go")
		if err != nil {
			t.Fatal(err)
		}
		file, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
		list, err := json.Marshal(map[string]any{"Replace": map[string]string{path: file}})
		if err := errors.Join(err, os.WriteFile(file, []byte(changed), 0o644), os.WriteFile(overlay, list, 0o644)); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-overlay", overlay)
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, "todo")
}

// countChangedLines compares two texts with the same number of lines.
func countChangedLines(a, b string) (n int) {
	linesB := strings.Split(b, "\n")
	for i, line := range strings.Split(a, "\n") {
		if line != linesB[i] {
			n++
		}
	}
	return n
}

// A service is the running program.
type service struct {
	t   *testing.T
	cmd *exec.Cmd
	url string
}

func start(t *testing.T, program string, env ...string) *service {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(append(os.Environ(), "PORT=0"), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err := errors.Join(err, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s did not start: %v", program, err)
	}
	return &service{t, cmd, strings.TrimSpace(address)}
}

func (s *service) post(path, body string, status int) {
	s.t.Helper()
	r, err := http.Post(s.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	if r.StatusCode != status {
		s.t.Errorf("POST %s %s = %s, want %d: %s", path, body, r.Status, status, text)
	}
}

func (s *service) list() string {
	s.t.Helper()
	r, err := http.Get(s.url + "/todos")
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if r.StatusCode != http.StatusOK {
		s.t.Fatalf("GET /todos = %s, want %d: %s", r.Status, http.StatusOK, text)
	}
	return string(text)
}

// stop sends SIGTERM and checks that the program exits with status 0.
func (s *service) stop() {
	s.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	if err := errors.Join(s.cmd.Process.Signal(syscall.SIGTERM), s.cmd.Wait()); err != nil {
		s.t.Error(err)
	}
}

// stopBusy is like stop, with an active request that must be answered.
func (s *service) stopBusy(superuser *pgx.ConnConfig) {
	s.t.Helper()
	ctx := s.t.Context()
	eventually := func(what string, done func() bool) {
		s.t.Helper()
		for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				s.t.Fatalf("not within a minute: %s", what)
			}
		}
	}
	holder, err := pgx.ConnectConfig(ctx, superuser)
	if err != nil {
		s.t.Fatal(err)
	}
	defer holder.Close(ctx)
	if _, err := holder.Exec(ctx, "BEGIN; LOCK TABLE todo"); err != nil {
		s.t.Fatal(err)
	}
	answered := make(chan bool)
	go func() {
		defer close(answered)
		s.post("/todos", `{"text": "late"}`, http.StatusCreated)
	}()
	eventually("the request waits for the lock", func() (waits bool) {
		err := holder.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)").Scan(&waits)
		return err == nil && waits
	})
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	eventually("the port refuses connections", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if _, err := holder.Exec(ctx, "ROLLBACK"); err != nil {
		s.t.Fatal(err)
	}
	<-answered
	if err := s.cmd.Wait(); err != nil {
		s.t.Error(err)
	}
}
