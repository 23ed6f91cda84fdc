package email

import (
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/remedykit/remedy/approval"
)

// A directory has people by their normal name.
type directory map[string]entry

type entry struct {
	name    string
	address *mail.Address
	groups  []string
}

// normal is a name as identities are compared.
func normal(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

func newDirectory(people map[string]Person) (directory, error) {
	if len(people) == 0 {
		return nil, errors.New("email: People is empty: nobody could be asked")
	}
	d := directory{}
	for name, p := range people {
		a, err := mail.ParseAddress(p.Address)
		switch {
		case normal(name) == "":
			return nil, errors.New("email: People has somebody without a name")
		case err != nil:
			return nil, fmt.Errorf("email: the Address %q of %q is no e-mail address", p.Address, name)
		case d[normal(name)].name != "":
			return nil, fmt.Errorf("email: People has %q twice: case makes nobody another person", name)
		}
		d[normal(name)] = entry{strings.TrimSpace(name), a, slices.Clone(p.Groups)}
	}
	return d, nil
}

// panel lists, sorted, who may decide about a request by now.
func (d directory) panel(req *approval.Request, now time.Time) []string {
	var names []string
	for key, e := range d {
		if key != normal(req.Author) && key != normal(req.Model) && mayDecide(req, e, now) {
			names = append(names, e.name)
		}
	}
	slices.Sort(names)
	return names
}

func mayDecide(req *approval.Request, e entry, now time.Time) bool {
	panels := req.Gate.Terms.Panels
	return len(panels) == 0 || slices.ContainsFunc(panels, func(p approval.Panel) bool {
		return listed(p.Approvers, e) || p.Escalation != nil && now.Sub(req.AskedAt) >= p.Escalation.After && listed(p.Escalation.To, e)
	})
}

// listed tells whether somebody is among approvers, which are everybody when they are empty.
func listed(a approval.Approvers, e entry) bool {
	return len(a.People) == 0 && len(a.Groups) == 0 ||
		slices.ContainsFunc(a.People, func(name string) bool { return normal(name) == normal(e.name) }) ||
		slices.ContainsFunc(a.Groups, func(g string) bool { return slices.Contains(e.groups, g) })
}
