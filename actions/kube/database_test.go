package kube_test

import (
	"bytes"
	"context"
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

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/artifact"
	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/internal/controlplane"
)

// postgres starts a real PostgreSQL and returns how psql is called.
func postgres(t *testing.T) []string {
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
