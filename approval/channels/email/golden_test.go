package email_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/channels/email"
	"github.com/remedykit/remedy/approval/channels/internal/asktest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
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

func TestMailsReadAsTheirGoldenFiles(t *testing.T) {
	c := channel(t, email.Options{
		URL: "https://remedy.example.com/approve", Key: key, From: "remedy@example.com",
		People: map[string]email.Person{"ann": {Address: "ann@example.com"}}, Server: email.Server{Address: "smtp.example.com:587"},
	})
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	panel := approval.Panel{Quorum: 2, Approvers: approval.Approvers{Groups: []string{"sre"}}, Escalation: &approval.Escalation{After: 5 * time.Minute, To: approval.Approvers{People: []string{"eve"}}}}
	for name, s := range map[string]approval.Standing{
		"question": {}, "rejected": {State: approval.Denied, By: "bob", Reason: "not on a Friday", At: noon.Add(time.Minute)},
	} {
		plain, html, err := c.Render(asktest.Request(t, noon, panel), s, "ann", noon.Add(time.Minute))
		require.NoError(t, err)
		golden(t, name+".txt", plain)
		golden(t, name+".html", html)
	}
	_, html, err := c.Render(asktest.Hostile(t, noon), approval.Standing{}, "ann", noon)
	require.NoError(t, err)
	golden(t, "hostile.html", html)
}
