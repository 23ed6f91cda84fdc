package crd_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/crd"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/executor"
	"github.com/remedykit/remedy/executor/journal"
	"github.com/remedykit/remedy/internal/controlplane"
	"github.com/remedykit/remedy/schema"
)

func TestWhatAModelWroteIsTextInTheObject(t *testing.T) {
	p := newPlace(t)
	evil := strings.Repeat("\x1b[2J\u202e<script>\x00", 10_000)
	req := requestOf(t, planOf(t), 3)
	req.Incident = &approval.Incident{Title: evil, Summary: evil, Evidence: []string{evil, evil}}
	d, err := p.channel().Approve(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, approval.Pending, d.Verdict)
	data, err := json.Marshal(p.asked().Object)
	require.NoError(t, err)
	require.Less(t, len(data), 64<<10)
	require.NotContains(t, string(data), `\u001b`)
	_, err = p.channel().Approve(t.Context(), req)
	require.NoError(t, err, "again after a restart")
	other := *req
	other.Digest = "sha256:2"
	d2, err := p.channel().Approve(t.Context(), &other)
	require.NoError(t, err)
	require.NotEqual(t, d.Receipt, d2.Receipt, "a vote answers what its object shows, and nothing else")
	_, err = p.channel().Approve(t.Context(), &approval.Request{})
	require.Error(t, err)
	_, err = crd.New(nil, crd.Options{Namespace: "n"})
	require.ErrorContains(t, err, "use rest.InClusterConfig")
	_, err = crd.New(&rest.Config{}, crd.Options{})
	require.ErrorContains(t, err, "Options.Namespace is empty")
}

// Every text as long as it may be, and made of what has to be made visible.
func TestTheLargestPlansFitIntoOneObject(t *testing.T) {
	p := newPlace(t)
	evil := strings.Repeat("\u00ad", 5_000)
	for _, test := range []struct{ steps, asked, many int }{{60, -1, 300}, {60, 59, 5}, {256, -1, 5}, {256, 255, 5}} {
		doc := &schema.Document{}
		for i := range test.steps {
			doc.Recommendations = append(doc.Recommendations, schema.Recommendation{ID: fmt.Sprintf("step-%d-%s", i, strings.Repeat("x", 50)), Action: "scale_deployment", Description: evil, Rationale: evil,
				Parameters: map[string]any{"namespace": "production", "deployment": fmt.Sprintf("web-%d", i), "replicas": 3, "reason": evil}})
		}
		plan, err := dag.Build(doc, actions.Canonical())
		require.NoError(t, err)
		req := requestOf(t, plan, test.asked)
		req.Key, req.Run = fmt.Sprint(test), "-odd." // an id, but no value of a label
		for range test.many {
			req.Gate.Reasons = append(req.Gate.Reasons, evil)
			req.Gate.Terms.Panels = append(req.Gate.Terms.Panels, approval.Panel{Rule: "r", Quorum: 2, Approvers: approval.Approvers{People: []string{evil, "b"}}})
		}
		req.Incident = &approval.Incident{Title: evil, Summary: evil, Evidence: slices.Repeat([]string{evil}, 30)}
		req.Preview = &actions.Preview{Verdict: actions.Verified, Change: slices.Repeat([]string{evil}, 30)}
		d, err := p.channel().Approve(t.Context(), req)
		require.NoError(t, err, test)
		o, err := p.objects("eve").Get(t.Context(), d.Receipt, metav1.GetOptions{})
		require.NoError(t, err)
		var data bytes.Buffer
		e := json.NewEncoder(&data)
		e.SetEscapeHTML(false)
		require.NoError(t, e.Encode(o.Object))
		require.Less(t, data.Len(), 600<<10, test)
		require.Equal(t, test.many == 300, strings.Contains(data.String(), "do not fit"), "what is left out is counted")
		t.Logf("%v: %d KiB", test, data.Len()>>10)

		req.Receipt = d.Receipt
		require.NoError(t, p.channel().Update(t.Context(), req, approval.Standing{State: approval.Denied, By: evil, Reason: evil, Missing: evil}))
		require.Equal(t, "denied", p.status(d.Receipt, "state"))
	}
}

func TestATableOfRequestsSaysWhatIsAskedAndHowItStands(t *testing.T) {
	p := newPlace(t)
	req := requestOf(t, planOf(t), 3)
	d, err := p.channel().Approve(t.Context(), req)
	require.NoError(t, err)
	req.Receipt = d.Receipt
	require.NoError(t, p.channel().Update(t.Context(), req, approval.Standing{State: approval.Granted, By: "bob"}))
	client, err := rest.UnversionedRESTClientFor(tables(configOf(t, "eve")))
	require.NoError(t, err)
	data, err := client.Get().AbsPath("/apis/remedykit.dev/v1alpha1/namespaces/"+p.namespace+"/approvalrequests").SetHeader("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1").DoRaw(t.Context())
	require.NoError(t, err)
	var table metav1.Table
	require.NoError(t, json.Unmarshal(data, &table))
	got := map[string]any{}
	for i, column := range table.ColumnDefinitions {
		got[column.Name] = table.Rows[0].Cells[i]
	}
	require.NotEmpty(t, got["Age"])
	delete(got, "Age")
	require.Equal(t, map[string]any{"Name": d.Receipt, "Run": "r", "Subject": "step 4, restart_pod", "State": "granted", "By": "bob", "Needs": nil, "Expires": req.ExpiresAt.UTC().Format(time.RFC3339)}, got)
}

func tables(config *rest.Config) *rest.Config {
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	return config
}

// Somebody who deletes a request says neither yes nor no.
func TestADeletedObjectDecidesNothingAndIsAskedAnewWhenTheRunIsResumed(t *testing.T) {
	p := newPlace(t)
	j := journal.NewMemory()
	run, _, stop := p.run(p.channel(), approval.IncidentTable(), j)
	o := p.asked()
	require.NoError(t, p.objects(controlplane.Admin).Delete(t.Context(), o.GetName(), metav1.DeleteOptions{}))
	require.True(t, apierrors.IsNotFound(p.vote("bob", o.GetName(), map[string]any{"bob": map[string]any{"verdict": "approved"}})))
	require.Equal(t, executor.WaitingApproval, run.Snapshot().Step(3).Status)
	stop()
	<-run.Done()
	run, ex, _ := p.run(p.channel(), approval.IncidentTable(), j)
	again := p.asked()
	require.NotEqual(t, o.GetUID(), again.GetUID())
	require.NoError(t, p.objects(controlplane.Admin).Delete(t.Context(), again.GetName(), metav1.DeleteOptions{}))
	require.NoError(t, ex.Decide(t.Context(), run.ID(), "rec-004", approval.Decision{Verdict: approval.Approved, By: "carl", Digest: run.Snapshot().Waiting()[0].Digest}), "in another channel")
	<-run.Done()
	require.Equal(t, executor.RunSucceeded, run.Snapshot().Status())
}
