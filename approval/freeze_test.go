package approval_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/approval"
)

func TestANightOfTwentyFiveHoursEndsWhenTheClockSays(t *testing.T) {
	p := &approval.Policy{Freezes: []approval.Freeze{{Name: "night", Days: []time.Weekday{time.Saturday}, Start: 22 * time.Hour, End: 6 * time.Hour, Zone: "Europe/Berlin"}}}
	for moment, on := range map[string]bool{
		"2026-10-24T19:59:59Z": false,
		"2026-10-24T20:00:00Z": true, // 22:00 of summer time
		"2026-10-25T01:30:00Z": true, // half past two for the second time
		"2026-10-25T04:59:59Z": true, // 05:59:59 of winter time
		"2026-10-25T05:00:00Z": false,
	} {
		_, err := p.Gates(plan(t, restart()), given(1), at(t, moment))
		require.Equal(t, on, errors.Is(err, approval.ErrForbidden), moment)
	}
}
