package gitops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-git/v5"
	gitconfig "github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/remedykit/remedy/actions"
)

// A Repository is where a plan's repository is, and how it is reached.
type Repository struct {
	// URL is what git clones. Required.
	URL string
	// Auth logs in; nil: nobody does.
	Auth transport.AuthMethod
	// Forge opens pull requests. Nil: a step that asks for one is refused.
	Forge Forge
}

// A PullRequest is a proposal to merge a branch into another.
type PullRequest struct {
	Number int
	URL    string
	// Open, or closed; Merged when it was merged.
	Open, Merged bool
}

// A Forge keeps the pull requests of one repository. It must be safe for concurrent use. Errors that another try may mend are
// marked by actions.Transient.
type Forge interface {
	// Open opens a pull request. text is plain: it must not be read as markup.
	Open(ctx context.Context, head, base, title, text string) (PullRequest, error)
	// Find finds the newest pull request of a branch; ok is false when there is none.
	Find(ctx context.Context, head string) (p PullRequest, ok bool, err error)
	// Close closes one.
	Close(ctx context.Context, number int) error
}

// Options of a Git. Only Repositories is required.
type Options struct {
	// Repositories by the name, or the address, that plans give.
	Repositories map[string]Repository
	// Author and Email are who commits. Default to "remedy" and "remedy@localhost".
	Author, Email string
}

// A Git carries update_git_manifests out. It is safe for concurrent use.
type Git struct {
	repositories  map[string]Repository
	author, email string
}

// New returns a Git. It does not connect yet.
func New(o Options) (*Git, error) {
	if len(o.Repositories) == 0 {
		return nil, errors.New("gitops: Options.Repositories is empty")
	}
	for name, r := range o.Repositories {
		if r.URL == "" {
			return nil, fmt.Errorf("gitops: repository %s has no URL", name)
		}
	}
	return &Git{maps.Clone(o.Repositories), cmp.Or(o.Author, "remedy"), cmp.Or(o.Email, "remedy@localhost")}, nil
}

// Handlers is update_git_manifests.
func (g *Git) Handlers() actions.Handlers {
	return actions.Handlers{"update_git_manifests": handler{g}}
}

type handler struct{ g *Git }

// maxFile is how large a manifest may be.
const maxFile = 4 << 20

var unfit = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// branchOf is the branch of a step.
func branchOf(req *actions.Request) string {
	return "remedy/" + unfit.ReplaceAllString(req.Run, "-") + "/" + unfit.ReplaceAllString(req.Step, "-")
}

// A change is what a step would commit.
type change struct {
	repository Repository
	git        *git.Repository
	tree       *git.Worktree
	base       plumbing.ReferenceName
	branch     string
	remote     plumbing.Hash // of the branch, when an attempt before has pushed it
	path       string
	before     string
	after      string
}

// prepare clones the repository into memory and edits the file.
func (h handler) prepare(ctx context.Context, req *actions.Request) (*change, error) {
	p := req.Parameters
	r, ok := h.g.repositories[p.String("repository")]
	if !ok {
		return nil, actions.Permanent(fmt.Errorf("repository %q is not configured: there are %v", p.String("repository"), slices.Sorted(maps.Keys(h.g.repositories))))
	}
	if p.Bool("createPR") && r.Forge == nil {
		return nil, actions.Permanent(fmt.Errorf("repository %q has no forge to open a pull request at: set createPR to false", p.String("repository")))
	}
	c := &change{repository: r, branch: branchOf(req), path: path.Clean(p.String("path"))}
	if path.IsAbs(c.path) || c.path == "." || strings.HasPrefix(c.path, "../") || c.path == ".." || strings.HasPrefix(c.path+"/", ".git/") {
		return nil, actions.Permanent(fmt.Errorf("path %q is none of a file in the repository", c.path))
	}
	var base plumbing.ReferenceName
	if b := p.String("baseBranch"); b != "" {
		base = plumbing.NewBranchReferenceName(b)
		if err := base.Validate(); err != nil {
			return nil, actions.Permanent(fmt.Errorf("baseBranch %q is no branch: %w", b, err))
		}
	}
	cloned, err := git.CloneContext(ctx, memory.NewStorage(), memfs.New(), &git.CloneOptions{URL: r.URL, Auth: r.Auth, ReferenceName: base, SingleBranch: true, Depth: 1, Tags: git.NoTags})
	if err != nil {
		return nil, explain(ctx, "clone", err)
	}
	head, err := cloned.Head()
	if err != nil {
		return nil, actions.Permanent(fmt.Errorf("gitops: %w", err))
	}
	c.git, c.base = cloned, head.Name()
	if c.base.Short() == c.branch {
		return nil, actions.Permanent(fmt.Errorf("%s is the step's own branch: it cannot be the base", c.branch))
	}
	if c.remote, err = h.tip(ctx, c); err != nil {
		return nil, err
	}
	if c.tree, err = cloned.Worktree(); err != nil {
		return nil, actions.Permanent(fmt.Errorf("gitops: %w", err))
	}
	if c.before, err = read(c.tree.Filesystem, c.path); err != nil {
		return nil, err
	}
	c.after, err = edited(c.before, p.Get("patch"))
	return c, err
}

