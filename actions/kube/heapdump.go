package kube

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/remedykit/remedy/actions"
)

// heapDump lets the runtime of a pod write a heap dump, and keeps it.
type heapDump struct{ c *Cluster }

func (h *heapDump) BeginsItself() bool { return true }

func (h *heapDump) rights(t *actions.Task) []Right { return placeRights(t) }

func (h *heapDump) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	if err := h.c.stored(); err != nil {
		return nil, err
	}
	p, err := h.c.place(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := req.Begin(ctx, nil); err != nil {
		return nil, err
	}
	return h.c.dump(ctx, req, p)
}

// DryRun says where the dump would be made.
func (h *heapDump) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	if err := h.c.stored(); err != nil {
		return nil, err
	}
	p, err := h.c.place(ctx, req)
	if err != nil {
		return nil, err
	}
	return &actions.Preview{Change: []string{"keep a heap dump of " + p.target().String() + " as " + req.Artifact}}, nil
}

// Where a Go program serves its profiles, unless an annotation of its pod names another port.
const (
	pprofAnnotation = "remedy/pprof-port"
	pprofPort       = "6060"
)

// dump keeps a heap dump: by the site's command, else of a JVM, else of a Go program.
func (c *Cluster) dump(ctx context.Context, req *actions.Request, p place) (*actions.Result, error) {
	streamed := func(args []string) (*actions.Result, error) {
		a, err := c.keep(ctx, req, req.Artifact, c.stream(ctx, p, args))
		if err != nil {
			return nil, err
		}
		return leaving(a), nil
	}
	if cmd, ok := c.commands["create_heap_dump"]; ok {
		args, err := arguments(cmd.Args, cmd.Env, req)
		if err != nil {
			return nil, err
		}
		return streamed(args)
	}
	out, err := c.output(ctx, p, "jcmd", "-l")
	if pid := jvm(out); err == nil && pid != "" {
		return c.dumpJVM(ctx, req, p, pid)
	}
	if ctx.Err() != nil || actions.IsTransient(err) {
		return nil, err
	}
	port := p.pod.Annotations[pprofAnnotation]
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		port = pprofPort
	}
	where := "http://127.0.0.1:" + port + "/debug/pprof/heap"
	if liveOnly(req) {
		where += "?gc=1"
	}
	var tried []error
	for _, args := range [][]string{{"curl", "-fsS", where}, {"wget", "-qO-", where}} {
		r, err := streamed(args)
		if err == nil {
			return r, nil
		}
		tried = append(tried, err)
	}
	return nil, actions.Permanent(fmt.Errorf("%s is neither a JVM with jcmd nor a Go program that serves pprof on port %s (annotation %s): say with a command how it is dumped: %w",
		p.target(), port, pprofAnnotation, errors.Join(tried...)))
}

// liveOnly tells whether what a garbage collection would free is left out, which is the rule.
func liveOnly(req *actions.Request) bool {
	return !req.Parameters.Given("liveObjectsOnly") || req.Parameters.Bool("liveObjectsOnly")
}

// jvm is the first process that jcmd lists, but jcmd itself.
func jvm(list string) string {
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		if len(f) > 0 && !(len(f) > 1 && strings.Contains(f[1], "JCmd")) {
			if _, err := strconv.ParseUint(f[0], 10, 32); err == nil {
				return f[0]
			}
		}
	}
	return ""
}

func (c *Cluster) dumpJVM(ctx context.Context, req *actions.Request, p place, pid string) (r *actions.Result, err error) {
	file := "/tmp/" + stepName(req) + ".hprof"
	remove := func(ctx context.Context) error { _, err := c.output(ctx, p, "rm", "-f", "--", file); return err }
	if given := req.Parameters.String("outputPath"); given != "" {
		file = path.Clean(given)
		err = c.free(ctx, p, file)
	} else { // an attempt before this one may have left it
		err = remove(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := c.hasRoom(ctx, p, path.Dir(file), pid); err != nil {
		return nil, err
	}
	args := []string{"jcmd", pid, "GC.heap_dump"}
	if !liveOnly(req) {
		args = append(args, "-all")
	}
	defer func() { // also when the step was stopped in the middle: a dump fills a disk
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTime)
		defer cancel()
		left := remove(ctx)
		switch {
		case left == nil:
		case err != nil:
			err = fmt.Errorf("%w; and %s may be left in %s: %w", err, file, p.target(), left)
		default:
			r.Message += fmt.Sprintf("; %s may be left in %s: %v", file, p.target(), left)
		}
	}()
	if _, err := c.output(ctx, p, append(args, file)...); err != nil {
		return nil, err
	}
	sum, err := c.output(ctx, p, "sha256sum", "--", file)
	if err != nil {
		return nil, err
	}
	a, err := c.keep(ctx, req, req.Artifact, c.stream(ctx, p, []string{"cat", "--", file}))
	if err != nil {
		return nil, err
	}
	if want, _, _ := strings.Cut(strings.TrimPrefix(sum, `\`), " "); want != a.SHA256 { // which stands before names that are escaped
		return nil, c.spoil(ctx, req, req.Artifact, actions.Permanent(fmt.Errorf("heap dump %s has SHA-256 %s in the pod and %s here", file, want, a.SHA256)))
	}
	return leaving(a), nil
}

// free is nil when there is nothing in the place of a file, which would be overwritten and then removed.
func (c *Cluster) free(ctx context.Context, p place, file string) error {
	found, err := c.output(ctx, p, "find", path.Dir(file), "-maxdepth", "1", "-name", globQuoted(path.Base(file)))
	if err == nil && found != "" {
		err = actions.Permanent(fmt.Errorf("%s has a file %s already: give another outputPath", p.target(), file))
	}
	return err
}

// globQuoted is a pattern that only a name itself fits.
func globQuoted(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// hasRoom looks whether a folder has room for a dump, which is at most as large as the process.
func (c *Cluster) hasRoom(ctx context.Context, p place, folder, pid string) error {
	status, err := c.output(ctx, p, "cat", "/proc/"+pid+"/status")
	if err != nil {
		return err
	}
	df, err := c.output(ctx, p, "df", "-Pk", "--", folder)
	if err != nil {
		return err
	}
	var need, free int64
	for line := range strings.Lines(status) {
		if f := strings.Fields(line); len(f) > 1 && (f[0] == "VmRSS:" || f[0] == "VmSwap:") {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			need += n
		}
	}
	lines := strings.Split(df, "\n")
	if f := strings.Fields(lines[len(lines)-1]); len(f) > 3 {
		free, _ = strconv.ParseInt(f[3], 10, 64)
	}
	if need == 0 {
		return actions.Permanent(fmt.Errorf("%s does not say how large process %s is, and a dump may fill its disk", p.target(), pid))
	}
	if free < need {
		return actions.Permanent(fmt.Errorf("%s has %d KiB free in %s, and the dump may need %d: give another outputPath", p.target(), free, folder, need))
	}
	return nil
}
