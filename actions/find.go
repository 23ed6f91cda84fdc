package actions

import "slices"

// indexOf returns the index of the parameter with a canonical name, -1 when there is none.
func (s *Spec) indexOf(name string) int {
	for i := range s.Parameters {
		if s.Parameters[i].Name == name {
			return i
		}
	}
	return -1
}

func (s *Spec) parameter(name string) *Parameter {
	if i := s.indexOf(name); i >= 0 {
		return &s.Parameters[i]
	}
	return nil
}

// find is indexOf that also knows aliases and snake_case; alias tells whether it needed them.
func (s *Spec) find(name string) (i int, alias bool) {
	if i = s.indexOf(name); i >= 0 {
		return i, false
	}
	for i := range s.Parameters {
		p := &s.Parameters[i]
		if slices.Contains(p.Aliases, name) || isSnakeOf(name, p.Name) {
			return i, true
		}
	}
	return -1, false
}

func (s *Spec) parameterNames() []string {
	names := make([]string, 0, len(s.Parameters))
	for i := range s.Parameters {
		names = append(names, s.Parameters[i].Name)
	}
	return names
}
