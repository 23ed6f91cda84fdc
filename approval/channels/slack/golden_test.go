package slack_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/channels/internal/asktest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMessagesReadAsTheirGoldenFiles(t *testing.T) {
	c := channelOf(t, options(open(t)))
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	panel := approval.Panel{Quorum: 2, Approvers: sre.Approvers, Escalation: &approval.Escalation{After: 5 * time.Minute, To: approval.Approvers{Groups: []string{"leads"}}}}
	for name, s := range map[string]approval.Standing{
		"question": {}, "rejected": {State: approval.Denied, By: "bob", Reason: "not on a Friday", At: noon.Add(time.Minute)},
		"escalated": {Escalated: true, Votes: []approval.Vote{{By: "ann", Reason: "fine"}}, Missing: "1 of group sre, group leads"},
	} {
		blocks, err := c.Blocks(asktest.Request(t, noon, panel), s, noon.Add(time.Minute))
		require.NoError(t, err)
		golden(t, name+".json", blocks)
	}
	blocks, err := c.Blocks(asktest.Hostile(t, noon, sre), approval.Standing{}, noon)
	require.NoError(t, err)
	golden(t, "hostile.json", blocks)
}

func golden(t *testing.T, name string, blocks any) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	require.NoError(t, e.Encode(blocks))
	got := b.String()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got, -update rewrites it):\n%s", path, diff)
	}
}
