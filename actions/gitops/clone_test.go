package gitops_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/gitops"
)

func TestARepositoryThatIsTooLargeIsNotReadIntoMemory(t *testing.T) {
	random := make([]byte, 700<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	noise := string(random)
	many := map[string]string{}
	for i := range 2500 {
		many[fmt.Sprint("f", i)] = fmt.Sprint(i)
	}
	for name, files := range map[string]map[string]string{
		"it is long":             {"a": noise, "b": strings.Repeat("b", 700<<10)},
		"it is long when packed": {"a": noise + noise[:600<<10]},
		"a bomb":                 {"a": strings.Repeat("0", 8<<20)},
		"two that are alike":     {"a": noise, "b": "and so on" + noise},
		"very many files":        many,
	} {
		t.Run(name, func(t *testing.T) {
			bare := repository(t)
			commit(t, bare, files)
			run(t, bare, "gc", "-q") // so that what is alike is a delta
			for _, address := range []string{bare, served(t, bare, nil).URL + "/bare.git"} {
				for most, want := range map[int64]string{1 << 20: "takes more than 1048576 bytes: keep what plans change in a smaller repository, or raise Options.MaxClone", 0: ""} {
					g, err := gitops.New(gitops.Options{MaxClone: most, Repositories: map[string]gitops.Repository{"k8s-configs": {URL: address}}})
					require.NoError(t, err)
					req, _ := request("production/config.yaml", map[string]any{"DATABASE_POOL_SIZE": "200"})
					req.Parameters = actions.NewParameters(map[string]any{"repository": "k8s-configs", "path": "production/config.yaml", "patch": map[string]any{"DATABASE_POOL_SIZE": "200"}, "createPR": false})
					_, err = g.Handlers()["update_git_manifests"].(actions.DryRunner).DryRun(t.Context(), req)
					if want == "" {
						require.NoError(t, err)
						continue
					}
					require.ErrorContains(t, err, want)
					require.False(t, actions.IsTransient(err))
				}
			}
		})
	}
	_, err := gitops.New(gitops.Options{MaxClone: -1, Repositories: map[string]gitops.Repository{"k8s-configs": {URL: "x"}}})
	require.ErrorContains(t, err, "Options.MaxClone is below 0")
}

func TestATreeWithFilesWithoutNumberIsNotCheckedOut(t *testing.T) {
	bare, f := repository(t), newForge(t)
	mktree := func(text string) string {
		cmd := exec.Command("git", "mktree")
		cmd.Dir, cmd.Stdin = bare, strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return strings.TrimSpace(string(out))
	}
	entry := "100644 blob " + run(t, bare, "rev-parse", "main:deployment.yaml")
	for range 9 {
		all := ""
		for i := range 10 {
			all += fmt.Sprintf("%s\tf%d\n", entry, i)
		}
		entry = "040000 tree " + mktree(all)
	}
	root := mktree(entry + "\tbomb\n" + run(t, bare, "ls-tree", "main") + "\n")
	run(t, bare, "update-ref", "refs/heads/main", run(t, bare, "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-p", "main", "-m", "more", root))

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, _ := request("production/config.yaml", map[string]any{"DATABASE_POOL_SIZE": "200"})
	_, err := handlerOf(t, bare, f).Execute(ctx, req)
	require.NoError(t, err)
	require.Equal(t, "production/config.yaml", run(t, bare, "diff-tree", "-r", "--name-only", "--no-commit-id", "remedy/r/rec-009"), "and nothing else has changed")
	require.Empty(t, run(t, bare, "fsck", "--no-dangling"))
}
