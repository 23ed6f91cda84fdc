package kube_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/artifact"
	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/internal/controlplane"
)

// postgres starts a real PostgreSQL and returns how psql is called.
func postgres(t *testing.T) []string {
	t.Helper()
	return postgresOf(t, func(string) {})
}

// postgresOf starts one whose data a function has seen before.
func postgresOf(t *testing.T, prepare func(data string)) []string {
	t.Helper()
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(folders) == 0 {
		t.Skip("there is no PostgreSQL: install Debian's package postgresql")
	}
	bin := slices.Max(folders)
	dir, err := os.MkdirTemp("", "remedy-pg-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	attributes := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 { // it refuses to run as root
		who, err := user.Lookup("postgres")
		require.NoError(t, err)
		uid, _ := strconv.Atoi(who.Uid)
		gid, _ := strconv.Atoi(who.Gid)
		require.NoError(t, os.Chown(dir, uid, gid))
		attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	require.NoError(t, l.Close())
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "orders", "--auth=trust", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attributes, dir
	out, err := initdb.CombinedOutput()
	require.NoError(t, err, string(out))
	prepare(data)
	var log bytes.Buffer
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", port, "-k", dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "deadlock_timeout=1h")
	server.SysProcAttr, server.Dir, server.Stdout, server.Stderr = attributes, dir, &log, &log
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGQUIT)
		_ = server.Wait()
	})
	args := []string{filepath.Join(bin, "psql"), "-h", "127.0.0.1", "-p", port, "-U", "orders", "-d", "postgres"}
	require.Eventually(t, func() bool { return query(t, args, "SELECT 1") == "1" }, eventually, tick)
	return args
}

func query(t *testing.T, psql []string, sql string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), psql[0], append(slices.Clone(psql[1:]), "-X", "-q", "-A", "-t", "-c", sql)...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// open opens a session and runs statements in it, one after the other; it returns how it ended.
func open(t *testing.T, psql []string, statements string) <-chan error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, psql[0], append(slices.Clone(psql[1:]), "-X", "-q", "-v", "ON_ERROR_STOP=1")...)
	in, err := cmd.StdinPipe() // it stays open, as a forgotten transaction does
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = in.Write([]byte(statements))
	require.NoError(t, err)
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() { ended <- cmd.Wait(); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return ended
}

