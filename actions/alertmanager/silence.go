package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/patience"
)

// A silenced is a silence as the API has it.
type silenced struct {
	ID        string    `json:"id,omitempty"`
	Matchers  []matcher `json:"matchers"`
	StartsAt  time.Time `json:"startsAt"`
	EndsAt    time.Time `json:"endsAt"`
	CreatedBy string    `json:"createdBy"`
	Comment   string    `json:"comment"`
	Status    *struct {
		State string `json:"state"`
	} `json:"status,omitempty"`
}

func (s *silenced) active() bool { return s.Status != nil && s.Status.State != "expired" }

type matcher struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual bool   `json:"isEqual"`
}

func matching(name string) matcher { return matcher{"alertname", name, false, true} }

// silence silences alerts by name.
type silence struct{ a *Alertmanager }

// maxReason is how much of a reason stands in a comment.
const maxReason = 500

// mark ends the comment of a step's silences.
func mark(req *actions.Request) string { return "[remedy " + req.Key() + "]" }

func comment(req *actions.Request) string {
	reason := []rune(strings.Join(strings.Fields(req.Parameters.String("reason")), " "))
	if len(reason) > maxReason {
		reason = append(reason[:maxReason], '…')
	}
	return strings.TrimSpace(string(reason) + " " + mark(req))
}

// alerts are the names of a step, each once.
func alerts(req *actions.Request) (names []string, err error) {
	all, _ := req.Parameters.Get("alerts").([]string)
	for _, name := range all {
		if strings.TrimSpace(name) == "" {
			return nil, actions.Permanent(errors.New("silence_alerts: an alert without a name would silence everything"))
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, actions.Permanent(errors.New("silence_alerts: no alert is named, which would silence everything"))
	}
	return names, nil
}

// all are the silences that there are, those that have expired too. What somebody has made of one may match no filter any more.
func (s silence) all(ctx context.Context) (all []silenced, err error) {
	err = patience.Try(ctx, func() error { return s.a.call(ctx, "GET", "silences", nil, nil, &all) })
	return all, err
}

// own are a step's silences by alert, those that have expired too.
func (s silence) own(ctx context.Context, req *actions.Request, names []string) (map[string][]silenced, error) {
	all, err := s.all(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string][]silenced{}
	for _, name := range names {
		for _, one := range all {
			if strings.HasSuffix(one.Comment, mark(req)) && slices.Contains(one.Matchers, matching(name)) {
				found[name] = append(found[name], one)
			}
		}
	}
	return found, nil
}

// current is a silence that has not expired.
func current(all []silenced) (silenced, bool) {
	i := slices.IndexFunc(all, func(s silenced) bool { return s.active() })
	if i < 0 {
		return silenced{}, false
	}
	return all[i], true
}

// BeginsItself is true.
func (silence) BeginsItself() bool { return true }

// Execute makes the silences that are not there yet.
func (s silence) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	names, err := alerts(req)
	if err != nil {
		return nil, err
	}
	there, err := s.own(ctx, req, names)
	if err != nil {
		return nil, err
	}
	from := time.Now().UTC().Truncate(time.Second)
	until := from.Add(req.Parameters.Duration("duration"))
	ends := map[string]any{}
	for _, name := range names {
		end := until
		if one, ok := current(there[name]); ok {
			end = one.EndsAt
		}
		ends[name] = end.Format(time.RFC3339)
	}
	undo := &actions.Undo{Summary: "expire the silences of " + strings.Join(names, ", "), State: map[string]any{"until": ends}}
	if err := req.Begin(ctx, undo); err != nil {
		return nil, err
	}
	ids := map[string]any{}
	for _, name := range names {
		one, ok := current(there[name])
		if !ok {
			if one, err = s.make(ctx, req, name, from, until); err != nil {
				return nil, err
			}
		}
		ids[name] = one.ID
	}
	told := make([]string, len(names))
	for i, name := range names {
		told[i] = fmt.Sprintf("%s until %s", name, ends[name])
	}
	return &actions.Result{Message: "silent: " + strings.Join(told, ", "), Outputs: map[string]any{"silences": ids}}, nil
}

