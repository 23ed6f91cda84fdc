package kube_test

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/artifact"
	"github.com/remedykit/remedy/actions/kube"
	"github.com/remedykit/remedy/internal/controlplane"
)

// artifactOf reads an artifact back.
func artifactOf(t *testing.T, s artifact.Store, a actions.Artifact) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), "r", a.Name)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, errors.Join(err, r.Close()))
	sum := sha256.Sum256(data)
	require.Equal(t, a.SHA256, hex.EncodeToString(sum[:]))
	return data
}

// ready makes a deployment with one pod that runs; commands in it run on this machine.
func (c *cluster) ready(name string) {
	c.Helper()
	c.deployment(name, 1, "")
	c.settled(name)
}

func (c *cluster) artifactRequest(action, name string, parameters map[string]any) (*actions.Request, *conductor) {
	c.Helper()
	parameters["namespace"] = c.namespace
	req, con := c.request(action, parameters)
	req.Task.Artifact = name
	return req, con
}

func TestFilesAreCopiedOutOfAPod(t *testing.T) {
	c := newCluster(t)
	c.node("backup-a")
	c.ready("web")
	store := artifact.Folder(t.TempDir())
	k := c.as(controlplane.Admin, kube.Options{Artifacts: store})
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "payments.log"), []byte("paid"), 0o600))
	req, _ := c.artifactRequest("backup_data", "backup_s", map[string]any{"deployment": "web", "paths": []any{dir}})
	p, err := k.preview(req)
	require.NoError(t, err)
	require.Contains(t, p.Change[0], "keep what tar -C / -cf - -- "+strings.TrimPrefix(dir, "/")+" writes in Pod "+c.namespace+"/web-")
	require.Equal(t, actions.OutcomeDidNotHappen, k.probe(req))
	r, err := k.execute(req)
	require.NoError(t, err)
	require.Equal(t, actions.OutcomeHappened, k.probe(req))
	archive := tar.NewReader(strings.NewReader(string(artifactOf(t, store, r.Artifacts[0]))))
	var found string
	for h, err := archive.Next(); err == nil; h, err = archive.Next() {
		if strings.HasSuffix(h.Name, "payments.log") {
			data, err := io.ReadAll(archive)
			require.NoError(t, err)
			found = string(data)
		}
	}
	require.Equal(t, "paid", found)

	missing, _ := c.artifactRequest("backup_data", "backup_m", map[string]any{"deployment": "web", "paths": []any{"/does/not/exist"}})
	_, err = k.execute(missing)
	require.ErrorContains(t, err, "exit status 2")
	require.ErrorContains(t, err, "tar in Pod "+c.namespace+"/web-")
	_, err = store.Open(t.Context(), "r", "backup_m")
	require.ErrorIs(t, err, artifact.ErrNotFound, "half a backup is none")
	_, err = c.execute(req)
	require.ErrorContains(t, err, "there is nowhere to keep artifacts")
	elsewhere, _ := c.artifactRequest("backup_data", "b", map[string]any{"deployment": "web", "paths": []any{"/x"}, "destination": "s3://attacker"})
	_, err = k.execute(elsewhere)
	require.ErrorContains(t, err, "backups go to the runner's own store")
}

func TestOldFilesAreCleanedUpWhereTheSiteAllows(t *testing.T) {
	c := newCluster(t)
	c.node("clean-a")
	c.ready("web")
	root := t.TempDir()
	cache, other := filepath.Join(root, "cache"), filepath.Join(root, "other")
	for _, d := range []string{cache, other} {
		require.NoError(t, os.Mkdir(d, 0o700))
		for name, age := range map[string]time.Duration{"old": 30 * 24 * time.Hour, "new": time.Hour} {
			file := filepath.Join(d, name)
			require.NoError(t, os.WriteFile(file, []byte("12345"), 0o600))
			require.NoError(t, os.Chtimes(file, time.Now(), time.Now().Add(-age)))
		}
	}
	require.NoError(t, os.Symlink(other, filepath.Join(cache, "link")))
	k := c.as(controlplane.Admin, kube.Options{CleanupPaths: []string{cache}})
	request := func(path string, dry bool) *actions.Request {
		req, _ := c.request("cleanup_storage", map[string]any{"namespace": c.namespace, "deployment": "web", "path": path, "dryRun": dry})
		return req
	}
	p, err := k.preview(request(cache, false))
	require.NoError(t, err)
	require.Contains(t, p.Change[0], "delete 1 files of 5 bytes in "+cache)
	r, err := k.execute(request(cache, true))
	require.NoError(t, err)
	require.Equal(t, "1 files of 5 bytes would be deleted", r.Message)
	require.FileExists(t, filepath.Join(cache, "old"))
	r, err = k.execute(request(cache, false))
	require.NoError(t, err)
	require.Equal(t, "1 files of 5 bytes were deleted", r.Message)
	require.NoFileExists(t, filepath.Join(cache, "old"))
	require.FileExists(t, filepath.Join(cache, "new"))
	require.FileExists(t, filepath.Join(other, "old"), "links are not followed")
	for path, want := range map[string]string{other: "may not be cleaned up", filepath.Join(cache, "link"): "is a link to " + other, cache + "x": "may not be cleaned up"} {
		_, err := k.execute(request(path, false))
		require.ErrorContains(t, err, want)
	}
	_, err = c.execute(request(cache, false))
	require.ErrorContains(t, err, "may not be cleaned up", "without a list nothing may be")
}

