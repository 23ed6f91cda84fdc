package gitops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5"
	gitconfig "github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/directclient"
	"github.com/remedykit/remedy/internal/patience"
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
	// Find finds the pull requests from a branch, oldest first: those that are closed too.
	Find(ctx context.Context, head string) ([]PullRequest, error)
	// Into finds the open pull requests into a branch.
	Into(ctx context.Context, base string) ([]PullRequest, error)
	// Close closes one.
	Close(ctx context.Context, number int) error
}

// Options of a Git. Only Repositories is required.
type Options struct {
	// Repositories by the name, or the address, that plans give.
	Repositories map[string]Repository
	// Author and Email are who commits. Default to "remedy" and "remedy@localhost".
	Author, Email string
	// MaxClone is how many bytes the newest commit of a repository may take with all that is in it: a step reads it into memory.
	// Defaults to 256 MiB.
	MaxClone int64
}

// A Git carries update_git_manifests out. It is safe for concurrent use.
type Git struct {
	repositories  map[string]Repository
	author, email string
	maxClone      int64
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
	if o.MaxClone < 0 {
		return nil, errors.New("gitops: Options.MaxClone is below 0")
	}
	return &Git{maps.Clone(o.Repositories), cmp.Or(o.Author, "remedy"), cmp.Or(o.Email, "remedy@localhost"), cmp.Or(o.MaxClone, defaultMaxClone)}, nil
}

// Handlers is update_git_manifests.
func (g *Git) Handlers() actions.Handlers {
	return actions.Handlers{"update_git_manifests": handler{g}}
}

type handler struct{ g *Git }

// maxFile is how large a manifest may be.
const maxFile = 4 << 20

var unfit = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// branchOf is the branch of a step. Ids that git does not allow in one lose their dots.
func branchOf(req *actions.Request) string {
	name := "remedy/" + unfit.ReplaceAllString(req.Run, "-") + "/" + unfit.ReplaceAllString(req.Step, "-")
	if plumbing.NewBranchReferenceName(name).Validate() != nil {
		name = strings.ReplaceAll(name, ".", "-")
	}
	return name
}

// signature is the line of a step's commits by which they are known.
func signature(req *actions.Request) string { return "remedy " + req.Key() }

// A place is the branch of a step at a remote.
type place struct {
	repository Repository
	origin     *git.Remote
	branch     string
	tip        plumbing.Hash // of the branch; zero when it is not there
}

// A change is what a step would commit.
type change struct {
	place
	git    *git.Repository
	head   *object.Commit
	trees  []*object.Tree // from the root to the folder of the file
	base   plumbing.ReferenceName
	path   string
	before string
	after  string
}

// place finds the branch of a step. It reads nothing else: an undo must not depend on what has become of the repository.
func (h handler) place(ctx context.Context, req *actions.Request) (p place, err error) {
	name := req.Parameters.String("repository")
	r, ok := h.g.repositories[name]
	if !ok {
		return p, actions.Permanent(fmt.Errorf("repository %q is not configured: there are %v", name, slices.Sorted(maps.Keys(h.g.repositories))))
	}
	p = place{repository: r, branch: branchOf(req), origin: git.NewRemote(memory.NewStorage(), &gitconfig.RemoteConfig{Name: git.DefaultRemoteName, URLs: []string{r.URL}})}
	err = p.look(ctx)
	return p, err
}

// look looks where the branch is.
func (p *place) look(ctx context.Context) error {
	all, err := p.origin.ListContext(ctx, &git.ListOptions{Auth: p.repository.Auth})
	if err != nil {
		return explain(ctx, "list", err)
	}
	p.tip = plumbing.ZeroHash
	for _, ref := range all {
		if ref.Name() == p.ref() {
			p.tip = ref.Hash()
		}
	}
	return nil
}

func (p *place) ref() plumbing.ReferenceName { return plumbing.NewBranchReferenceName(p.branch) }

