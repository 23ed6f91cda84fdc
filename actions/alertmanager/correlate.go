package alertmanager

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/patience"
)

// An alert that fires.
type alert struct {
	Labels   map[string]string `json:"labels"`
	StartsAt time.Time         `json:"startsAt"`
}

func (a alert) name() string { return a.Labels["alertname"] }

// quoted is a value as matchers have it, which know no other escapes.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// firing are the alerts with one of names, oldest first.
func (a *Alertmanager) firing(ctx context.Context, names []string) ([]alert, error) {
	var all []alert
	for _, name := range names { // a matcher each: a pattern of all could be too long for an address
		var some []alert
		err := patience.Try(ctx, func() error {
			return a.call(ctx, "GET", "alerts", url.Values{"filter": {"alertname=" + quoted(name)}}, nil, &some)
		})
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortStableFunc(all, func(x, y alert) int {
		return cmp.Or(x.StartsAt.Compare(y.StartsAt), cmp.Compare(x.name(), y.name()), cmp.Compare(fmt.Sprint(x.Labels), fmt.Sprint(y.Labels)))
	})
	return all, nil
}

type correlate struct{ a *Alertmanager }

// DryRun does what Execute does: it only reads.
func (c correlate) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	ctx, cancel := context.WithTimeout(ctx, dryRunTime)
	defer cancel()
	if _, err := c.Execute(ctx, req); err != nil {
		return nil, err
	}
	return &actions.Preview{Verdict: actions.Verified, Change: []string{"nothing: it only looks"}}, nil
}

// Execute groups the alerts: those belong together that start within the window of each other and share a label that says where
// they come from. One without any such label belongs to what began next to it.
func (c correlate) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	given, _ := req.Parameters.Get("alerts").([]string)
	var names []string
	for _, name := range given {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	all, err := c.a.firing(ctx, names)
	if err != nil {
		return nil, err
	}
	silent := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(all, func(a alert) bool { return a.name() == name })
	})
	groups := group(all, req.Parameters.Duration("correlationWindow"))
	outputs := make([]any, len(groups))
	for i, g := range groups {
		outputs[i] = g.output()
	}
	r := &actions.Result{Outputs: map[string]any{"alerts": len(all), "groups": outputs, "notFiring": silent}}
	switch {
	case len(all) == 0:
		r.Message = "none of the alerts fires"
	default:
		first := groups[0].ranked()[0]
		r.Message = fmt.Sprintf("%d alerts in %d groups; the likeliest cause is %s, since %s", len(all), len(groups), first.alert.name(), first.alert.StartsAt.UTC().Format(time.RFC3339))
	}
	if len(silent) > 0 {
		r.Message += "; not firing: " + strings.Join(silent, ", ")
	}
	return r, nil
}

// A cluster of alerts that belong together, oldest first.
type cluster []alert

// group puts alerts, oldest first, into clusters: largest first, then oldest.
func group(all []alert, window time.Duration) []cluster {
	of := make([]int, len(all)) // the first alert of each one's cluster, by way of others
	first := func(i int) int {
		for of[i] != i {
			of[i] = of[of[i]]
			i = of[i]
		}
		return i
	}
	join := func(i, j int) {
		i, j = first(i), first(j)
		of[max(i, j)] = min(i, j)
	}
	near := func(i, j int) bool { return all[j].StartsAt.Sub(all[i].StartsAt) <= window }
	latest := map[[2]string]int{} // with a label
	placed := make([]bool, len(all))
	for i, a := range all {
		of[i] = i
		for k, v := range a.Labels {
			if !tellsWhere(k) {
				continue
			}
			placed[i] = true
			if j, ok := latest[[2]string{k, v}]; ok && near(j, i) {
				join(i, j)
			}
			latest[[2]string{k, v}] = i
		}
	}
	for i := range all {
		switch {
		case placed[i]:
		case i > 0 && near(i-1, i):
			join(i, i-1)
		case i+1 < len(all) && near(i, i+1):
			join(i, i+1)
		}
	}
	places := map[int]int{}
	var clusters []cluster
	for i, a := range all {
		at, ok := places[first(i)]
		if !ok {
			at = len(clusters)
			places[first(i)] = at
			clusters = append(clusters, nil)
		}
		clusters[at] = append(clusters[at], a)
	}
	slices.SortStableFunc(clusters, func(x, y cluster) int { return cmp.Compare(len(y), len(x)) })
	return clusters
}

// tellsWhere tells whether a label says where an alert comes from.
func tellsWhere(label string) bool { return label != "alertname" && label != "severity" }

// shared are the labels that all alerts of a cluster have.
func (c cluster) shared() map[string]string {
	common := maps.Clone(c[0].Labels)
	for _, a := range c[1:] {
		maps.DeleteFunc(common, func(k, v string) bool { return a.Labels[k] != v })
	}
	return common
}

// A candidate is an alert that may be the cause of the others.
type candidate struct {
	alert  alert
	covers int // how many others share a label with it that not all share
	rank   int // of its severity
}

// severities are the usual ones, worst first.
var severities = []string{"critical", "error", "warning", "info"}

// ranked are the candidates, likeliest first: what began first, then what has most in common with the others, then what is worst.
func (c cluster) ranked() []candidate {
	common := c.shared()
	all := make([]candidate, len(c))
	for i, a := range c {
		severity := slices.Index(severities, a.Labels["severity"])
		if severity < 0 {
			severity = len(severities)
		}
		all[i] = candidate{alert: a, rank: severity}
		for j, other := range c {
			if i != j && related(a, other, common) {
				all[i].covers++
			}
		}
	}
	slices.SortStableFunc(all, func(x, y candidate) int {
		return cmp.Or(x.alert.StartsAt.Compare(y.alert.StartsAt), cmp.Compare(y.covers, x.covers), cmp.Compare(x.rank, y.rank), cmp.Compare(x.alert.name(), y.alert.name()))
	})
	return all
}

// related tells whether two alerts share a label beyond those that all have.
func related(a, b alert, common map[string]string) bool {
	for k, v := range a.Labels {
		if _, everybody := common[k]; !everybody && tellsWhere(k) && b.Labels[k] == v {
			return true
		}
	}
	return false
}

// maxCandidates is how many candidates are told of a cluster.
const maxCandidates = 5

func (c cluster) output() map[string]any {
	names := map[string]int{}
	for _, a := range c {
		names[a.name()]++
	}
	var causes []any
	for _, one := range c.ranked()[:min(len(c), maxCandidates)] {
		causes = append(causes, map[string]any{"alert": one.alert.name(), "startsAt": one.alert.StartsAt.UTC().Format(time.RFC3339), "labels": one.alert.Labels, "related": one.covers})
	}
	return map[string]any{"alerts": names, "sharedLabels": c.shared(), "candidates": causes}
}
