package schema

import (
	"fmt"

	"github.com/remedykit/remedy/internal/wording"
)

// isManifest tells whether the outermost object is a manifest: it names its API version or its kind, and has no
// recommendations of its own.
func (p *parser) isManifest() bool {
	typed := false
	for k := range p.items(0) {
		switch name := p.text(k); {
		case outerField(name) == "recommendations":
			return false
		case name == "apiVersion" || name == "kind":
			typed = true
		}
	}
	return typed
}

// workflow reads a WorkflowExecution manifest.
func (p *parser) workflow() {
	p.manifest = true
	w := &WorkflowExecution{}
	w.Spec.ExecutionStrategy.DryRunFirst = true
	kind, ok := p.constant("kind", WorkflowKind)
	if !ok {
		p.broken = true
		return
	}
	version, _ := p.constant("apiVersion", WorkflowAPIVersion)
	w.Kind, w.APIVersion = kind, version
	p.doc.Workflow = w

	p.section(0, "the manifest", map[string]func(int32){
		"apiVersion": nil,
		"kind":       nil,
		"metadata": func(v int32) {
			p.section(v, "metadata", map[string]func(int32){
				"name":      p.stringInto(&w.Metadata.Name, "metadata.name"),
				"namespace": p.stringInto(&w.Metadata.Namespace, "metadata.namespace"),
				// What a cluster adds.
				"labels": nil, "annotations": nil, "uid": nil, "resourceVersion": nil, "generation": nil, "creationTimestamp": nil,
				"ownerReferences": nil, "managedFields": nil, "finalizers": nil,
			})
		},
		"spec": func(v int32) { p.spec(v, &w.Spec) },
		"status": func(v int32) {
			if !p.expect(v, kindObject, "status", -1) {
				return
			}
			// The rest of it is the cluster's.
			if phase := p.member(v, "phase"); phase != none && p.nodes[phase].kind != kindNull {
				p.stringInto(&w.Status.Phase, "status.phase")(phase)
			}
		},
	})
	p.tell(-1, "recommendations")
	if p.steps != none {
		if len(p.doc.Recommendations) == 0 && !p.broken {
			p.problem(CodeInvalidValue, p.steps, "the manifest has no steps; steps must hold at least one", "")
		}
		return
	}
	at, lacking := int32(0), ""
	for _, name := range []string{"spec", "workflowDefinition", "steps"} {
		if lacking != "" {
			lacking += "." + name
			continue
		}
		next := p.anySpelling(at, name)
		switch {
		case next == none || p.nodes[next].kind == kindNull:
			lacking = name
		case p.nodes[next].kind != kindObject:
			return // reported as it was read
		default:
			at = next
		}
	}
	if lacking != "" {
		p.problem(CodeMissingField, at, fmt.Sprintf("the manifest has no %q here; a plan's steps are in spec.workflowDefinition.steps", lacking), "")
	}
}

// constant reads a field of the manifest that must have one value.
func (p *parser) constant(name, want string) (string, bool) {
	v := p.member(0, name)
	if v == none || p.nodes[v].kind == kindNull {
		p.problem(CodeMissingField, 0, fmt.Sprintf("the manifest has no %q; write %s: %s", name, name, want), "")
		return "", false
	}
	if !p.expect(v, kindString, name, -1) {
		return "", false
	}
	if got := p.text(v); got != want {
		p.problem(CodeInvalidValue, v, fmt.Sprintf("the %s %s is not that of a plan", name, wording.Quote(got)), want)
		return got, false
	}
	return want, true
}

