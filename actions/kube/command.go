package kube

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/wording"
)

// Commands are the site's own commands by action, such as failover_database; those of repair_database by its kind, such as
// repair_database.index; psql is how PostgreSQL's client is called.
type Commands map[string]Command

// A Command runs in a pod of the step's target. It is an argument list and never a shell's line.
type Command struct {
	// Args are the program and its arguments. One that is {name} becomes the value of that parameter of the action, as one
	// argument; a name that the action does not have is an error.
	Args []string `yaml:"args"`
	// Env are variables that are set with the program env; values like those of Args. What the site gives here is not shown, and
	// hidden in what commands say.
	Env map[string]string `yaml:"env"`
	// Probe says with exit code 0 that what the command was to do is done, in any ready pod of the target. Empty: the exit code of
	// the command does; failover_database needs one, which says that the new primary writes.
	Probe []string `yaml:"probe"`
}

// ParseCommands reads commands in YAML, by action.
func ParseCommands(data []byte) (Commands, error) {
	var all Commands
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&all); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("commands: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if len(all[name].Args) == 0 || all[name].Args[0] == "" || strings.HasPrefix(all[name].Args[0], "{") {
			return nil, fmt.Errorf("commands: %s: args begins with the program", name)
		}
		if err := all[name].check(name); err != nil {
			return nil, fmt.Errorf("commands: %s: %w", name, err)
		}
	}
	return all, nil
}

// check is nil when all placeholders of a command stand for parameters of its action.
func (cmd Command) check(key string) error {
	action, _, _ := strings.Cut(key, ".")
	if key == "psql" {
		action = "repair_database"
	}
	for _, text := range slices.Concat(cmd.Args, cmd.Probe, slices.Sorted(maps.Values(cmd.Env))) {
		if name, ok := parameter(text); ok {
			if err := known(action, name); err != nil {
				return err
			}
		}
	}
	return nil
}

var registered = sync.OnceValue(actions.Canonical)

// known is nil when an action has a parameter, which would be empty otherwise.
func known(action, name string) error {
	spec := registered().Lookup(action)
	if spec == nil {
		return nil // no step runs its command
	}
	var all []string
	for _, p := range spec.Parameters {
		if p.Name == name {
			return nil
		}
		all = append(all, "{"+p.Name+"}")
	}
	return fmt.Errorf("{%s} is no parameter of %s, which has %s", wording.Visible(name), action, strings.Join(all, " "))
}

// A placeholder has nothing that JSON needs, and is not the {} of find.
var placeholder = regexp.MustCompile(`^\{([\w .-]+)\}$`)

// parameter is the parameter whose value a text stands for.
func parameter(text string) (name string, ok bool) {
	found := placeholder.FindStringSubmatch(text)
	if found == nil {
		return "", false
	}
	return found[1], true
}

// shortestSecret is the length from which values are hidden: shorter ones would be found everywhere.
const shortestSecret = 4

// secrets hides what the site gives its commands in their environment.
func (all Commands) secrets() *strings.Replacer {
	var values, pairs []string
	for _, cmd := range all {
		for _, v := range cmd.Env {
			if _, ok := parameter(v); !ok && len(v) >= shortestSecret {
				values = append(values, v)
			}
		}
	}
	slices.SortFunc(values, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) }) // the first that fits is taken
	for _, v := range values {
		pairs = append(pairs, v, "[secret]")
	}
	return strings.NewReplacer(pairs...)
}

