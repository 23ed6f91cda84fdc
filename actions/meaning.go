package actions

import "encoding/json"

// Meaning is the Spec as canonical JSON without its prose and spellings: two Specs with equal meanings check, gate, time and
// undo a step alike.
func (s *Spec) Meaning() []byte {
	m := *s
	m.Aliases, m.Title, m.Category, m.Does, m.Done = nil, "", "", "", ""
	if m.Undo != "" {
		m.Undo = "yes"
	}
	m.Parameters = make([]Parameter, len(s.Parameters))
	for i, p := range s.Parameters {
		p.Aliases, p.Description = nil, ""
		floors := make([]Floor, len(p.Floors))
		for k, f := range p.Floors {
			f.Reason = ""
			floors[k] = f
		}
		p.Floors = floors
		m.Parameters[i] = p
	}
	out, err := json.Marshal(m)
	if err != nil {
		// A Registry refuses values that JSON does not know.
		panic("actions: Spec " + s.Name + " cannot be written: " + err.Error())
	}
	return out
}