func TestADeadlockOfPostgreSQLIsEnded(t *testing.T) {
	c := newCluster(t)
	psql := postgres(t)
	c.node("database-a")
	c.ready("postgres-primary")
	k := c.as(controlplane.Admin, kube.Options{Artifacts: artifact.Folder(t.TempDir()), BlockedFor: time.Second, Commands: kube.Commands{"psql": {Args: psql},
		"backup_data": {Args: append([]string{strings.TrimSuffix(psql[0], "psql") + "pg_dump"}, psql[1:]...)}}})
	query(t, psql, "CREATE TABLE orders (id int PRIMARY KEY, n int); INSERT INTO orders VALUES (1, 0), (2, 0), (3, 0)")
	repair := func(backup bool) (*actions.Request, *conductor) {
		return c.artifactRequest("repair_database", "", map[string]any{"database": "postgres-primary", "repairType": "terminate_deadlocks", "backupBeforeRepair": backup})
	}
	calm, _ := repair(false)
	r, err := k.execute(calm)
	require.NoError(t, err)
	require.Equal(t, "no session blocks others", r.Message)

	// Two sessions wait for each other, and a third sits on a row that a fourth wants.
	lock := func(name, first, second string) <-chan error {
		return open(t, psql, "SET application_name = '"+name+"'; BEGIN; UPDATE orders SET n = n + 1 WHERE id = "+first+"; SELECT pg_sleep(0.3); UPDATE orders SET n = n + 1 WHERE id = "+second+";\n")
	}
	one, two := lock("one", "1", "2"), lock("two", "2", "1")
	open(t, psql, "SET application_name = 'idle'; BEGIN; UPDATE orders SET n = 1 WHERE id = 3;\n")
	require.Eventually(t, func() bool {
		return query(t, psql, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'idle' AND state = 'idle in transaction'") == "1"
	}, eventually, tick)
	waiter := open(t, psql, "SET application_name = 'waiter'; UPDATE orders SET n = 2 WHERE id = 3;\n\\q\n")
	require.Eventually(t, func() bool {
		return query(t, psql, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND now() - state_change > interval '1.2 s'") == "3"
	}, eventually, tick)

	req, con := repair(true)
	p, err := k.preview(req)
	require.NoError(t, err)
	require.Equal(t, actions.Verified, p.Verdict)
	require.Len(t, p.Change, 2, p.Change)
	require.Contains(t, strings.Join(p.Change, "\n"), "(idle), for which 1 wait since")
	require.Equal(t, "3", query(t, psql, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"), "a dry run ends nobody")
	r, err = k.execute(req)
	require.NoError(t, err)
	require.Equal(t, "ended 2 sessions that blocked others", r.Message)
	require.NotEmpty(t, con.undo.State["sessions"])
	require.Equal(t, "0", query(t, psql, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'idle'"))
	require.NoError(t, <-waiter, "who waited goes on")
	var failed error
	select {
	case failed = <-one:
	case failed = <-two:
	}
	require.Error(t, failed, "one of the two was ended")
	require.Eventually(t, func() bool {
		return query(t, psql, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == "0"
	}, eventually, tick)
	req.Begun = con.undo
	require.Equal(t, actions.OutcomeHappened, k.probe(req))

	bare := c.as(controlplane.Admin, kube.Options{Commands: kube.Commands{"psql": {Args: psql}}})
	_, err = bare.preview(req)
	require.ErrorContains(t, err, "backup_data is not configured")
	index, _ := c.request("repair_database", map[string]any{"namespace": c.namespace, "database": "postgres-primary", "repairType": "index", "backupBeforeRepair": false})
	_, err = k.preview(index)
	require.ErrorContains(t, err, "repair_database.index is not configured")
}

// limited is psql of a role that may see all sessions, and end those of its own only.
func limited(t *testing.T, psql []string) []string {
	t.Helper()
	query(t, psql, "CREATE ROLE limited LOGIN; GRANT pg_read_all_stats TO limited; GRANT ALL ON orders TO limited")
	other := slices.Clone(psql)
	other[slices.Index(other, "-U")+1] = "limited"
	return other
}

// blocked has a session sit on a row that another wants, which ends when it gets it.
func blocked(t *testing.T, psql []string, name, id string) <-chan error {
	t.Helper()
	open(t, psql, "SET application_name = '"+name+"'; BEGIN; UPDATE orders SET n = 1 WHERE id = "+id+";\n")
	require.Eventually(t, func() bool {
		return query(t, psql, "SELECT count(*) FROM pg_stat_activity WHERE application_name = '"+name+"' AND state = 'idle in transaction'") == "1"
	}, eventually, tick)
	waiter := open(t, psql, "SET application_name = 'waits for "+name+"'; UPDATE orders SET n = 2 WHERE id = "+id+";\n\\q\n")
	require.Eventually(t, func() bool {
		return query(t, psql, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'waits for "+name+"' AND wait_event_type = 'Lock' AND now() - state_change > interval '0.2 s'") == "1"
	}, eventually, tick)
	return waiter
}

func TestASessionThatCannotBeEndedKeepsNoOther(t *testing.T) {
	c := newCluster(t)
	psql := postgres(t)
	c.node("sessions-a")
	c.ready("db")
	query(t, psql, "CREATE TABLE orders (id int PRIMARY KEY, n int); INSERT INTO orders VALUES (1, 0), (2, 0), (3, 0)")
	few := limited(t, psql)
	repair := func() (*actions.Request, *conductor) {
		return c.artifactRequest("repair_database", "", map[string]any{"database": "db", "repairType": "terminate_deadlocks", "backupBeforeRepair": false})
	}
	// What a site gives psql in its environment reaches it: the role is in it.
	at := slices.Index(few, "-U")
	k := c.as(controlplane.Admin, kube.Options{BlockedFor: 100 * time.Millisecond, Commands: kube.Commands{"psql": {Args: slices.Delete(slices.Clone(few), at, at+2), Env: map[string]string{"PGUSER": "limited"}}}})
	strong := blocked(t, psql, "strong", "1")
	weak := blocked(t, few, "weak", "2")
	req, _ := repair()
	_, err := k.execute(req)
	require.ErrorContains(t, err, "1 of 2 sessions that blocked others were ended: session ")
	require.ErrorContains(t, err, "(strong), for which 1 wait since")
	require.ErrorContains(t, err, "superuser", "why is told")
	require.NotContains(t, err.Error(), "(weak)")
	require.NoError(t, <-weak, "who waited for the other goes on")

	// Those that end by themselves before it is their turn are no failure, and not told as ended.
	blocked(t, few, "weak", "3")
	all := c.as(controlplane.Admin, kube.Options{BlockedFor: 100 * time.Millisecond, Commands: kube.Commands{"psql": {Args: psql}}})
	req, con := repair()
	con.before = func() {
		require.Equal(t, "t", query(t, psql, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'strong'"))
	}
	r, err := all.execute(req)
	require.NoError(t, err)
	require.Equal(t, "ended 1 sessions that blocked others; 1 had ended by themselves", r.Message)
	require.Len(t, r.Outputs["sessions"], 1)
	require.Contains(t, r.Outputs["sessions"].([]any)[0], "(weak)")
	require.NoError(t, <-strong)
}

// A session that ends between the look at it and the signal is answered with false, as is one that stays.
func TestASessionThatEndsJustThenIsNoFailure(t *testing.T) {
	c := newCluster(t)
	c.kubelet("just-a")
	c.ready("db")
	for left, want := range map[string]string{"": "", "7": "session 7 (idle), for which 1 wait since 60s: it was told to end, and goes on after 10s"} {
		script := `for query; do :; done; case "$query" in *pg_terminate_backend*) echo f;; "SELECT pid FROM"*) printf '` + left + `';; *) printf '7\t1\t90\t90\t\tidle\n8\t2\t60\t60\t7\twaits\n';; esac`
		k := c.commands(kube.Commands{"psql": {Args: shell(script)}})
		req, _ := c.artifactRequest("repair_database", "", map[string]any{"database": "db", "repairType": "terminate_deadlocks", "backupBeforeRepair": false})
		r, err := k.execute(req)
		if want != "" {
			require.ErrorContains(t, err, want)
			require.False(t, actions.IsTransient(err))
			continue
		}
		require.NoError(t, err)
		require.Equal(t, "ended 0 sessions that blocked others; 1 had ended by themselves", r.Message)
	}
}

// The example of a site asks for what only a primary answers.
func TestTheProbeOfTheExampleFailsOnAStandby(t *testing.T) {
	data, err := os.ReadFile("../../examples/plans/site.yaml")
	require.NoError(t, err)
	var site struct {
		Commands map[string]any `json:"commands"`
	}
	require.NoError(t, yaml.Unmarshal(data, &site))
	text, err := yaml.Marshal(site.Commands)
	require.NoError(t, err)
	commands, err := kube.ParseCommands(text)
	require.NoError(t, err)
	probe := func(psql []string) error { // the last of an option counts
		args := append(slices.Clone(commands["failover_database"].Probe[1:]), psql[1:]...)
		return exec.CommandContext(t.Context(), psql[0], args...).Run()
	}
	require.NoError(t, probe(postgres(t)))
	standby := postgresOf(t, func(data string) {
		require.NoError(t, os.WriteFile(filepath.Join(data, "standby.signal"), nil, 0o644))
	})
	require.Equal(t, "t", query(t, standby, "SELECT pg_is_in_recovery()"))
	exit, ok := errors.AsType[*exec.ExitError](probe(standby))
	require.True(t, ok)
	require.Equal(t, 1, exit.ExitCode())
}
