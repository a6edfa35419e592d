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

// moved is what changes in main.go when the service moves to Entra: the driver and
// its name.
var moved = strings.NewReplacer(
	`_ "github.com/jackc/pgx/v5/stdlib"`, `_ "github.com/aadpostgres/aadpostgres"`,
	`sql.Open("pgx", `, `sql.Open("aadpostgres", `)

// The service as it stands signs in with a password. Then its role becomes
// Entra's, two lines of the program change and the password goes out of the URL;
// it finds all that it left behind.
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
	left := before.list()
	before.stop()
	if n := az.Counts().SignIns; n != 0 {
		t.Fatalf("%d Entra sign-ins before the move", n)
	}

	// The administrator maps the role to the service's identity.
	id := az.Add(emulator.Identity{Name: "todo"})
	relabel(t, az, id)

	address.User = url.User("todo")
	env, err := az.Environ(emulator.AppService, id)
	if err != nil {
		t.Fatal(err)
	}
	after := start(t, build(t, moved), append(env, "AZURE_CLIENT_ID="+id.ClientID, "DATABASE_URL="+address.String())...)
	if found := after.list(); found != left || !strings.Contains(found, "write it down") {
		t.Errorf("left %s, found %s", left, found)
	}
	after.post("/todos", `{"text": "write it down"}`, http.StatusConflict)
	after.post("/todos", `{"text": "another", "tags": ["ü"]}`, http.StatusCreated)
	after.post("/todos/4/done", "", http.StatusOK) // 2 and 3 went to the conflicts
	var list []todo
	if err := json.Unmarshal([]byte(after.list()), &list); err != nil || len(list) != 2 || !list[0].Done || !list[1].Done || list[0].Due == nil || !slices.Equal(list[1].Tags, []string{"ü"}) {
		t.Errorf("%+v, %v", list, err)
	}
	config := admin.Config()
	config.Database = database.Name
	after.stopBusy(config)
	if n := az.Counts(); n.SignIns == 0 || n.Tokens == 0 || n.Refused != 0 {
		t.Errorf("%+v", n)
	}
}

// relabel maps the role todo to id, as an Entra administrator does.
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

// build compiles the program, with changes made to it, and returns its path.
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
		if n := differing(string(text), changed); n != 2 {
			t.Fatalf("%d lines changed, want 2", n)
		}
		here, err := filepath.Abs("main.go")
		if err != nil {
			t.Fatal(err)
		}
		file, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
		list, err := json.Marshal(map[string]any{"Replace": map[string]string{here: file}})
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

func differing(a, b string) (n int) {
	for i, line := range strings.Split(a, "\n") {
		if line != strings.Split(b, "\n")[i] {
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
	if text, err := io.ReadAll(r.Body); r.StatusCode != status || err != nil {
		s.t.Errorf("%s %s: %s: %s, %v", path, body, r.Status, text, err)
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
	if err != nil || r.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s, %v", r.Status, text, err)
	}
	return string(text)
}

// stop asks it to end, and sees that it does so in good order.
func (s *service) stop() {
	s.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	if err := errors.Join(s.cmd.Process.Signal(syscall.SIGTERM), s.cmd.Wait()); err != nil {
		s.t.Error(err)
	}
}

// stopBusy is stop with a request under way, which is answered before it ends.
func (s *service) stopBusy(superuser *pgx.ConnConfig) {
	s.t.Helper()
	ctx := s.t.Context()
	eventually := func(what string, is func() bool) {
		s.t.Helper()
		for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
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
	eventually("the request waits", func() (waits bool) {
		err := holder.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)").Scan(&waits)
		return err == nil && waits
	})
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	eventually("it listens no more", func() bool {
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