// prepare clones the repository into memory and edits the file. Nothing is checked out: a small tree can have files without number.
func (h handler) prepare(ctx context.Context, req *actions.Request) (*change, error) {
	p := req.Parameters
	at, err := h.place(ctx, req)
	if err != nil {
		return nil, err
	}
	if p.Bool("createPR") && at.repository.Forge == nil {
		return nil, actions.Permanent(fmt.Errorf("repository %q has no forge to open a pull request at: set createPR to false", p.String("repository")))
	}
	c := &change{place: at, path: path.Clean(p.String("path"))}
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
	cloned, err := git.CloneContext(ctx, newBounded(h.g.maxClone), nil, &git.CloneOptions{URL: at.repository.URL, Auth: at.repository.Auth, ReferenceName: base, SingleBranch: true, Depth: 1, Tags: git.NoTags})
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
	if err := c.own(ctx, req); err != nil {
		return nil, err
	}
	if c.head, err = cloned.CommitObject(head.Hash()); err != nil {
		return nil, actions.Permanent(fmt.Errorf("gitops: %w", err))
	}
	if c.before, err = c.read(); err != nil {
		return nil, err
	}
	c.after, err = edited(c.before, p.Get("patch"))
	return c, err
}

// own refuses a branch of the step's name that an attempt of it has not pushed.
func (c *change) own(ctx context.Context, req *actions.Request) error {
	if c.tip.IsZero() {
		return nil
	}
	err := c.git.FetchContext(ctx, &git.FetchOptions{RemoteName: git.DefaultRemoteName, Auth: c.repository.Auth, Depth: 1, Tags: git.NoTags,
		RefSpecs: []gitconfig.RefSpec{gitconfig.RefSpec(c.ref() + ":refs/remotes/origin/own")}})
	if err != nil && !errors.Is(err, git.NoErrAlreadyUpToDate) {
		return explain(ctx, "fetch", err)
	}
	commit, err := c.git.CommitObject(c.tip)
	if err != nil {
		return actions.Transient(fmt.Errorf("gitops: %w", err)) // it has moved on meanwhile
	}
	if !slices.Contains(strings.Split(commit.Message, "\n"), signature(req)) {
		return actions.Permanent(fmt.Errorf("branch %s is there already, and its last commit is not this step's: have its owner move it away", c.branch))
	}
	return nil
}

// read reads the file, and follows no link.
func (c *change) read() (string, error) {
	tree, err := c.head.Tree()
	parts := strings.Split(c.path, "/")
	for i := 0; ; i++ {
		if err != nil {
			return "", actions.Permanent(fmt.Errorf("gitops: %w", err))
		}
		c.trees = append(c.trees, tree)
		e := entry(tree, parts[i])
		switch last := i == len(parts)-1; {
		case e == nil, !last && e.Mode != filemode.Dir:
			return "", actions.Permanent(fmt.Errorf("the repository has no file %s", c.path))
		case last && e.Mode.IsFile() && e.Mode != filemode.Symlink:
			return c.content(e.Hash)
		case last:
			return "", actions.Permanent(fmt.Errorf("%s in the repository is no file of its own", c.path))
		}
		tree, err = c.git.TreeObject(e.Hash)
	}
}

// entry is what a folder has by a name; nil when it has nothing.
func entry(tree *object.Tree, name string) *object.TreeEntry {
	i := slices.IndexFunc(tree.Entries, func(e object.TreeEntry) bool { return e.Name == name })
	if i < 0 {
		return nil
	}
	return &tree.Entries[i]
}

