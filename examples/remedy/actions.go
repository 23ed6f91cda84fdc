package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remedykit/remedy/actions"
)

func (a *app) actionsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "actions [NAME]",
		Short: "List the action types, or explain one",
		Long:  `actions lists the registry of action types, or explains one of them with its parameters.`,
		Example: `  remedy actions
  remedy actions restart_pod
  remedy actions -o json | jq '.[] | select(.effect == "mutates").name'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(cmd, "give one NAME or none, not %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			registry := actions.Canonical()
			if len(args) == 0 {
				if a.json() {
					return writeJSON(a.stdout, registry.Specs())
				}
				writeActions(a.stdout, a.color, registry.Specs())
				return nil
			}
			spec, _ := registry.Resolve(args[0])
			if spec == nil {
				return usage(cmd, "unknown action %q%s", args[0], didYouMean(registry.Nearest(args[0])))
			}
			if a.json() {
				return writeJSON(a.stdout, spec)
			}
			writeAction(a.stdout, a.color, spec)
			return nil
		},
	}
}

// writeActions lists actions by category, in the order of the registry.
func writeActions(w io.Writer, p palette, specs []*actions.Spec) {
	var categories []string
	byCategory := map[string][]*actions.Spec{}
	width := 0
	for _, s := range specs {
		if byCategory[s.Category] == nil {
			categories = append(categories, s.Category)
		}
		byCategory[s.Category] = append(byCategory[s.Category], s)
		width = max(width, len(s.Name))
	}
	const columns = "  %-*s  %-8s  %-6s  %-8s  %s\n"
	fmt.Fprint(w, p.faint(fmt.Sprintf(columns, width, "ACTION", "EFFECT", "RISK", "TIME-OUT", "WHAT IT DOES")))
	for _, c := range categories {
		fmt.Fprintf(w, "\n%s\n", p.bold(c))
		for _, s := range byCategory[c] {
			does, _, _ := strings.Cut(s.Does, ". ")
			fmt.Fprintf(w, columns, width, s.Name, effectWord(s), s.RiskFloor, short(s.Timeout), strings.TrimSuffix(does, "."))
		}
	}
}

func effectWord(s *actions.Spec) string {
	if s.Notice {
		return "tells"
	}
	return string(s.Effect)
}

func writeAction(w io.Writer, p palette, s *actions.Spec) {
	fmt.Fprintf(w, "%s  %s\n\n", p.bold(s.Name), s.Title)
	writeWrapped(w, "  ", "  ", s.Does)
	if s.Done != "" {
		writeWrapped(w, "  ", "  ", "Done: "+s.Done)
	}
	fmt.Fprintln(w)
	fact := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %-9s %s\n", name, value)
		}
	}
	fact("category", s.Category)
	fact("effect", effectWord(s))
	fact("risk", "at least "+s.RiskFloor.String())
	fact("time-out", short(s.Timeout))
	fact("undo", undoText(s))
	fact("aliases", strings.Join(s.Aliases, ", "))
	if len(s.Parameters) > 0 {
		fmt.Fprintf(w, "\n%s\n", p.bold("Parameters"))
		width := 0
		for _, q := range s.Parameters {
			width = max(width, len(q.Name))
		}
		for _, q := range s.Parameters {
			fmt.Fprintf(w, "  %-*s  %-10s  %s\n", width, q.Name, q.Type, strings.Join(parameterFacts(q), "; "))
		}
		if s.AnyParameters {
			fmt.Fprintf(w, "  %-*s  %-10s  other parameters are passed on\n", width, "…", "any")
		}
	}
	if len(s.Rules) > 0 {
		fmt.Fprintf(w, "\n%s\n", p.bold("Rules"))
		for _, r := range s.Rules {
			fmt.Fprintf(w, "  %s\n", ruleText(r))
		}
	}
}

func undoText(s *actions.Spec) string {
	switch {
	case s.Undo != "":
		return s.Undo
	case s.Mutating():
		return "none"
	}
	return "nothing to undo"
}

func parameterFacts(q actions.Parameter) []string {
	var facts []string
	add := func(format string, args ...any) { facts = append(facts, fmt.Sprintf(format, args...)) }
	if q.Required {
		add("required")
	}
	if q.Description != "" {
		add("%s", strings.TrimSuffix(q.Description, "."))
	}
	if len(q.Enum) > 0 {
		add("one of %s", strings.Join(q.Enum, ", "))
	}
	if len(q.Words) > 0 {
		add("or %s", strings.Join(q.Words, ", "))
	}
	switch {
	case q.Min != nil && q.Max != nil:
		add("%s to %s", bound(q, *q.Min), bound(q, *q.Max))
	case q.Min != nil:
		add("at least %s", bound(q, *q.Min))
	case q.Max != nil:
		add("at most %s", bound(q, *q.Max))
	}
	if q.Default != nil {
		add("default %v", q.Default)
	}
	for _, f := range q.Floors {
		add("%v: risk at least %s", f.Value, f.Risk)
	}
	if q.Secret {
		add("secret")
	}
	return facts
}

// bound writes a bound in the parameter's own unit.
func bound(q actions.Parameter, n int64) string {
	if q.Type == actions.Duration {
		return short(time.Duration(n) * time.Second)
	}
	return strconv.FormatInt(n, 10)
}

func ruleText(r actions.Rule) string {
	switch {
	case len(r.OneOf) > 0:
		return "exactly one of " + strings.Join(r.OneOf, ", ")
	case len(r.AnyOf) > 0:
		return "at least one of " + strings.Join(r.AnyOf, ", ")
	case len(r.AtMostOne) > 0:
		return "at most one of " + strings.Join(r.AtMostOne, ", ")
	}
	return strings.Join(r.NotGreater, " is not greater than ")
}