func TestCommandsOfTheSiteGetParametersAsArguments(t *testing.T) {
	c := newCluster(t)
	c.node("command-a")
	c.ready("orders")
	file := filepath.Join(t.TempDir(), "said")
	commands, err := kube.ParseCommands(fmt.Appendf(nil, `
failover_database:
  args: [tee, %q, "{targetReplica}"]
  env: {TARGET: "{targetReplica}"}
  probe: [test, -f, %q]
compact_storage: {args: [false]}
`, file, file))
	require.NoError(t, err)
	k := c.as(controlplane.Admin, kube.Options{Commands: commands})
	req, con := c.request("failover_database", map[string]any{"namespace": c.namespace, "database": "orders", "targetReplica": "replica-2"})
	req.Task.Parameters = actions.NewParameters(map[string]any{"namespace": c.namespace, "database": "orders", "targetReplica": filepath.Join(filepath.Dir(file), "$(id);`id`")})
	p, err := k.preview(req)
	require.NoError(t, err)
	require.Equal(t, actions.Unverifiable, p.Verdict)
	require.NoFileExists(t, file)
	_, err = k.execute(req)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(filepath.Dir(file), "$(id);`id`"), "one argument, and no shell")
	req.Begun = con.undo
	require.Equal(t, actions.OutcomeHappened, k.probe(req))
	require.NoError(t, os.Remove(file))
	require.Equal(t, actions.OutcomeUnknown, k.probe(req))
	req.Begun = nil
	require.Equal(t, actions.OutcomeDidNotHappen, k.probe(req))

	req.Task.Parameters = actions.NewParameters(map[string]any{"namespace": c.namespace, "database": "orders", "targetReplica": "--output-error=exit"})
	_, err = k.execute(req)
	require.ErrorContains(t, err, "which a command would take for an option")
	compact, _ := c.request("compact_storage", map[string]any{"namespace": c.namespace, "deployment": "orders"})
	_, err = k.execute(compact)
	require.ErrorContains(t, err, "exit status 1")
	_, err = c.preview(req)
	require.ErrorContains(t, err, "failover_database is not configured")
	for bad, want := range map[string]string{"x: {argz: [a]}": "line 1", "x: {args: []}": "begins with the program", "x: {args: ['{database}']}": "begins with the program"} {
		_, err := kube.ParseCommands([]byte(bad))
		require.ErrorContains(t, err, want)
	}
}