func (c *change) content(hash plumbing.Hash) (string, error) {
	blob, err := c.git.BlobObject(hash)
	if err != nil {
		return "", actions.Permanent(fmt.Errorf("gitops: %w", err))
	}
	if blob.Size > maxFile {
		return "", actions.Permanent(fmt.Errorf("%s is larger than %d bytes", c.path, maxFile))
	}
	r, err := blob.Reader()
	if err != nil {
		return "", actions.Permanent(fmt.Errorf("gitops: %w", err))
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return string(data), actions.Permanent(err)
}

// BeginsItself is true.
func (handler) BeginsItself() bool { return true }

// Execute pushes the change and opens the pull request; what an attempt before has done of it stays.
func (h handler) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	var c *change
	err := patience.Try(ctx, func() (err error) { c, err = h.prepare(ctx, req); return err })
	if err != nil {
		return nil, err
	}
	if c.before == c.after && c.tip.IsZero() {
		if err := req.Begin(ctx, nil); err != nil {
			return nil, err
		}
		return &actions.Result{Message: c.path + " has the values already"}, nil
	}
	tip := c.tip
	if tip.IsZero() {
		if tip, err = h.commit(req, c); err != nil {
			return nil, err
		}
	}
	undo := &actions.Undo{Summary: "close the pull request and delete the branch " + c.branch, State: map[string]any{"commit": tip.String()}}
	if err := req.Begin(ctx, undo); err != nil {
		return nil, err
	}
	if c.tip.IsZero() {
		if err := patience.Try(ctx, func() error { return c.push(ctx, tip) }); err != nil {
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

// commit commits the change here: the file, and each folder that it is in.
func (h handler) commit(req *actions.Request, c *change) (plumbing.Hash, error) {
	hash, err := c.store(text(c.after))
	name := c.path
	for _, tree := range slices.Backward(c.trees) {
		if err != nil {
			return plumbing.ZeroHash, err
		}
		entry(tree, path.Base(name)).Hash = hash
		hash, err = c.store(tree)
		name = path.Dir(name)
	}
	if err != nil {
		return plumbing.ZeroHash, err
	}
	who := object.Signature{Name: h.g.author, Email: h.g.email, When: time.Now()}
	hash, err = c.store(&object.Commit{Author: who, Committer: who, Message: title(c) + "\n\n" + signature(req) + "\n", TreeHash: hash, ParentHashes: []plumbing.Hash{c.head.Hash}})
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return hash, actions.Permanent(c.git.Storer.SetReference(plumbing.NewHashReference(c.ref(), hash)))
}

// text is the content of a file.
type text string

func (t text) Encode(o plumbing.EncodedObject) error {
	o.SetType(plumbing.BlobObject)
	w, err := o.Writer()
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, string(t))
	return errors.Join(err, w.Close())
}

func (c *change) store(what interface {
	Encode(o plumbing.EncodedObject) error
}) (plumbing.Hash, error) {
	o := c.git.Storer.NewEncodedObject()
	err := what.Encode(o)
	if err != nil {
		return plumbing.ZeroHash, actions.Permanent(fmt.Errorf("gitops: %w", err))
	}
	hash, err := c.git.Storer.SetEncodedObject(o)
	return hash, actions.Permanent(err)
}

func title(c *change) string { return "Update " + c.path }

// push pushes the step's branch and nothing else. When the answer gets lost it looks whether it arrived.
func (c *change) push(ctx context.Context, tip plumbing.Hash) error {
	spec := gitconfig.RefSpec(c.ref() + ":" + c.ref())
	if c.ref() == c.base || spec.IsForceUpdate() {
		return actions.Permanent(errors.New("gitops: the base branch is never pushed to"))
	}
	err := c.git.PushContext(ctx, &git.PushOptions{RemoteName: git.DefaultRemoteName, RefSpecs: []gitconfig.RefSpec{spec}, Auth: c.repository.Auth})
	if err == nil || errors.Is(err, git.NoErrAlreadyUpToDate) {
		return nil
	}
	if c.look(ctx) == nil && c.tip == tip {
		return nil
	}
	return explain(ctx, "push", err)
}

// maxText is how much of a description a pull request has, in characters.
const maxText = 8000

// open opens the pull request, or finds it: the answer to an attempt before may have got lost.
func (h handler) open(ctx context.Context, req *actions.Request, c *change) (pr PullRequest, err error) {
	forge := c.repository.Forge
	err = patience.Try(ctx, func() error {
		all, err := forge.Find(ctx, c.branch)
		if err != nil {
			return err
		}
		for _, found := range all {
			if pr = found; pr.Open || pr.Merged {
				return nil
			}
		}
		if len(all) > 0 {
			return actions.Permanent(fmt.Errorf("pull request %s of branch %s was closed: reopen it if the change is still wanted", pr.URL, c.branch))
		}
		description := []rune(req.Description)
		if len(description) > maxText {
			description = append(description[:maxText], '…')
		}
		pr, err = forge.Open(ctx, c.branch, c.base.Short(), title(c), fmt.Sprintf("Step %s of run %s.\n\n%s", req.Step, req.Run, string(description)))
		return err
	})
	return pr, err
}

// DryRun says which lines would change. It pushes nothing.
func (h handler) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	c, err := h.prepare(ctx, req)
	switch {
	case err != nil:
		return nil, err
	case c.before == c.after && c.tip.IsZero():
		return &actions.Preview{Change: []string{"nothing: " + c.path + " has the values already"}}, nil
	}
	p := &actions.Preview{Change: []string{c.path + " on branch " + c.branch}}
	if secret(c.before) || secret(c.after) {
		p.Change = append(p.Change, fmt.Sprintf("%d lines, which are not shown: it is a Secret", len(lines(c.before, c.after))))
	} else {
		p.Change = append(p.Change, lines(c.before, c.after)...)
	}
	if req.Parameters.Bool("createPR") {
		p.Change = append(p.Change, "a pull request into "+c.base.Short())
	}
	return p, nil
}

// Probe tells whether the branch is there, and its pull request. What is missing, another attempt adds.
func (h handler) Probe(ctx context.Context, req *actions.Request) (outcome actions.Outcome, err error) {
	if req.Begun == nil {
		return actions.OutcomeDidNotHappen, nil
	}
	err = patience.Try(ctx, func() error {
		outcome, err = h.probe(ctx, req)
		return err
	})
	return outcome, err
}

func (h handler) probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	at, err := h.place(ctx, req)
	if err != nil {
		return actions.OutcomeUnknown, err
	}
	commit, _ := req.Begun.State["commit"].(string)
	if forge := at.repository.Forge; forge != nil && req.Parameters.Bool("createPR") {
		all, err := forge.Find(ctx, at.branch)
		switch {
		case err != nil:
			return actions.OutcomeUnknown, err
		case slices.ContainsFunc(all, func(pr PullRequest) bool { return pr.Open || pr.Merged || !at.tip.IsZero() }):
			return actions.OutcomeHappened, nil
		case at.tip.String() == commit:
			return actions.OutcomeUnfinished, nil
		}
	}
	switch {
	case at.tip.IsZero():
		return actions.OutcomeDidNotHappen, nil
	case at.tip.String() != commit:
		return actions.OutcomeUnknown, actions.Permanent(fmt.Errorf("branch %s is there, but its last commit is not the one that this step was about to push", at.branch))
	}
	return actions.OutcomeHappened, nil
}