// arguments are an argument list with the values of a step in it.
func arguments(args []string, env map[string]string, req *actions.Request) ([]string, error) {
	var out []string
	fill := func(text string) (string, error) {
		name, ok := parameter(text)
		if !ok {
			return text, nil
		}
		if err := known(req.Action, name); err != nil {
			return "", actions.Permanent(err)
		}
		value := textOf(req.Parameters.Get(name))
		if strings.HasPrefix(value, "-") {
			return "", actions.Permanent(fmt.Errorf("%s is %q, which a command would take for an option", name, value))
		}
		return value, nil
	}
	if len(env) > 0 {
		out = append(out, "env")
		for _, k := range slices.Sorted(maps.Keys(env)) {
			v, err := fill(env[k])
			if err != nil {
				return nil, err
			}
			out = append(out, k+"="+v)
		}
	}
	for _, a := range args {
		a, err := fill(a)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

func textOf(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []string:
		return strings.Join(v, ",")
	}
	return fmt.Sprint(v)
}

// command runs a command of the site.
type command struct {
	c   *Cluster
	key func(*actions.Request) string
}

func (h *command) BeginsItself() bool { return true }

func (h *command) rights(t *actions.Task) []Right { return placeRights(t) }

// prepared is what would run, and where.
func (h *command) prepared(ctx context.Context, req *actions.Request) (Command, []string, place, error) {
	cmd, err := h.c.configured(h.key(req))
	if err != nil {
		return cmd, nil, place{}, err
	}
	args, err := arguments(cmd.Args, cmd.Env, req)
	if err != nil {
		return cmd, nil, place{}, err
	}
	p, err := h.c.place(ctx, req)
	return cmd, args, p, err
}

func (c *Cluster) configured(key string) (Command, error) {
	cmd, ok := c.commands[key]
	if !ok {
		return cmd, actions.Permanent(fmt.Errorf("%s is not configured: the site has to say which command does it (kube.Options.Commands)", key))
	}
	if err := cmd.check(key); err != nil {
		return cmd, actions.Permanent(fmt.Errorf("%s is not configured: %w (kube.Options.Commands)", key, err))
	}
	if key == "failover_database" && len(cmd.Probe) == 0 {
		return cmd, actions.Permanent(fmt.Errorf("%s is not configured: its command has no probe, which says that the new primary writes (kube.Options.Commands)", key))
	}
	return cmd, nil
}

func (h *command) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	cmd, args, p, err := h.prepared(ctx, req)
	if err != nil {
		return nil, err
	}
	undo := &actions.Undo{Summary: "nothing: what " + h.key(req) + " did cannot be taken back", State: map[string]any{"uid": string(p.pod.UID)}}
	if len(cmd.Probe) > 0 {
		undo.State[saidBefore] = h.saysAlready(ctx, cmd, req)
	}
	if err := req.Begin(ctx, undo); err != nil {
		return nil, err
	}
	out, err := h.c.output(ctx, p, args...)
	if err != nil {
		return nil, err
	}
	if err := h.await(ctx, cmd, req); err != nil {
		return nil, err
	}
	return &actions.Result{Message: h.key(req) + " is done", Outputs: map[string]any{"output": h.c.lastLines(out)}}, nil
}

// saidBefore notes that the probe said yes before the command ran, so that its yes tells nothing of whether it ran.
const saidBefore = "saidBefore"

// answering bounds the question before the command runs: what is broken may not answer.
const answering = 5 * time.Second

// saysAlready tells whether the probe says yes before the command has run, or nothing.
func (h *command) saysAlready(ctx context.Context, cmd Command, req *actions.Request) bool {
	ctx, cancel := context.WithTimeout(ctx, answering)
	defer cancel()
	return h.ask(ctx, cmd, req) == nil || ctx.Err() != nil
}

// ask is nil when the probe says yes. It runs in a pod that is ready now: the command may have replaced the one that it ran in.
func (h *command) ask(ctx context.Context, cmd Command, req *actions.Request) error {
	args, err := arguments(cmd.Probe, nil, req)
	if err != nil {
		return err
	}
	p, err := h.c.place(ctx, req)
	if err != nil {
		return err
	}
	_, err = h.c.output(ctx, p, args...)
	return err
}

// await asks the probe until it says yes. Pods may come and go meanwhile; only a missing right does not pass.
func (h *command) await(ctx context.Context, cmd Command, req *actions.Request) error {
	if len(cmd.Probe) == 0 {
		return nil
	}
	var last error
	for {
		err := h.ask(ctx, cmd, req)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
			return err
		}
		timer := time.NewTimer(every)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%s ran, but its probe does not say that it is done (%w): %w", h.key(req), context.Cause(ctx), last)
		}
	}
}

// How much is told of what a command said.
const (
	maxLines  = 20
	maxOutput = 4 << 10
)

func (c *Cluster) lastLines(s string) string {
	lines := strings.Split(lastBytes(c.secrets.Replace(s), maxOutput), "\n")
	lines = lines[max(0, len(lines)-maxLines):]
	for i, line := range lines {
		lines[i] = wording.Visible(line)
	}
	return strings.Join(lines, "\n")
}

// DryRun says what would run: nobody can verify it.
func (h *command) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	_, args, p, err := h.prepared(ctx, req)
	if err != nil {
		return nil, err
	}
	return &actions.Preview{Verdict: actions.Unverifiable, Change: []string{"run " + h.c.quoted(args) + " in " + p.target().String()}}, nil
}

// quoted is how a command is shown.
func (c *Cluster) quoted(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		a = c.secrets.Replace(a)
		if words[i] = a; strings.ContainsAny(a, " \"'\t\n") || a == "" {
			words[i] = strconv.Quote(a)
		}
	}
	return wording.Visible(strings.Join(words, " "))
}

// Probe asks the command's probe; without one nobody knows.
func (h *command) Probe(ctx context.Context, req *actions.Request) (actions.Outcome, error) {
	if req.Begun == nil {
		return actions.OutcomeDidNotHappen, nil
	}
	cmd, err := h.c.configured(h.key(req))
	if err != nil || len(cmd.Probe) == 0 {
		return actions.OutcomeUnknown, err
	}
	if before, _ := req.Begun.State[saidBefore].(bool); before || h.ask(ctx, cmd, req) != nil {
		return actions.OutcomeUnknown, nil
	}
	return actions.OutcomeHappened, nil
}

func (h *command) Footprint(_ context.Context, req *actions.Request) ([]actions.Touch, error) {
	return []actions.Touch{{Target: req.Target}}, nil
}
