package link_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/remedykit/remedy/approval/channels/link"
)

var (
	key   = []byte("0123456789abcdef0123456789abcdef")
	noon  = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	claim = link.Claims{Run: "r1", Step: "rec-004", Request: "r1/rec-004", Digest: "d1", Person: "ann", Expires: noon.Add(15 * time.Minute)}
)

func signer(t require.TestingT, key []byte) *link.Signer {
	s, err := link.New(key)
	require.NoError(t, err)
	return s
}

func TestThereIsNoSignerWithoutAKey(t *testing.T) {
	for _, weak := range [][]byte{nil, []byte("short"), bytes.Repeat([]byte{0}, 64)} {
		_, err := link.New(weak)
		require.ErrorContains(t, err, "random")
		if len(weak) > 1 {
			require.NotContains(t, err.Error(), string(weak), "the key stays out of errors")
		}
	}
}

func TestATokenSaysWhatItWasMadeOf(t *testing.T) {
	s := signer(t, key)
	token, err := s.Make(claim)
	require.NoError(t, err)
	require.Regexp(t, `^[A-Za-z0-9_.-]+$`, token)
	got, err := s.Verify(token, noon)
	require.NoError(t, err)
	require.True(t, claim.Expires.Equal(got.Expires))
	got.Expires = claim.Expires
	require.Equal(t, claim, got)
	for _, bare := range []link.Claims{{}, {Run: "r", Request: "k", Digest: "d", Person: "ann"}, {Run: "r", Request: "k", Digest: "d", Expires: noon}} {
		_, err := s.Make(bare)
		require.ErrorContains(t, err, "not complete")
	}
	long := claim
	long.Person = strings.Repeat("x", 4096)
	_, err = s.Make(long)
	require.ErrorContains(t, err, "too long")
}

func TestATokenExpiresByTheClockOfWhoVerifiesIt(t *testing.T) {
	s := signer(t, key)
	token, err := s.Make(claim)
	require.NoError(t, err)
	for skew, want := range map[time.Duration]error{
		-24 * time.Hour: nil, 0: nil, 15*time.Minute - time.Second: nil,
		15 * time.Minute: link.ErrExpired, 24 * time.Hour: link.ErrExpired,
	} {
		c, err := s.Verify(token, noon.Add(skew))
		require.ErrorIs(t, err, want, skew)
		require.Equal(t, "r1", c.Run)
	}
}

func TestOneChangedCharacterMakesATokenInvalid(t *testing.T) {
	s := signer(t, key)
	token, err := s.Make(claim)
	require.NoError(t, err)
	other, err := signer(t, []byte("another key of thirty-two bytes!")).Make(claim)
	require.NoError(t, err)
	head, tail, _ := strings.Cut(token, ".")
	for _, forged := range []string{"", ".", token + ".", token + "A", token + "=", head, head + ".", "." + tail, tail + "." + head, other, strings.Repeat("A", 1<<20), token + "\n"} {
		_, err := s.Verify(forged, noon)
		require.ErrorIs(t, err, link.ErrForged, "%.80q", forged)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(token)
		i := rapid.IntRange(0, len(b)-1).Draw(t, "position")
		b[i] = rapid.Byte().Filter(func(c byte) bool { return c != b[i] }).Draw(t, "byte")
		if _, err := s.Verify(string(b), noon); err != link.ErrForged {
			t.Fatalf("%q is valid: %v", b, err)
		}
	})
}