// tip is where the step's branch is on the remote; zero when it is not there.
func (h handler) tip(ctx context.Context, c *change) (plumbing.Hash, error) {
	remote, err := c.git.Remote(git.DefaultRemoteName)
	if err != nil {
		return plumbing.ZeroHash, actions.Permanent(err)
	}
	all, err := remote.ListContext(ctx, &git.ListOptions{Auth: c.repository.Auth})
	if err != nil {
		return plumbing.ZeroHash, explain(ctx, "list", err)
	}
	for _, ref := range all {
		if ref.Name() == plumbing.NewBranchReferenceName(c.branch) {
			return ref.Hash(), nil
		}
	}
	return plumbing.ZeroHash, nil
}

// read reads a file, and follows no link.
func read(files billy.Filesystem, name string) (string, error) {
	for part := name; part != "."; part = path.Dir(part) {
		info, err := files.Lstat(part)
		if err != nil {
			return "", actions.Permanent(fmt.Errorf("the repository has no file %s", name))
		}
		if info.Mode()&os.ModeSymlink != 0 || part == name && !info.Mode().IsRegular() {
			return "", actions.Permanent(fmt.Errorf("%s in the repository is no file of its own", part))
		}
	}
	f, err := files.Open(name)
	if err != nil {
		return "", actions.Permanent(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return string(data), actions.Permanent(err)
}

// BeginsItself is true.
func (handler) BeginsItself() bool { return true }

// Execute pushes the change and opens the pull request; what an attempt before has done of it stays.
func (h handler) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	c, err := h.prepare(ctx, req)
	if err != nil {
		return nil, err
	}
	if c.before == c.after {
		if err := req.Begin(ctx, nil); err != nil {
			return nil, err
		}
		return &actions.Result{Message: c.path + " has the values already"}, nil
	}
	tip := c.remote
	if tip.IsZero() {
		if tip, err = h.commit(req, c); err != nil {
			return nil, err
		}
	}
	undo := &actions.Undo{Summary: "close the pull request and delete the branch " + c.branch, State: map[string]any{"commit": tip.String()}}
	if err := req.Begin(ctx, undo); err != nil {
		return nil, err
	}
	if c.remote.IsZero() {
		if err := h.push(ctx, c, tip); err != nil {
			return nil, err
		}
	}
	r := &actions.Result{Message: "pushed branch " + c.branch, Outputs: map[string]any{"branch": c.branch, "commit": tip.String()}}
	if !req.Parameters.Bool("createPR") {
		return r, nil
	}
	pr, err := h.open(ctx, req, c)
	if err != nil {
		return nil, err
	}
	r.Message = "pull request " + pr.URL
	r.Outputs["pullRequest"] = pr.URL
	return r, nil
}

// commit commits the change here. The same step makes the same commit.
func (h handler) commit(req *actions.Request, c *change) (plumbing.Hash, error) {
	err := c.tree.Checkout(&git.CheckoutOptions{Branch: plumbing.NewBranchReferenceName(c.branch), Create: true})
	if err != nil {
		return plumbing.ZeroHash, actions.Permanent(fmt.Errorf("gitops: %w", err))
	}
	f, err := c.tree.Filesystem.OpenFile(c.path, os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return plumbing.ZeroHash, actions.Permanent(fmt.Errorf("gitops: %w", err))
	}
	_, err = io.WriteString(f, c.after)
	if err = errors.Join(err, f.Close()); err == nil {
		_, err = c.tree.Add(c.path)
	}
	if err != nil {
		return plumbing.ZeroHash, actions.Permanent(fmt.Errorf("gitops: %w", err))
	}
	who := &object.Signature{Name: h.g.author, Email: h.g.email, When: time.Now()}
	hash, err := c.tree.Commit(title(c)+"\n\nremedy "+req.Key()+"\n", &git.CommitOptions{Author: who, Committer: who})
	return hash, actions.Permanent(err)
}

func title(c *change) string { return "Update " + c.path }

// push pushes the step's branch and nothing else. When the answer gets lost it looks whether it arrived.
func (h handler) push(ctx context.Context, c *change, tip plumbing.Hash) error {
	branch := plumbing.NewBranchReferenceName(c.branch)
	spec := gitconfig.RefSpec(branch + ":" + branch)
	if branch == c.base || spec.IsForceUpdate() {
		return actions.Permanent(errors.New("gitops: the base branch is never pushed to"))
	}
	err := c.git.PushContext(ctx, &git.PushOptions{RemoteName: git.DefaultRemoteName, RefSpecs: []gitconfig.RefSpec{spec}, Auth: c.repository.Auth})
	if err == nil || errors.Is(err, git.NoErrAlreadyUpToDate) {
		return nil
	}
	if now, again := h.tip(ctx, c); again == nil && now == tip {
		return nil
	}
	return explain(ctx, "push", err)
}

// open opens the pull request, or finds it.
func (h handler) open(ctx context.Context, req *actions.Request, c *change) (PullRequest, error) {
	forge := c.repository.Forge
	pr, ok, err := forge.Find(ctx, c.branch)
	if err != nil {
		return pr, err
	}
	if !ok {
		text := fmt.Sprintf("Step %s of run %s.\n\n%s", req.Step, req.Run, req.Description)
		pr, err = forge.Open(ctx, c.branch, c.base.Short(), title(c), text)
		if err != nil { // the answer may have got lost
			if found, ok, again := forge.Find(ctx, c.branch); again == nil && ok {
				pr, err = found, nil
			}
		}
	}
	return pr, err
}

// DryRun says which lines would change. It pushes nothing.
func (h handler) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	c, err := h.prepare(ctx, req)
	if err != nil {
		return nil, err
	}
	return &actions.Preview{Change: append([]string{c.path + " on branch " + c.branch}, lines(c.before, c.after)...)}, nil
}