// make makes a silence. When an answer gets lost it looks whether there is one, and else tries again.
func (s silence) make(ctx context.Context, req *actions.Request, name string, from, until time.Time) (made silenced, err error) {
	sent := false
	err = patience.Try(ctx, func() error {
		if sent {
			there, err := s.own(ctx, req, []string{name})
			if err != nil {
				return err
			}
			if one, ok := current(there[name]); ok {
				made = one
				return nil
			}
		}
		sent = true
		var answer struct {
			ID string `json:"silenceID"`
		}
		// It begins at once, also where the clock is behind: the server takes no start in the past.
		made = silenced{Matchers: []matcher{matching(name)}, StartsAt: from.Add(-time.Hour), EndsAt: until, CreatedBy: s.a.createdBy, Comment: comment(req)}
		err := s.a.call(ctx, "POST", "silences", nil, made, &answer)
		made.ID = answer.ID
		return err
	})
	return made, err
}

// DryRun says what would be silenced.
func (s silence) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	names, err := alerts(req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dryRunTime)
	defer cancel()
	firing, err := s.a.firing(ctx, names)
	if err != nil {
		return nil, err
	}
	p := &actions.Preview{}
	for _, name := range names {
		n := 0
		for _, one := range firing {
			if one.name() == name {
				n++
			}
		}
		p.Change = append(p.Change, fmt.Sprintf("silence %s for %v; %d fire now", name, req.Parameters.Duration("duration"), n))
	}
	return p, nil
}

// Probe tells whether all silences were made; one that has expired since was.
func (s silence) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	names, err := alerts(req)
	if err != nil {
		return actions.OutcomeUnknown, err
	}
	made, err := s.own(ctx, req, names)
	switch {
	case err != nil:
		return actions.OutcomeUnknown, err
	case len(made) == len(names):
		return actions.OutcomeHappened, nil
	case len(made) > 0:
		return actions.OutcomeUnfinished, nil
	}
	return actions.OutcomeDidNotHappen, nil
}

// Compensate expires the silences, unless somebody has given one another meaning, another comment or another end.
func (s silence) Compensate(ctx context.Context, req *actions.Request, undo *actions.Undo) error {
	if undo == nil {
		return nil
	}
	names, err := alerts(req)
	if err != nil {
		return err
	}
	all, err := s.all(ctx)
	if err != nil {
		return err
	}
	var drifted []string
	for _, one := range all {
		same, changed := s.compare(one, req, names, undo)
		switch {
		case changed:
			drifted = append(drifted, one.ID)
		case same:
			err := patience.Try(ctx, func() error { return s.expire(ctx, one.ID) })
			if err != nil {
				return err
			}
		}
	}
	if drifted != nil {
		return fmt.Errorf("silences %s: %w: expire them by hand if nobody needs them", strings.Join(drifted, ", "), actions.ErrDrift)
	}
	return nil
}

// expire expires a silence. To do so twice is an error to an Alertmanager, so it looks whether an answer got lost, or whether
// somebody else has done it.
func (s silence) expire(ctx context.Context, id string) error {
	err := s.a.call(ctx, "DELETE", "silence/"+url.PathEscape(id), nil, nil, nil)
	if err == nil {
		return nil
	}
	var all []silenced
	if s.a.call(ctx, "GET", "silences", nil, nil, &all) == nil && !slices.ContainsFunc(all, func(o silenced) bool { return o.ID == id && o.active() }) {
		return nil
	}
	return err
}

// marked is the comment of any step's silence.
var marked = regexp.MustCompile(`\[remedy \S+\]$`)

// compare tells whether a silence is as the step has made it, or is what somebody has made of that.
func (s silence) compare(one silenced, req *actions.Request, names []string, undo *actions.Undo) (same, changed bool) {
	if !one.active() { // by itself, or by somebody
		return false, false
	}
	untouched := one.Status.State == "active" && one.CreatedBy == s.a.createdBy && len(one.Matchers) == 1
	i := slices.IndexFunc(names, func(name string) bool { return slices.Contains(one.Matchers, matching(name)) })
	ends, _ := undo.State["until"].(map[string]any)
	var end time.Time
	var known bool
	if i >= 0 {
		var err error
		end, err = time.Parse(time.RFC3339, fmt.Sprint(ends[names[i]]))
		known = err == nil
	}
	switch {
	case strings.HasSuffix(one.Comment, mark(req)):
		same = untouched && i >= 0 && one.Comment == comment(req) && (!known || end.Equal(one.EndsAt))
		return same, !same
	case untouched && known && end.Equal(one.EndsAt) && !marked.MatchString(one.Comment): // its comment was replaced
		return false, true
	}
	return false, false
}