// Compensate closes the pull request and deletes the branch, unless somebody has gone on with them.
func (h handler) Compensate(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	if undo == nil {
		return nil
	}
	return patience.Try(ctx, func() error { return h.takeBack(ctx, req, undo) })
}

func (h handler) takeBack(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	at, err := h.place(ctx, req)
	if err != nil {
		return err
	}
	if commit, _ := undo.State["commit"].(string); !at.tip.IsZero() && at.tip.String() != commit {
		return fmt.Errorf("somebody has pushed to %s: %w", at.branch, actions.ErrDrift)
	}
	if forge := at.repository.Forge; forge != nil {
		if err := withdraw(ctx, forge, req, at.branch); err != nil {
			return err
		}
	}
	if at.tip.IsZero() {
		return nil
	}
	// The server deletes the branch only where it is still as it was seen.
	err = at.origin.PushContext(ctx, &git.PushOptions{RemoteName: git.DefaultRemoteName, RefSpecs: []gitconfig.RefSpec{gitconfig.RefSpec(":" + at.ref())},
		RequireRemoteRefs: []gitconfig.RefSpec{gitconfig.RefSpec(at.tip.String() + ":" + at.ref().String())}, Auth: at.repository.Auth})
	if err == nil || errors.Is(err, git.NoErrAlreadyUpToDate) {
		return nil
	}
	return explain(ctx, "delete the branch", err)
}