func (p *parser) spec(object int32, s *WorkflowSpec) {
	p.section(object, "spec", map[string]func(int32){
		"remediationRequestRef": func(v int32) {
			p.section(v, "remediationRequestRef", map[string]func(int32){
				"name": p.stringInto(&s.RemediationRequestRef.Name, "remediationRequestRef.name"),
				// A reference may say these; the name is enough here.
				"apiVersion": nil, "kind": nil, "namespace": nil, "uid": nil,
			})
		},
		"workflowDefinition": func(v int32) {
			p.section(v, "workflowDefinition", map[string]func(int32){
				"steps": func(v int32) {
					if p.expect(v, kindArray, "steps", -1) {
						p.recommendations(v)
					}
				},
			})
		},
		"executionStrategy": func(v int32) {
			e := &s.ExecutionStrategy
			p.section(v, "executionStrategy", map[string]func(int32){
				"approvalRequired": p.boolInto(&e.ApprovalRequired, "approvalRequired"),
				"dryRunFirst": func(v int32) {
					if p.boolInto(&e.DryRunFirst, "dryRunFirst")(v); p.nodes[v].kind == kindFalse {
						p.warn(CodeInvalidValue, v, noDryRun, "")
					}
				},
				"rollbackStrategy": func(v int32) {
					if p.stringInto(&e.RollbackStrategy, "rollbackStrategy")(v); p.nodes[v].kind != kindString {
						return
					}
					if message, wish := rollbackWish(e.RollbackStrategy); wish {
						p.warn(CodeInvalidValue, v, message, "")
					} else if message != "" {
						p.problem(CodeInvalidValue, v, message, nearest(e.RollbackStrategy, "automatic", "manual", "none"))
					}
				},
			})
		},
	})
}

// A document may not weaken the run that it asks for. What it wishes for all the same is said, and not followed.
const noDryRun = "dryRunFirst: false is not followed: whether a run begins with a dry run is the caller's word, not the document's"

// rollbackWish says what is wrong with a rollbackStrategy, "" when nothing is; wish tells that it is a known word that is
// not followed.
func rollbackWish(strategy string) (message string, wish bool) {
	switch strategy {
	case "automatic":
		return "", false
	case "manual", "none":
		return "rollbackStrategy: " + strategy + " is not followed: how a failed run is rolled back is the caller's word, not the document's", true
	}
	return fmt.Sprintf("rollbackStrategy %s is none of automatic, manual, none", wording.Quote(strategy)), false
}

// section reads the members of an object of the manifest, each with its reader; a member without one is let pass.
func (p *parser) section(object int32, what string, readers map[string]func(int32)) {
	if !p.expect(object, kindObject, what, -1) {
		return
	}
	seen := members{parser: p}
	for k := range p.items(object) {
		name := p.text(k)
		canonical, known := name, false
		if _, known = readers[name]; !known && !p.exact {
			for _, candidate := range sortedKeys(readers) {
				if len(name) <= 40 && foldName(candidate) == foldName(name) {
					canonical, known = candidate, true
				}
			}
		}
		if !known {
			p.unknown(k, what, func(name string) string { return nearest(name, sortedKeys(readers)...) })
			continue
		}
		if read := readers[canonical]; seen.first(k, canonical) && read != nil && p.nodes[k+1].kind != kindNull {
			read(k + 1)
		}
	}
}

// unknown reports a member that no object of its kind has.
func (p *parser) unknown(k int32, what string, suggest func(name string) string) {
	if p.nodes[k].kind == kindBad {
		return // its name is reported already
	}
	message, suggestion := what+" has no field "+wording.Quote(p.text(k)), ""
	if len(p.found) < maxFindings {
		suggestion = suggest(p.text(k))
	}
	if p.exact {
		p.problem(CodeUnknownField, k, message, suggestion)
		return
	}
	p.warn(CodeUnknownField, k, message+"; it is ignored", suggestion)
}

func (p *parser) stringInto(into *string, field string) func(int32) {
	return func(v int32) {
		if p.expect(v, kindString, field, -1) {
			*into = p.text(v)
		}
	}
}

func (p *parser) boolInto(into *bool, field string) func(int32) {
	return func(v int32) {
		switch got := p.nodes[v].kind; got {
		case kindTrue, kindFalse:
			*into = got == kindTrue
		case kindBad:
		default:
			p.problem(CodeInvalidValue, v, field+" must be true or false, not "+got.what(), "")
		}
	}
}

// anySpelling returns the value of an object's member whatever its case, hyphens and underscores, or none.
func (p *parser) anySpelling(object int32, name string) int32 {
	for k := range p.items(object) {
		if foldName(p.text(k)) == foldName(name) {
			return k + 1
		}
	}
	return none
}
