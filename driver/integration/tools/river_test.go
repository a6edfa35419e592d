package tools

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"github.com/aadpostgres/aadpostgres/driver"
)

// A mail is a job. Its worker inserts a row into table sent and completes the job in one
// transaction.
type mail struct {
	To string `json:"to" river:"unique"`
}

func (mail) Kind() string { return "mail" }

type mailer struct {
	river.WorkerDefaults[mail]
	db *sql.DB
}

func (m *mailer) Work(ctx context.Context, job *river.Job[mail]) error {
	if job.Args.To == "nobody" && job.Attempt == 1 {
		return errors.New("no such mailbox")
	}
	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "INSERT INTO sent VALUES ($1)", job.Args.To); err != nil {
		return err
	}
	if _, err := river.JobCompleteTx[*riverdatabasesql.Driver](ctx, tx, job); err != nil {
		return err
	}
	return tx.Commit()
}

func (*mailer) NextRetry(*river.Job[mail]) time.Time { return time.Now() }

func TestRiver(t *testing.T) {
	d := newTestDB(t)
	db, ctx := d.open(), t.Context()
	quiet := slog.New(slog.DiscardHandler) // river logs that expire terminates its sessions
	migrator, err := rivermigrate.New(riverdatabasesql.New(db), &rivermigrate.Config{Logger: quiet})
	check(t, err)
	up, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	check(t, err)
	if all := migrator.AllVersions(); len(up.Versions) != len(all) || len(all) == 0 {
		t.Errorf("migrations = %d, want all %d", len(up.Versions), len(all))
	}
	_, err = db.Exec("CREATE TABLE sent (who text); CREATE TABLE customer (name text)")
	check(t, err)

	config := &river.Config{
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}},
		Workers:           river.NewWorkers(),
		Logger:            quiet,
		FetchPollInterval: 100 * time.Millisecond,
	}
	river.AddWorker(config.Workers, &mailer{db: db})
	client, err := river.NewClient(riverdatabasesql.New(db), config)
	check(t, err)
	events, cancel := client.Subscribe(river.EventKindJobCompleted, river.EventKindJobFailed)
	defer cancel()
	// wait waits until n jobs have ended.
	wait := func(n int) {
		t.Helper()
		timeout := time.After(time.Minute)
		for done := range n {
			select {
			case <-events:
			case <-timeout:
				t.Fatalf("jobs that ended within a minute = %d, want %d", done, n)
			}
		}
	}
	// order inserts a customer and the mail in one transaction. It reports whether the mail
	// was inserted: it is unique.
	order := func(name string, commit bool) (inserted bool) {
		t.Helper()
		tx, err := db.BeginTx(ctx, nil)
		check(t, err)
		defer tx.Rollback()
		_, err = tx.Exec("INSERT INTO customer VALUES ($1)", name)
		check(t, err)
		result, err := client.InsertTx(ctx, tx, mail{To: name}, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true}})
		check(t, err)
		if commit {
			check(t, tx.Commit())
		}
		return !result.UniqueSkippedAsDuplicate
	}
	order("Ada", true)
	order("Ghost", false)
	check(t, client.Start(context.Background()))
	wait(1)

	d.expire()
	d.expire() // river reconnects at once, with the token that was still valid
	if !order("Mary", true) {
		t.Error("the first mail to Mary was not inserted, want it inserted")
	}
	if order("Mary", true) {
		t.Error("the second mail to Mary was inserted, want it skipped")
	}
	order("nobody", true)
	_, err = client.InsertMany(ctx, []river.InsertManyParams{{Args: mail{To: "Emmy"}}, {Args: mail{To: "Rosa"}}})
	check(t, err)
	wait(5) // four jobs, one of which fails once
	check(t, client.Stop(ctx))

	var sent string
	check(t, db.QueryRow("SELECT string_agg(who, ' ' ORDER BY who COLLATE \"C\") FROM sent").Scan(&sent))
	if sent != "Ada Emmy Mary Rosa nobody" {
		t.Errorf("sent to %q, want %q", sent, "Ada Emmy Mary Rosa nobody")
	}
	jobs, err := client.JobList(ctx, river.NewJobListParams().States(rivertype.JobStateCompleted))
	check(t, err)
	for _, job := range jobs.Jobs {
		var got, want []string
		for _, e := range job.Errors {
			got = append(got, e.Error)
		}
		if string(job.EncodedArgs) == `{"to": "nobody"}` {
			want = []string{"no such mailbox"}
		}
		checkEqual(t, "errors of job "+string(job.EncodedArgs), got, want)
	}
	if len(jobs.Jobs) != 5 {
		t.Errorf("jobs = %d, want 5", len(jobs.Jobs))
	}
	down, err := migrator.Migrate(ctx, rivermigrate.DirectionDown, &rivermigrate.MigrateOpts{TargetVersion: -1})
	check(t, err)
	if len(down.Versions) != len(up.Versions) {
		t.Errorf("migrations down = %d, want %d", len(down.Versions), len(up.Versions))
	}
	var left bool
	check(t, db.QueryRow("SELECT to_regclass('river_job') IS NOT NULL").Scan(&left))
	if left {
		t.Error("table river_job exists, want it dropped")
	}
}

// A note is a job that does nothing.
type note struct{}

func (note) Kind() string { return "note" }

// TestRiverPgx runs river over pgxpool, where it listens for notifications: a job is
// worked at once, although river polls only once an hour.
func TestRiverPgx(t *testing.T) {
	d := newTestDB(t)
	ctx := t.Context()
	c, err := driver.NewConnector(d.DSN)
	check(t, err)
	defer c.Close()
	pools, err := pgxpool.ParseConfig("")
	check(t, err)
	pools.ConnConfig, pools.BeforeConnect = c.Config(), c.BeforeConnect
	pool, err := pgxpool.NewWithConfig(ctx, pools)
	check(t, err)
	defer pool.Close()
	quiet := slog.New(slog.DiscardHandler)
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: quiet})
	check(t, err)
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	check(t, err)
	config := &river.Config{
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 1}},
		Workers:           river.NewWorkers(),
		Logger:            quiet,
		FetchPollInterval: time.Hour,
	}
	river.AddWorker(config.Workers, river.WorkFunc(func(context.Context, *river.Job[note]) error { return nil }))
	client, err := river.NewClient(riverpgxv5.New(pool), config)
	check(t, err)
	check(t, client.Start(context.Background()))
	defer client.Stop(context.Background())
	worked := func() {
		t.Helper()
		var got rivertype.JobState
		for range 20 { // river listens some time after it has started or reconnected
			inserted, err := client.Insert(ctx, note{}, nil)
			check(t, err)
			time.Sleep(time.Second)
			job, err := client.JobGet(ctx, inserted.Job.ID)
			check(t, err)
			if got = job.State; got == rivertype.JobStateCompleted {
				return
			}
		}
		t.Errorf("state of a job after a second = %s, want %s", got, rivertype.JobStateCompleted)
	}
	worked()
	d.expire()
	d.expire() // as above
	worked()
}
