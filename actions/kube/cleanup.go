package kube

import (
	"bufio"
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/remedykit/remedy/actions"
)

// cleanup deletes old files in a pod.
type cleanup struct{ c *Cluster }

func (h *cleanup) BeginsItself() bool { return true }

func (h *cleanup) rights(t *actions.Task) []Right { return placeRights(t) }

// old are files of a pod that have not been changed for some time.
type old struct {
	place
	folder string
	find   []string // the arguments that find them
}

// old looks where the old files are that would be deleted.
func (h *cleanup) old(ctx context.Context, req *actions.Request) (o old, err error) {
	folder := path.Clean(req.Parameters.String("path"))
	if h.allowing(folder) == "" {
		return o, actions.Permanent(fmt.Errorf("%s may not be cleaned up: the site allows %v (kube.Options.CleanupPaths)", folder, h.c.paths))
	}
	if o.place, err = h.c.place(ctx, req); err != nil {
		return o, err
	}
	if o.folder, err = h.c.output(ctx, o.place, "realpath", "-e", "--", folder); err != nil {
		return o, err
	}
	root := h.allowing(o.folder)
	if root == "" {
		return o, actions.Permanent(fmt.Errorf("%s is a link to %s, which may not be cleaned up", folder, o.folder))
	}
	devices, err := h.c.output(ctx, o.place, "find", root, o.folder, "-maxdepth", "0", "-printf", "%D\n")
	if err != nil {
		return o, err
	}
	if a, b, _ := strings.Cut(devices, "\n"); a != b { // a mount of its own, which find enters only when it begins there
		root = o.folder
	}
	o.find = []string{"find", root, "-ignore_readdir_race", "-xdev"}
	if root != o.folder { // it follows no link on the way down, whatever a folder is replaced by meanwhile
		o.find = append(o.find, "-path", globQuoted(o.folder)+"/*")
	}
	age := strconv.FormatFloat(req.Parameters.Duration("ageThreshold").Minutes(), 'f', -1, 64)
	o.find = append(o.find, "-type", "f", "-mmin", "+"+age)
	return o, nil
}

// allowing is the folder of the site's that is this one or above it, "" for none.
func (h *cleanup) allowing(folder string) string {
	for _, one := range h.c.paths {
		one = path.Clean(one)
		if one != "/" && path.IsAbs(one) && (folder == one || strings.HasPrefix(folder, one+"/")) {
			return one
		}
	}
	return ""
}

// count runs find, which may delete, and adds up: a file frees its bytes when the last of its names goes, and no more than it takes
// on the disk.
func (h *cleanup) count(ctx context.Context, o old, more ...string) (files int, bytes int64, err error) {
	out := h.c.stream(ctx, o.place, append(append(o.find[:len(o.find):len(o.find)], more...), "-printf", "%n %b %s %D:%i\n"))
	defer out.Close()
	type names struct{ gone, all int64 }
	shared := map[string]names{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var links, blocks, size int64
		var inode string
		if _, err := fmt.Sscan(lines.Text(), &links, &blocks, &size, &inode); err != nil {
			return files, bytes, actions.Permanent(fmt.Errorf("find in %s does not say what it found: it has to be that of GNU: %w", o.target(), err))
		}
		files++
		n, ok := shared[inode]
		if ok || links > 1 {
			n = names{n.gone + 1, max(n.all, links)}
			shared[inode] = n
		}
		if n.gone == n.all {
			bytes += min(size, blocks*512)
		}
	}
	return files, bytes, lines.Err()
}

func (h *cleanup) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	o, err := h.old(ctx, req)
	if err != nil {
		return nil, err
	}
	word, more := "would be", []string(nil)
	if req.Parameters.Bool("dryRun") {
		err = req.Begin(ctx, nil)
	} else {
		word, more = "were", []string{"-delete"} // what follows is told of files that are gone
		err = req.Begin(ctx, &actions.Undo{Summary: "nothing: deleted files do not come back", State: map[string]any{"uid": string(o.pod.UID)}})
	}
	if err != nil {
		return nil, err
	}
	files, bytes, err := h.count(ctx, o, more...)
	if err != nil { // find tells of its last files late
		return nil, fmt.Errorf("at least %d files of %d bytes %s deleted, and then: %w", files, bytes, word, err)
	}
	return &actions.Result{Message: fmt.Sprintf("%d files of %d bytes %s deleted", files, bytes, word),
		Outputs: map[string]any{"files": files, "bytes": bytes, "pod": o.pod.Name}}, nil
}

// DryRun says how much would be deleted, which the pod itself has counted.
func (h *cleanup) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	o, err := h.old(ctx, req)
	if err != nil {
		return nil, err
	}
	files, bytes, err := h.count(ctx, o)
	if err != nil {
		return nil, err
	}
	word := "delete"
	if req.Parameters.Bool("dryRun") {
		word = "only count"
	}
	return &actions.Preview{Verdict: actions.Verified, Change: []string{fmt.Sprintf("%s %d files of %d bytes in %s of %s", word, files, bytes, o.folder, o.target())}}, nil
}

// Probe tells whether old files are left. Deleting what is left is no harm.
func (h *cleanup) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	o, err := h.old(ctx, req)
	if err != nil {
		return actions.OutcomeUnknown, err
	}
	files, _, err := h.count(ctx, o)
	if err != nil {
		return actions.OutcomeUnknown, err
	}
	if files > 0 || req.Begun == nil {
		return actions.OutcomeDidNotHappen, nil
	}
	return actions.OutcomeHappened, nil
}

func (h *cleanup) Footprint(_ context.Context, req *actions.Request) ([]actions.Touch, error) {
	return []actions.Touch{{Target: req.Target}}, nil
}
