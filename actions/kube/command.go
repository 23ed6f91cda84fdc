package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/remedykit/remedy/actions"
)

// Commands are the site's own commands by action, such as failover_database; those of repair_database by its kind, such as
// repair_database.index; psql is how PostgreSQL's client is called.
type Commands map[string]Command

// A Command runs in a pod of the step's target. It is an argument list and never a shell's line.
type Command struct {
	// Args are the program and its arguments. One that is {name} becomes the value of that parameter, as one argument.
	Args []string `yaml:"args"`
	// Env are variables that are set with the program env; values like those of Args.
	Env map[string]string `yaml:"env"`
	// Probe says with exit code 0 that what the command was to do is done. Empty: its own exit code does.
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
	}
	return all, nil
}

// arguments are an argument list with the values of a step in it.
func arguments(args []string, env map[string]string, req *actions.Request) ([]string, error) {
	var out []string
	fill := func(text string) (string, error) {
		name, ok := strings.CutPrefix(text, "{")
		if !ok || !strings.HasSuffix(name, "}") {
			return text, nil
		}
		name = strings.TrimSuffix(name, "}")
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
	return cmd, nil
}

func (h *command) Execute(ctx context.Context, req *actions.Request) (*actions.Result, error) {
	cmd, args, p, err := h.prepared(ctx, req)
	if err != nil {
		return nil, err
	}
	undo := &actions.Undo{Summary: "nothing: what " + h.key(req) + " did cannot be taken back", State: map[string]any{"uid": string(p.pod.UID)}}
	if err := req.Begin(ctx, undo); err != nil {
		return nil, err
	}
	out, err := h.c.output(ctx, p, args...)
	if err != nil {
		return nil, err
	}
	if err := h.await(ctx, cmd, req, p); err != nil {
		return nil, err
	}
	return &actions.Result{Message: h.key(req) + " is done", Outputs: map[string]any{"output": lastLines(out)}}, nil
}

// await asks the probe until it says yes.
func (h *command) await(ctx context.Context, cmd Command, req *actions.Request, p place) error {
	if len(cmd.Probe) == 0 {
		return nil
	}
	args, err := arguments(cmd.Probe, nil, req)
	if err != nil {
		return err
	}
	for {
		_, err := h.c.output(ctx, p, args...)
		if err == nil {
			return nil
		}
		if _, failed := errors.AsType[*exitError](err); !failed && !actions.IsTransient(err) {
			return err
		}
		timer := time.NewTimer(every)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%s ran, but its probe does not say that it is done: %w", h.key(req), err)
		}
	}
}

// maxLines is how much is told of what a command said.
const maxLines = 20

func lastLines(s string) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-maxLines):], "\n")
}

// DryRun says what would run: nobody can verify it.
func (h *command) DryRun(ctx context.Context, req *actions.Request) (*actions.Preview, error) {
	_, args, p, err := h.prepared(ctx, req)
	if err != nil {
		return nil, err
	}
	return &actions.Preview{Verdict: actions.Unverifiable, Change: []string{"run " + quoted(args) + " in " + p.target().String()}}, nil
}

func quoted(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		if words[i] = a; strings.ContainsAny(a, " \"'\t\n") || a == "" {
			words[i] = strconv.Quote(a)
		}
	}
	return strings.Join(words, " ")
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
	args, err := arguments(cmd.Probe, nil, req)
	if err != nil {
		return actions.OutcomeUnknown, err
	}
	p, err := h.c.place(ctx, req)
	if err != nil {
		return actions.OutcomeUnknown, err
	}
	if _, err := h.c.output(ctx, p, args...); err != nil {
		return actions.OutcomeUnknown, nil
	}
	return actions.OutcomeHappened, nil
}

func (h *command) Footprint(_ context.Context, req *actions.Request) ([]actions.Touch, error) {
	return []actions.Touch{{Target: req.Target}}, nil
}
