package approval

import "strings"

// Outcome says for people how a request has ended, in one line of plain text as a [Brief]'s; "" while it is open.
func (s Standing) Outcome() string {
	by := ""
	if strings.TrimSpace(s.By) != "" {
		by = " by " + oneLine(s.By)
	}
	switch s.State {
	case Granted:
		var all []string
		for _, v := range s.Votes {
			all = append(all, oneLine(v.By))
		}
		if len(all) > 1 {
			by = " by " + strings.Join(all, ", ")
		}
		return "Approved" + by + quoted(s.Reason)
	case Denied:
		return "Rejected" + by + quoted(s.Reason)
	case Expired:
		return "Expired, which means no" + quoted(s.Reason)
	case Withdrawn:
		return "No answer is needed any more" + quoted(s.Reason)
	}
	return ""
}
