package web_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/channels/web"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
)

// byLink is a site whose people are known by links, without a server, for virtual time.
func byLink(t *testing.T, config func(c *executor.Config)) (*site, *web.Links) {
	t.Helper()
	links, err := web.NewLinks("https://approvals.example.com/remedy", key)
	require.NoError(t, err)
	s := newSite(t, setup{noServer: true, config: config, options: func(o *web.Options) {
		o.URL, o.Proxy, o.Links = "https://approvals.example.com/remedy", nil, links
	}})
	return s, links
}

// ask sends a request to the handler itself.
func (s *site) ask(method, to string, f url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, to, strings.NewReader(f.Encode()))
	r.RemoteAddr = "192.0.2.7:4711"
	if f != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	s.channel.ServeHTTP(w, r)
	return w
}

// answer opens a link and hands in the form that it shows.
func (s *site) answer(link, verdict string) *httptest.ResponseRecorder {
	page := s.ask(http.MethodGet, link, nil)
	if page.Code != http.StatusOK {
		return page
	}
	return s.ask(http.MethodPost, link+"/decision", with(form(page.Body.String()), "verdict", verdict))
}

func TestALinkDecidesOnceAndOnlyByItsForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, links := byLink(t, nil)
		run, req := s.start("r", oomkill(t))
		link, err := links.URL(req, "ann", "sre")
		require.NoError(t, err)
		require.Regexp(t, `^https://approvals\.example\.com/remedy/link/[\w-]+\.[\w-]+$`, link)
		for range 20 { // as a mail scanner does
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				require.Equal(t, http.StatusOK, s.ask(method, link, nil).Code)
				require.Equal(t, http.StatusOK, s.ask(method, link+"/drawing.svg", nil).Code)
			}
		}
		require.Equal(t, http.StatusForbidden, s.ask(http.MethodPost, link+"/decision", fields("verdict", "approve", "request", req.Key, "digest", req.Digest)).Code)
		require.Equal(t, executor.RunParked, run.Snapshot().Status())
		page := s.ask(http.MethodGet, link, nil).Body.String()
		again := with(form(page), "verdict", "approve")
		done := s.ask(http.MethodPost, link+"/decision", again)
		require.Equal(t, http.StatusSeeOther, done.Code, done.Body)
		require.True(t, strings.HasSuffix(link, done.Header().Get("Location")))
		require.Equal(t, "ann", ended(t, run).Step(3).Gate.By)
		replay := s.ask(http.MethodPost, link+"/decision", again)
		require.Equal(t, http.StatusConflict, replay.Code)
		require.Contains(t, replay.Body.String(), "This link has been used")
		require.Contains(t, replay.Body.String(), "Approved by ann at ")
		require.NotContains(t, s.ask(http.MethodGet, link, nil).Body.String(), "<form")
		require.Equal(t, http.StatusNotFound, s.ask(http.MethodGet, "https://approvals.example.com/remedy/", nil).Code, "a link shows no list")
		require.Equal(t, http.StatusNotFound, s.ask(http.MethodGet, "https://approvals.example.com/remedy/runs/r", nil).Code)
	})
}

func TestAUsedLinkIsKnownAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := journal.NewMemory()
		two := func(c *executor.Config) {
			p := *approval.IncidentTable()
			p.Quorum = 2
			c.Policy, c.Journal = &p, kept
		}
		s, links := byLink(t, two)
		stop := s.stoppable()
		run, req := s.start("r", oomkill(t))
		link, err := links.URL(req, "ann")
		require.NoError(t, err)
		require.Equal(t, http.StatusSeeOther, s.answer(link, "approve").Code)
		spare, err := links.URL(req, "ann", "sre")
		require.NoError(t, err)
		stop()
		<-run.Done()

		s, _ = byLink(t, two)
		run, _ = s.start("r", oomkill(t))
		page := s.ask(http.MethodGet, link, nil).Body.String()
		require.Contains(t, page, "You have said yes with this link")
		for _, l := range []string{link, spare} {
			for _, verdict := range []string{"approve", "reject"} {
				f := fields("request", req.Key, "digest", req.Digest, "verdict", verdict, "token", web.LinkToken(s.channel, l, "ann", req))
				used := s.ask(http.MethodPost, l+"/decision", f)
				require.Equal(t, http.StatusConflict, used.Code)
				require.Contains(t, used.Body.String(), "This link has been used")
			}
		}
		bob, err := links.URL(req, "bob")
		require.NoError(t, err)
		require.Equal(t, http.StatusSeeOther, s.answer(bob, "approve").Code)
		require.Equal(t, executor.RunSucceeded, ended(t, run).Status())
	})
}