// withdraw closes the step's pull request, unless it is merged or others need the branch.
func withdraw(ctx context.Context, forge Forge, req *actions.Request, branch string) error {
	others, err := forge.Find(ctx, branch)
	if err != nil {
		return err
	}
	for _, pr := range others {
		if pr.Merged {
			return fmt.Errorf("pull request %s is merged: revert it there: %w", pr.URL, actions.ErrDrift)
		}
	}
	var own PullRequest
	if len(others) > 0 && req.Parameters.Bool("createPR") { // nobody could open one before the step did
		own, others = others[0], others[1:]
	}
	into, err := forge.Into(ctx, branch)
	if err != nil {
		return err
	}
	for _, pr := range append(others, into...) {
		if pr.Open {
			return fmt.Errorf("pull request %s needs branch %s: %w: close and delete them by hand", pr.URL, branch, actions.ErrDrift)
		}
	}
	if !own.Open {
		return nil
	}
	return forge.Close(ctx, own.Number)
}

var userinfo = regexp.MustCompile(`//[^/\s]*@`)

// advice is what to do about what a git server says for good.
var advice = map[error]string{
	transport.ErrAuthenticationRequired: "have Repository.Auth log in",
	transport.ErrAuthorizationFailed:    "give its account the right to read and to push branches",
	transport.ErrRepositoryNotFound:     "set Repository.URL to where it is; many servers say so too when an account may not see it",
	transport.ErrEmptyRemoteRepository:  "it needs a first commit",
	transport.ErrInvalidAuthMethod:      "Repository.Auth is of another protocol than Repository.URL",
	plumbing.ErrReferenceNotFound:       "name another baseBranch",
	git.ErrDeleteRefNotSupported:        "delete the branch by hand",
}

// final are parts of what is said for good where there is no error to know it by.
var final = []string{"hook declined", "command error on", "non-fast-forward", "unsupported scheme", "unable to authenticate", "no supported methods remain", "knownhosts: key", "ssh: host key"}

// explain classes an error of git, says what to do, and takes credentials out of it.
func explain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, explained := errors.AsType[*actions.HandlerError](err); explained {
		return err
	}
	who := "gitops: " + what
	if e, ok := errors.AsType[*plumbing.UnexpectedError](err); ok { // it does not unwrap
		err = e.Err
	}
	if e, ok := errors.AsType[*plumbing.PermanentError](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*githttp.Err](err); ok {
		return directclient.Refused(who, e.Response, e.Reason, nil)
	}
	if _, ok := errors.AsType[*url.Error](err); ok || directclient.Untrusted(err) {
		return directclient.Failed(who, err)
	}
	said := directclient.Line(userinfo.ReplaceAllString(err.Error(), "//"))
	for known, todo := range advice {
		if errors.Is(err, known) || strings.Contains(said, known.Error()) {
			return actions.Permanent(fmt.Errorf("%s: %s: %s", who, said, todo))
		}
	}
	if _, noRef := errors.AsType[git.NoMatchingRefSpecError](err); noRef {
		return actions.Permanent(fmt.Errorf("%s: %s: name another baseBranch", who, said))
	}
	if slices.ContainsFunc(final, func(part string) bool { return strings.Contains(said, part) }) {
		return actions.Permanent(fmt.Errorf("%s: %s", who, said))
	}
	return actions.Transient(fmt.Errorf("%s: %s", who, said))
}