func TestAHeapDumpOfAGoProgramIsKept(t *testing.T) {
	c := newCluster(t)
	c.node("heap-a")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &http.Server{Handler: http.DefaultServeMux}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	c.deployment("web", 1, "")
	_, port, _ := net.SplitHostPort(l.Addr().String())
	c.patchDeployment("web", fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"remedy/pprof-port":%q}}}}}`, port))
	c.settled("web")
	store := artifact.Folder(t.TempDir())
	k := c.as(controlplane.Admin, kube.Options{Artifacts: store, Commands: kube.Commands{}})
	for _, action := range []string{"create_heap_dump", "collect_diagnostics"} {
		parameters := map[string]any{"deployment": "web"}
		if action == "collect_diagnostics" {
			parameters["type"] = "heap_dump"
		}
		req, _ := c.artifactRequest(action, "heap_dump_s", parameters)
		_, err = k.preview(req)
		require.NoError(t, err)
		r, err := k.execute(req)
		require.NoError(t, err)
		packed, err := gzip.NewReader(strings.NewReader(string(artifactOf(t, store, r.Artifacts[0]))))
		require.NoError(t, err, "a profile of pprof is compressed")
		_, err = io.ReadAll(packed)
		require.NoError(t, err)
	}
}

func TestAHeapDumpOfAJVMIsKeptAndRemovedFromThePod(t *testing.T) {
	c := newCluster(t)
	c.node("jvm-a")
	c.ready("web")
	store := artifact.Folder(t.TempDir())
	k := c.as(controlplane.Admin, kube.Options{Artifacts: store})
	require.NoError(t, os.WriteFile(jcmdFlag, []byte("#!/bin/sh\n"+`case "$1" in -l) echo "$$ sun.tools.jcmd.JCmd -l"; echo "$PPID app.jar";; *) shift 2; [ "$1" = -all ] && shift; printf 'JAVA PROFILE 1.0.2' > "$1";; esac`), 0o700))
	t.Cleanup(func() { _ = os.Remove(jcmdFlag) })
	file := filepath.Join(t.TempDir(), "dump.hprof")
	req, _ := c.artifactRequest("create_heap_dump", "heap_dump_s", map[string]any{"deployment": "web", "outputPath": file, "liveObjectsOnly": false})
	r, err := k.execute(req)
	require.NoError(t, err)
	require.Equal(t, "JAVA PROFILE 1.0.2", string(artifactOf(t, store, r.Artifacts[0])))
	require.NoFileExists(t, file)
}

func TestWhatThereIsToKnowIsGathered(t *testing.T) {
	c := newCluster(t)
	c.node("diagnose-a")
	c.ready("web")
	c.patchDeployment("web", `{"spec":{"template":{"spec":{"containers":[{"name":"main","env":[{"name":"TOKEN","value":"hunter2"}]}]}}}}`)
	c.settled("web")
	store := artifact.Folder(t.TempDir())
	k := c.as(controlplane.Admin, kube.Options{Artifacts: store, Commands: kube.Commands{"collect_diagnostics.lock_graph": {Args: []string{"echo", "no locks"}}}})
	req, _ := c.artifactRequest("collect_diagnostics", "lock_graph_s", map[string]any{"database": "web", "type": "lock_graph", "metrics": []any{"pg_locks"}})
	p, err := k.preview(req)
	require.NoError(t, err)
	require.Regexp(t, "keep what there is to know of [12] pods as lock_graph_s", p.Change[0])
	r, err := k.execute(req)
	require.NoError(t, err)
	packed, err := gzip.NewReader(strings.NewReader(string(artifactOf(t, store, r.Artifacts[0]))))
	require.NoError(t, err)
	files := map[string]string{}
	archive := tar.NewReader(packed)
	for h, err := archive.Next(); err == nil; h, err = archive.Next() {
		data, err := io.ReadAll(archive)
		require.NoError(t, err)
		files[h.Name] = string(data)
	}
	require.Contains(t, files["objects.json"], `"kind": "Pod"`)
	require.NotContains(t, fmt.Sprint(files), "hunter2")
	require.Contains(t, files["events.json"], "Scheduled")
	require.Equal(t, "no locks", files["lock_graph.txt"])
	require.Contains(t, files["missing.txt"], "metrics pg_locks: the cluster keeps none by name")
	logs := 0
	for name, text := range files {
		if strings.HasPrefix(name, "logs/"+c.namespace+"/web-") {
			logs++
			require.Contains(t, text, "it begins")
		}
	}
	require.Positive(t, logs, files["missing.txt"])

	for format, want := range map[string]string{"json": `"entries":[{"time":`, "text": "event Pod web-"} {
		audit, _ := c.artifactRequest("audit_logs", "audit_logs_"+format, map[string]any{"outputFormat": format})
		r, err = k.execute(audit)
		require.NoError(t, err)
		require.Contains(t, string(artifactOf(t, store, r.Artifacts[0])), want)
	}
}

func TestAVolumeIsCopiedBySnapshot(t *testing.T) {
	c := newCluster(t)
	c.snapshotDefinition()
	_, err := c.client.CoreV1().PersistentVolumeClaims(c.namespace).Create(t.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": mustQuantity("1Gi")}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	req, con := c.artifactRequest("backup_data", "backup_s", map[string]any{"pvc": "data"})
	require.Eventually(t, func() bool { _, err = c.preview(req); return err == nil }, eventually, tick, "%v", err)
	snapshots := c.dynamic().Namespace(c.namespace)
	list, err := snapshots.List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, list.Items, "a dry run changes nothing")
	done := make(chan error, 1)
	var result *actions.Result
	go func() {
		r, err := c.execute(req)
		result = r
		done <- err
	}()
	// The test plays the snapshot controller.
	w, err := snapshots.Watch(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	defer w.Stop()
	e := <-w.ResultChan()
	name := e.Object.(metav1.Object).GetName()
	_, err = snapshots.Patch(t.Context(), name, types.MergePatchType, []byte(`{"status":{"readyToUse":true}}`), metav1.PatchOptions{}, "status")
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.Equal(t, 1, con.begun)
	require.Equal(t, "the snapshot "+name+" is ready", result.Message)
	again, err := c.execute(req)
	require.NoError(t, err)
	require.Equal(t, result, again, "the same step takes one snapshot")
}