func TestOnlyLinksThatWereMadeHereAreGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, links := byLink(t, nil)
		run, req := s.start("r", oomkill(t))
		_, other := s.start("other", oomkill(t))
		link, err := links.URL(req, "ann")
		require.NoError(t, err)
		foreign, err := web.NewLinks("https://approvals.example.com/remedy", bytes.Repeat([]byte("x"), 32))
		require.NoError(t, err)
		forged, err := foreign.URL(req, "ann")
		require.NoError(t, err)
		refused := []string{forged, link + "A", link[:len(link)-1], link + ".x", link + "%0A", link + "%0D%0A"}
		at := strings.Index(link, "/link/") + len("/link/")
		for i := at; i < len(link); i++ {
			for _, c := range "A_" {
				if changed := link[:i] + string(c) + link[i+1:]; changed != link {
					refused = append(refused, changed)
				}
			}
		}
		for _, l := range refused {
			got := s.ask(http.MethodGet, l, nil)
			require.Contains(t, []int{http.StatusForbidden, http.StatusNotFound}, got.Code, l)
			require.NotContains(t, got.Body.String(), "restart_pod")
		}
		cross, err := links.URL(other, "ann")
		require.NoError(t, err)
		f := with(form(s.ask(http.MethodGet, link, nil).Body.String()), "verdict", "approve")
		require.Equal(t, http.StatusForbidden, s.ask(http.MethodPost, cross+"/decision", f).Code, "the form of one link sent by another")
		f = fields("request", req.Key, "digest", req.Digest, "verdict", "approve", "token", web.LinkToken(s.channel, cross, "ann", req))
		require.Equal(t, http.StatusForbidden, s.ask(http.MethodPost, cross+"/decision", f).Code)
		session := s.ask(http.MethodGet, strings.Replace(link, "/link/", "/runs/", 1), nil)
		require.Equal(t, http.StatusNotFound, session.Code)
		require.Equal(t, executor.RunParked, run.Snapshot().Status())
	})
}

func TestALinkIsNoLongerGoodThanItsQuestionWhateverTheClocksSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, links := byLink(t, nil)
		run, req := s.start("r", oomkill(t))
		link, err := links.URL(req, "ann")
		require.NoError(t, err)
		ahead := *req // as a replica sees it whose clock is an hour ahead
		ahead.ExpiresAt = req.ExpiresAt.Add(time.Hour)
		late, err := links.URL(&ahead, "ann")
		require.NoError(t, err)
		behind := *req
		behind.ExpiresAt = req.AskedAt.Add(-time.Minute)
		early, err := links.URL(&behind, "ann")
		require.NoError(t, err)
		require.Equal(t, http.StatusGone, s.ask(http.MethodGet, early, nil).Code)
		page := s.ask(http.MethodGet, late, nil).Body.String()
		require.Contains(t, page, ">15 min 00 s<", "what is left is the gate's time, not the link's")
		time.Sleep(approval.DefaultTimeout)
		synctest.Wait()
		ended(t, run)
		got := s.ask(http.MethodPost, late+"/decision", with(form(page), "verdict", "approve"))
		require.Equal(t, http.StatusGone, got.Code)
		require.Contains(t, got.Body.String(), "This came too late")
		time.Sleep(2 * time.Second)
		gone := s.ask(http.MethodGet, link, nil)
		require.Equal(t, http.StatusGone, gone.Code)
		require.Contains(t, gone.Body.String(), "This link has expired")
		require.Contains(t, gone.Body.String(), "Nobody answered in time, which means no.")
		require.Equal(t, executor.RunRejected, run.Snapshot().Status())
	})
}

func TestALinkToWhatHasChangedSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, links := byLink(t, nil)
		_, req := s.start("r", oomkill(t))
		older := *req
		older.Digest = "sha256:0"
		link, err := links.URL(&older, "ann")
		require.NoError(t, err)
		page := s.ask(http.MethodGet, link, nil)
		require.Contains(t, page.Body.String(), "What is asked has changed since this link was sent")
		require.NotContains(t, page.Body.String(), "<form")
		f := fields("request", req.Key, "digest", "sha256:0", "verdict", "approve", "token", web.LinkToken(s.channel, link, "ann", &older))
		got := s.ask(http.MethodPost, link+"/decision", f)
		require.Equal(t, http.StatusConflict, got.Code)
		require.Contains(t, got.Body.String(), "What you were shown has changed")
	})
}