// Probe tells whether the branch is there, and its pull request. What is missing, another attempt adds.
func (h handler) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	if req.Begun == nil {
		return actions.OutcomeDidNotHappen, nil
	}
	c, err := h.prepare(ctx, req)
	if err != nil {
		return actions.OutcomeUnknown, err
	}
	if c.remote.IsZero() {
		return actions.OutcomeDidNotHappen, nil
	}
	if req.Parameters.Bool("createPR") {
		_, ok, err := c.repository.Forge.Find(ctx, c.branch)
		if err != nil {
			return actions.OutcomeUnknown, err
		}
		if !ok {
			return actions.OutcomeDidNotHappen, nil
		}
	}
	return actions.OutcomeHappened, nil
}

// Compensate closes the pull request and deletes the branch, unless somebody has gone on with them.
func (h handler) Compensate(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	if undo == nil {
		return nil
	}
	c, err := h.prepare(ctx, req)
	if err != nil {
		return err
	}
	if commit, _ := undo.State["commit"].(string); !c.remote.IsZero() && c.remote.String() != commit {
		return fmt.Errorf("somebody has pushed to %s: %w", c.branch, actions.ErrDrift)
	}
	if forge := c.repository.Forge; forge != nil {
		pr, ok, err := forge.Find(ctx, c.branch)
		switch {
		case err != nil:
			return err
		case ok && pr.Merged:
			return fmt.Errorf("pull request %s is merged: revert it there: %w", pr.URL, actions.ErrDrift)
		case ok && pr.Open:
			if err := forge.Close(ctx, pr.Number); err != nil {
				return err
			}
		}
	}
	if c.remote.IsZero() {
		return nil
	}
	branch := plumbing.NewBranchReferenceName(c.branch)
	err = c.git.PushContext(ctx, &git.PushOptions{RemoteName: git.DefaultRemoteName, RefSpecs: []gitconfig.RefSpec{gitconfig.RefSpec(":" + branch)}, Auth: c.repository.Auth})
	if err == nil || errors.Is(err, git.NoErrAlreadyUpToDate) {
		return nil
	}
	return explain(ctx, "delete the branch", err)
}

var userinfo = regexp.MustCompile(`//[^/@\s]*@`)

// explain classes an error of git, and takes credentials out of it.
func explain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_, noRef := errors.AsType[git.NoMatchingRefSpecError](err)
	err = fmt.Errorf("gitops: %s: %s", what, userinfo.ReplaceAllString(err.Error(), "//"))
	if noRef {
		return actions.Permanent(err)
	}
	for _, final := range []error{transport.ErrAuthenticationRequired, transport.ErrAuthorizationFailed, transport.ErrRepositoryNotFound, transport.ErrEmptyRemoteRepository, plumbing.ErrReferenceNotFound} {
		if strings.Contains(err.Error(), final.Error()) {
			return actions.Permanent(err)
		}
	}
	return actions.Transient(err)
}
