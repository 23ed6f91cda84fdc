package main

import (
	"bufio"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var field = regexp.MustCompile(`name="(request|digest|token)" value="([^"]*)"`)

// press sends the form of a page.
func press(t *testing.T, page, verdict string) (status int) {
	t.Helper()
	body := fetch(t, page)
	form := url.Values{"verdict": {verdict}, "reason": {"looked at it"}}
	for _, m := range field.FindAllStringSubmatch(body, -1) {
		form.Set(m[1], m[2])
	}
	u, err := url.Parse(page)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, page+"/decision", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", u.Scheme+"://"+u.Host)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	resp.Body.Close()
	return resp.StatusCode
}

func fetch(t *testing.T, page string) string {
	t.Helper()
	resp, err := http.Get(page)
	require.NoError(t, err)
	defer resp.Body.Close()
	var b strings.Builder
	_, err = bufio.NewReader(resp.Body).WriteTo(&b)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, b.String())
	return b.String()
}

// A person at this machine needs no proxy and no key: the link stands at the terminal, and the run goes on from the page.
func TestARunIsApprovedOnItsPage(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	for verdict, code := range map[string]int{"approve": exitOK, "reject": exitFailed} {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), exe, append(oomkill(dir), "--approve", "web", "--listen", "127.0.0.1:0", "--by", "ann",
			"--incident", file(t, "incident.yaml", "{id: INC-7, title: Payments are killed, evidence: [heap grows by 50 MB an hour]}"))...)
		cmd.Env = append(os.Environ(), "REMEDY_TEST_MAIN=1")
		said, err := cmd.StderrPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		line, err := bufio.NewReader(said).ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, "step 4, restart_pod asks ann: http://127.0.0.1:")
		link := strings.TrimSpace(line[strings.Index(line, "http://"):])
		require.Contains(t, fetch(t, link), "heap grows by 50 MB an hour")
		require.Equal(t, http.StatusSeeOther, press(t, link, verdict))
		_ = cmd.Wait()
		require.Equal(t, code, cmd.ProcessState.ExitCode())
		require.Contains(t, journalled(t, dir, "show", "r").stdout, map[string]string{"approve": "yes of ann: looked at it", "reject": "rejected by ann: looked at it"}[verdict])
	}
}

func TestChannelsThatAreNotConfiguredSayWhatIsMissing(t *testing.T) {
	site := func(text string) string { return file(t, "site.yaml", text) }
	t.Setenv("REMEDY_TEST_KEY", "c2hvcnQ=")
	for _, test := range []struct{ args, want string }{
		{"--approve email", "approvals.email in the file of --site"},
		{"--approve web --listen 0.0.0.0:0", "approvals.web in the file of --site"},
		{"--approve web --listen 127.0.0.1:0 --site " + site("approvals: {web: {url: \"https://a.example.com\"}}"), "approvals.keyEnv is missing"},
		{"--approve web --listen 127.0.0.1:0 --site " + site("approvals: {keyEnv: REMEDY_TEST_KEY, web: {url: \"https://a.example.com\"}}"), "32"},
		{"--approve web --listen 127.0.0.1:0 --site " + site("approvals: {keyEnv: REMEDY_TEST_NONE, web: {url: \"https://a.example.com\"}}"), "REMEDY_TEST_NONE is not set"},
		{"--approve web --listen nowhere", "--listen"},
		{"--approve slack --listen 127.0.0.1:0", "approvals.slack in the file of --site"},
		{"--approve slack --listen 127.0.0.1:0 --site " + site("approvals: {slack: {channel: C012, tokenEnv: REMEDY_TEST_NONE}}"), "approvals.slack.tokenEnv: the environment variable REMEDY_TEST_NONE is not set"},
	} {
		r := remedy(t.Context(), strings.NewReader(""), append(oomkill(filepath.Join(t.TempDir(), "j")), strings.Fields(test.args)...)...)
		require.Equal(t, exitUsage, r.code, "%s: %s", test.args, r.stderr)
		require.Contains(t, r.stderr, test.want, test.args)
	}
}
