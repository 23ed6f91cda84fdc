package web

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/dag/render"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/internal/wording"
)

// A notice tells somebody what became of what they did.
type notice struct {
	Status      int
	Title, Text string
	// Back leads on; "" leads nowhere.
	Back string
	// decided tells that how the question ended is worth saying.
	decided bool
}

type problem = notice

// A frame is what every page has.
type frame struct {
	Title  string
	Assets assets
	Home   string // the list; "" for who may not see it
	Person string
	Notice *notice
	// Self is the page's own address, Live that of its stream, "" where there is none.
	Self, Live, Version string
	// Refresh leads on at once.
	Refresh string
}

func (c *Channel) frame(title string, p person) frame {
	f := frame{Title: title, Assets: c.assets, Person: shown(p.name)}
	if p.link == nil {
		f.Home = c.path + "/"
	}
	return f
}

// write makes the whole page before any of it is sent.
func (c *Channel) write(w http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer
	if err := c.pages.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // who does not read it is gone
}

// tell answers with a page that says one thing.
func (c *Channel) tell(w http.ResponseWriter, _ *http.Request, n notice) {
	f := c.frame(n.Title, person{})
	f.Notice, f.Home = &n, ""
	c.write(w, n.Status, "notice", f)
}

// onward answers with a page that leads to another at once.
func (c *Channel) onward(w http.ResponseWriter, to string) {
	f := c.frame("One moment", person{})
	f.Home, f.Refresh = "", to
	c.write(w, http.StatusOK, "onward", f)
}

// A row is a question on the list.
type row struct {
	Run, Subject, Target, Risk, Page, Incident string
	Left                                       left
	Votes                                      int
}

const rowsPerPage = 100

// list shows what waits.
func (c *Channel) list(w http.ResponseWriter, r *http.Request) {
	p, ok := c.known(w, r)
	if !ok {
		return
	}
	number, _ := strconv.Atoi(r.URL.Query().Get("page"))
	number = min(max(1, number), 1<<20)
	now := time.Now()
	entries, all := c.shelf.waiting((number-1)*rowsPerPage, rowsPerPage)
	data := struct {
		frame
		Rows           []row
		All, From, To  int
		Earlier, Later string
	}{frame: c.frame("Waiting for approval", p), All: all, From: (number-1)*rowsPerPage + 1, To: (number-1)*rowsPerPage + len(entries)}
	data.Self = c.path + "/"
	if number > 1 {
		data.Earlier = c.path + "/?page=" + strconv.Itoa(number-1)
	}
	if data.To < all && len(entries) > 0 {
		data.Later = c.path + "/?page=" + strconv.Itoa(number+1)
	}
	for i := range entries {
		e := &entries[i]
		line := row{
			Run: shown(e.req.Run), Subject: upper(e.req.Subject()), Risk: e.req.Gate.Risk.String(), Page: c.pagePath(p, e.req.Run, e.req.Key),
			Left: leftOf(e.req, now), Votes: len(e.standing.Votes),
		}
		if e.req.Step != nil && e.req.Step.Target().Name != "" {
			line.Target = shown(e.req.Step.Target().String())
		}
		if e.req.Incident != nil {
			line.Incident = shown(wording.Cut(e.req.Incident.Title, 120))
		}
		data.Rows = append(data.Rows, line)
	}
	c.write(w, http.StatusOK, "list", data)
}

// page shows a run, with the question that it was opened for, or the first that is open.
func (c *Channel) page(w http.ResponseWriter, r *http.Request) {
	p, ok := c.known(w, r)
	if !ok {
		return
	}
	key := r.URL.Query().Get("request")
	if p.link != nil {
		key = p.link.Key
	}
	c.show(w, r, p, c.runOf(p, r), key, nil)
}

// A runPage is what the page of a run shows.
type runPage struct {
	frame
	Run, Status, Class, Began string
	Question                  *question
	Others                    []row
	Drawing                   string
	Steps                     []stepRow
	Events                    []eventRow
	Dropped                   int
}

