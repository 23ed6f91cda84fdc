package patience_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/internal/patience"
)

func TestOnlyWhatMayPassIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, tries := time.Now(), 0
		err := patience.Try(t.Context(), func() error {
			if tries++; time.Since(began) < 30*time.Second {
				return actions.Transient(errors.New("down"))
			}
			return nil
		})
		require.NoError(t, err)
		require.Less(t, tries, 30)
		require.Less(t, time.Since(began), 35*time.Second)

		tries = 0
		require.Error(t, patience.Try(t.Context(), func() error { tries++; return actions.Permanent(errors.New("no")) }))
		require.Equal(t, 1, tries)

		began = time.Now()
		asked := &actions.HandlerError{Transient: true, RetryAfter: time.Minute, Err: errors.New("busy")}
		require.NoError(t, patience.Try(t.Context(), func() error {
			if time.Since(began) == 0 {
				return asked
			}
			return nil
		}))
		require.Equal(t, time.Minute, time.Since(began), "as long as the other side asks for")

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began = time.Now()
		require.EqualError(t, patience.Try(ctx, func() error { return asked }), "busy")
		require.Equal(t, 10*time.Second, time.Since(began))
	})
}
