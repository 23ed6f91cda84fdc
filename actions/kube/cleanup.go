package kube

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
)

// cleanup deletes old files in a pod.
type cleanup struct{ c *Cluster }

func (h *cleanup) BeginsItself() bool { return true }

func (h *cleanup) rights(t *actions.Task) []Right { return placeRights(t) }

// old are the files that would be deleted, as arguments of find.
func (h *cleanup) old(ctx context.Context, req *actions.Request) (p place, args []string, err error) {
	folder := path.Clean(req.Parameters.String("path"))
	if !h.allowed(folder) {
		return p, nil, actions.Permanent(fmt.Errorf("%s may not be cleaned up: the site allows %v (kube.Options.CleanupPaths)", folder, h.c.paths))
	}
	if p, err = h.c.place(ctx, req); err != nil {
		return p, nil, err
	}
	real, err := h.c.output(ctx, p, "realpath", "-e", "--", folder)
	if err != nil {
		return p, nil, err
	}
	if !h.allowed(real) {
		return p, nil, actions.Permanent(fmt.Errorf("%s is a link to %s, which may not be cleaned up", folder, real))
	}
	minutes := int64(req.Parameters.Duration("ageThreshold") / time.Minute)
	return p, []string{"find", real, "-xdev", "-type", "f", "-mmin", "+" + strconv.FormatInt(minutes, 10), "-printf", "%s\n"}, nil
}

// allowed tells whether a folder is one of the site's, or below one.
func (h *cleanup) allowed(folder string) bool {
	for _, one := range h.c.paths {
		one = path.Clean(one)
		if one != "/" && path.IsAbs(one) && (folder == one || strings.HasPrefix(folder, one+"/")) {
			return true
		}
	}
	return false
}

// sizes adds up what find printed.
func sizes(out string) (files int, bytes int64) {
	for line := range strings.Lines(out) {
		if n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64); err == nil {
			files, bytes = files+1, bytes+n
		}
	}
	return files, bytes
}

func (h *cleanup) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	p, args, err := h.old(ctx, req)
	if err != nil {
		return nil, err
	}
	word := "would be"
	if req.Parameters.Bool("dryRun") {
		err = req.Begin(ctx, nil)
	} else {
		word = "were"
		args = append(args, "-delete")
		err = req.Begin(ctx, &actions.Undo{Summary: "nothing: deleted files do not come back", State: map[string]any{"uid": string(p.pod.UID)}})
	}
	if err != nil {
		return nil, err
	}
	out, err := h.c.output(ctx, p, args...)
	if err != nil {
		return nil, err
	}
	files, bytes := sizes(out)
	return &actions.Result{Message: fmt.Sprintf("%d files of %d bytes %s deleted", files, bytes, word), Outputs: map[string]any{"files": files, "bytes": bytes}}, nil
}

// DryRun says how much would be deleted, which the pod itself has counted.
func (h *cleanup) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	p, args, err := h.old(ctx, req)
	if err != nil {
		return nil, err
	}
	out, err := h.c.output(ctx, p, args...)
	if err != nil {
		return nil, err
	}
	files, bytes := sizes(out)
	return &actions.Preview{Verdict: actions.Verified, Change: []string{fmt.Sprintf("delete %d files of %d bytes in %s of %s", files, bytes, args[1], p.target())}}, nil
}

// Probe tells whether old files are left. Deleting what is left is no harm.
func (h *cleanup) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	p, args, err := h.old(ctx, req)
	if err != nil {
		return actions.OutcomeUnknown, err
	}
	out, err := h.c.output(ctx, p, args...)
	if err != nil {
		return actions.OutcomeUnknown, err
	}
	if files, _ := sizes(out); files > 0 || req.Begun == nil {
		return actions.OutcomeDidNotHappen, nil
	}
	return actions.OutcomeHappened, nil
}

func (h *cleanup) Footprint(_ context.Context, req *actions.Request) ([]actions.Touch, error) {
	return []actions.Touch{{Target: req.Target}}, nil
}
