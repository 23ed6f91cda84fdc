package dag

import (
	"errors"

	"github.com/remedykit/remedy/actions"
)

// Archive returns the plan as JSON from which [Restore] makes it again: documents, overlay, options, and the meaning of
// the Specs that it uses. Values of secret parameters are left out.
func (p *Plan) Archive() ([]byte, error) { return nil, errors.New("not yet") }

// Restore makes a plan of what Archive returned.
func Restore(archive []byte, reg *actions.Registry) (*Plan, error) { return nil, errors.New("not yet") }

// Matches tells in which parts an archive differs from the plan in what it does, nil when in none. Prose may differ.
func (p *Plan) Matches(archive []byte) error { return errors.New("not yet") }
