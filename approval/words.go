package approval

import (
	"strconv"
	"strings"

	"github.com/remedykit/remedy/internal/wording"
	"github.com/remedykit/remedy/schema"
)

// decimal writes a confidence with at least two digits after the point.
func decimal(v float64) string {
	s := strconv.FormatFloat(v, 'f', -1, 64)
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) < 2 {
		fraction = (fraction + "00")[:2]
	}
	return whole + "." + fraction
}

// never stands in YAML for a row that asks for no risk.
const never = "never"

func askWord(r schema.Risk) string {
	if r == schema.RiskUnset {
		return never
	}
	return r.String()
}

// threshold orders what rows ask for: never is above every risk.
func threshold(ask schema.Risk) schema.Risk {
	if ask == schema.RiskUnset {
		return schema.RiskCritical + 1
	}
	return ask
}

// isName tells whether s is made of lower-case letters and digits and, inside, of joints.
func isName(s, joints string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case 0 < i && i < len(s)-1 && strings.IndexByte(joints, c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// oneLine makes words of others fit into a reason.
func oneLine(s string) string { return wording.Visible(wording.Cut(s, mostText)) }
