package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/approval"
	"github.com/remedykit/remedy/approval/cel"
	"github.com/remedykit/remedy/dag"
	"github.com/remedykit/remedy/schema"
)

// planFlags are the flags of every command that reads a plan.
type planFlags struct {
	strict     bool
	namespace  string
	confidence confidence
	policy     string
	overlay    string
	maxSteps   int
	maxBytes   int
}

func (f *planFlags) add(cmd *cobra.Command) {
	s := cmd.Flags()
	s.BoolVar(&f.strict, "strict", false, "refuse every repair")
	s.StringVar(&f.namespace, "namespace", "", "namespace of steps that need one and name none")
	s.Var(&f.confidence, "confidence", "overall confidence of the analysis, from 0 to 1")
	s.BoolVar(&f.confidence.AllowLow, "allow-low-confidence", false,
		"accept a plan below the policy's least confidence; every changing step then asks")
	s.StringVar(&f.policy, "policy", "", "policy `file` (YAML); the incident table without one")
	s.StringVar(&f.overlay, "overlay", "", "overlay `file` (YAML): names, labels, time-outs, durations")
	s.IntVar(&f.maxSteps, "max-steps", schema.DefaultMaxSteps, "most steps that a plan may have")
	s.IntVar(&f.maxBytes, "max-bytes", schema.DefaultMaxBytes, "most bytes that a plan may have")
}

// confidence is an approval.Confidence that can be a flag.
type confidence struct{ approval.Confidence }

func (c *confidence) Type() string { return "number" }

func (c *confidence) String() string {
	if !c.Given {
		return ""
	}
	return strconv.FormatFloat(c.Value, 'g', -1, 64)
}

func (c *confidence) Set(s string) error {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || v < 0 || v > 1 {
		return errors.New("a confidence is a number from 0 to 1")
	}
	c.Value, c.Given = v, true
	return nil
}

// A reader reads plans as the flags ask for it.
type reader struct {
	app      *app
	flags    *planFlags
	policy   *approval.Policy
	registry *actions.Registry
	parse    []schema.Option
	options  []dag.Option
}

// reader reads the policy and the overlay, once for all files.
func (a *app) reader(ctx context.Context, f *planFlags) (*reader, error) {
	if f.maxSteps < 1 || f.maxBytes < 1 {
		return nil, errors.New("--max-steps and --max-bytes are at least 1")
	}
	r := &reader{app: a, flags: f, policy: approval.IncidentTable(), registry: actions.Canonical()}
	if f.strict {
		r.parse = append(r.parse, schema.Strict())
	}
	r.parse = append(r.parse, schema.WithLimits(schema.Limits{Steps: f.maxSteps, Bytes: f.maxBytes}))
	if f.namespace != "" {
		r.options = append(r.options, dag.Namespace(f.namespace))
	}
	if f.policy != "" {
		data, err := a.readSettings(ctx, f.policy)
		if err != nil {
			return nil, err
		}
		if r.policy, err = cel.ParsePolicy(data); err != nil {
			return nil, fmt.Errorf("%s: %w", f.policy, err)
		}
	}
	r.options = append(r.options, dag.Protect(r.policy.ProtectedNamespaces...), dag.AllowComponents(r.policy.Components...))
	if f.overlay != "" {
		data, err := a.readSettings(ctx, f.overlay)
		if err != nil {
			return nil, err
		}
		overlay, err := schema.ParseOverlay(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.overlay, err)
		}
		r.options = append(r.options, dag.WithOverlay(overlay))
	}
	return r, nil
}

// document reads a FILE and builds its plan, which is nil when the document has errors: they are the document's. The
// error is for what is not the document's fault.
func (r *reader) document(ctx context.Context, file string) (*schema.Document, *dag.Plan, error) {
	data, err := r.app.read(ctx, file, r.flags.maxBytes)
	if err != nil {
		return nil, nil, err
	}
	return r.build(data)
}

// build is document for what a FILE holds.
func (r *reader) build(data []byte) (*schema.Document, *dag.Plan, error) {
	doc, _ := schema.Parse(data, r.parse...) // Build reports these problems too
	plan, err := dag.Build(doc, r.registry, r.options...)
	if _, ok := errors.AsType[*schema.Error](err); err != nil && !ok {
		return nil, nil, err
	}
	return doc, plan, nil
}

// A loaded is a plan with the gates that it has under the policy and the confidence of the flags.
type loaded struct {
	file     string
	plan     *dag.Plan
	gates    *approval.Gates
	policy   *approval.Policy
	registry *actions.Registry
	began    time.Time // of a run of the journal, else zero
	// confidence is that of the flags.
	confidence approval.Confidence
}

// load reads a plan for a command that needs a valid one. It prints the problems of an invalid one to standard error.
func (a *app) load(ctx context.Context, f *planFlags, file string) (*loaded, error) {
	r, err := a.reader(ctx, f)
	if err != nil {
		return nil, err
	}
	doc, plan, err := r.document(ctx, file)
	if err != nil {
		return nil, err
	}
	if plan == nil {
		writeFindings(a.stderr, palette{}, file, doc)
		return nil, failed(fmt.Errorf("%s is not a valid plan", file))
	}
	gates, err := r.policy.Gates(plan, f.confidence.Confidence, time.Now())
	if errors.Is(err, approval.ErrLowConfidence) {
		err = fmt.Errorf("%w (--allow-low-confidence)", err)
	}
	if err != nil {
		return nil, failed(err)
	}
	return &loaded{file: file, plan: plan, gates: gates, policy: r.policy, registry: r.registry, confidence: f.confidence.Confidence}, nil
}