func (c *Channel) show(w http.ResponseWriter, r *http.Request, p person, run, key string, n *notice) {
	v, now := c.shelf.view(run), time.Now()
	report := c.report(run)
	if !v.known && report == nil {
		c.tell(w, r, problem{Status: http.StatusNotFound, Title: "This run is not known here",
			Text: "It may have ended long ago, or it is not resumed yet.", Back: c.frame("", p).Home})
		return
	}
	e := v.choose(key)
	if p.link != nil && (e == nil || e.req.Key != key) {
		c.tell(w, r, problem{Status: http.StatusNotFound, Title: "This question is not known here",
			Text: "It may have been closed long ago, or its run is not resumed yet. Nothing was decided."})
		return
	}
	data := runPage{frame: c.frame("Run "+shown(run), p), Run: shown(run), Dropped: v.dropped}
	data.Notice, data.Version = n, c.version(v.version)
	data.Live, data.Self = c.root(p, run)+"/live", c.pagePath(p, run, key)
	data.Status = cmp.Or(v.status, string(executor.RunRunning))
	if report != nil {
		data.Status, data.Began = string(report.Status()), clock(report.StartedAt())
	}
	data.Class, data.Status = data.Status, words(data.Status)
	if e != nil {
		data.Question = c.question(p, e, now)
		data.Title = data.Question.Subject + " · " + data.Title
		if data.Question.Open {
			data.Status, data.Class = "waits for approval", "waitingApproval"
		}
	}
	for i := range v.entries {
		o := &v.entries[i]
		if e != nil && o.req.Key != e.req.Key && o.standing.State == approval.Open && p.link == nil {
			data.Others = append(data.Others, row{Subject: upper(o.req.Subject()), Page: c.pagePath(p, run, o.req.Key), Left: leftOf(o.req, now)})
		}
	}
	if plan := v.plan(report); plan != nil {
		q := url.Values{"v": {data.Version}}
		if e != nil {
			q.Set("request", e.req.Key)
		}
		data.Drawing = c.root(p, run) + "/drawing.svg?" + q.Encode()
		data.Steps = stepRows(plan, report)
		data.Events = eventRows(plan, v.events)
	}
	status := http.StatusOK
	if n != nil {
		status = n.Status
	}
	c.write(w, status, "run", data)
}

// report is how a run stands; nil when nobody here conducts it.
func (c *Channel) report(run string) *executor.Report {
	if ex := c.executor.Load(); ex != nil {
		if r := ex.Lookup(run); r != nil {
			return r.Snapshot()
		}
	}
	return nil
}

// choose is the entry with a key, or with none the first that is open, or the last.
func (v *view) choose(key string) *entry {
	if key != "" {
		return v.entry(key)
	}
	for i := range v.entries {
		if v.entries[i].standing.State == approval.Open {
			return &v.entries[i]
		}
	}
	if n := len(v.entries); n > 0 {
		return &v.entries[n-1]
	}
	return nil
}

func (v *view) entry(key string) *entry {
	if i := slices.IndexFunc(v.entries, func(e entry) bool { return e.req.Key == key }); i >= 0 {
		return &v.entries[i]
	}
	return nil
}

func (v *view) plan(r *executor.Report) *dag.Plan {
	switch {
	case r != nil:
		return r.Plan()
	case len(v.entries) > 0:
		return v.entries[0].req.Plan
	}
	return nil
}

// drawing shows the plan as a picture, which as an image runs and loads nothing, whatever it holds.
func (c *Channel) drawing(w http.ResponseWriter, r *http.Request) {
	p, ok := c.known(w, r)
	if !ok {
		return
	}
	run, key := c.runOf(p, r), r.URL.Query().Get("request")
	if p.link != nil {
		key = p.link.Key
	}
	v, report := c.shelf.view(run), c.report(run)
	plan := v.plan(report)
	if plan == nil {
		http.Error(w, "this run is not known here", http.StatusNotFound)
		return
	}
	view := render.View{}
	if e := v.choose(key); e != nil {
		if g := e.req.Gates; g != nil {
			view.Gated, view.Risk, view.PlanGated = g.Required, g.Risk, g.Plan.Required
		}
		if e.req.Step != nil {
			view.Mark, view.Marked = e.req.Step.Index(), true
		}
	}
	if report != nil {
		view.State = func(i int) string {
			if s := report.Step(i).Status; s != executor.Pending {
				return words(s.String())
			}
			return ""
		}
	}
	svg := []byte(render.SVG(plan, view))
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src '"+styleHash(svg)+"'; frame-ancestors 'none'; sandbox")
	w.Header().Set("Content-Type", "image/svg+xml")
	_, _ = w.Write(svg)
}

// left is the time that a question has left.
type left struct {
	Never   bool
	Seconds int
	Text    string
	Until   string
}

func leftOf(req *approval.Request, now time.Time) left {
	if req.ExpiresAt.IsZero() {
		return left{Never: true, Text: "no limit"}
	}
	d := max(0, req.ExpiresAt.Sub(now)).Truncate(time.Second)
	l := left{Seconds: int(d / time.Second), Text: countdown(d), Until: clock(req.ExpiresAt)}
	if d == 0 {
		l.Text = "time is up"
	}
	return l
}

// countdown writes what is left as the script does.
func countdown(d time.Duration) string {
	s := int(d / time.Second)
	switch {
	case s >= 3600:
		return fmt.Sprintf("%d h %02d min", s/3600, s/60%60)
	case s >= 60:
		return fmt.Sprintf("%d min %02d s", s/60, s%60)
	}
	return fmt.Sprintf("%d s", s)
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05 MST") }
