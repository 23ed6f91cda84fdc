package web

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

const leastKey = 32

// keys are made of one key, one for each purpose, so that what is signed for one cannot be used for another.
type keys struct{ forms, sessions, logins, links []byte }

func newKeys(key []byte) (keys, error) {
	if len(key) < leastKey {
		return keys{}, fmt.Errorf("web: the key has %d bytes, and %d are the least: there is no default; make one with "+
			"\"openssl rand -out approvals.key %d\", keep it secret, and hand in what the file holds", len(key), leastKey, leastKey)
	}
	var k keys
	for purpose, own := range map[string]*[]byte{"form 1": &k.forms, "session 1": &k.sessions, "login 1": &k.logins, "link 1": &k.links} {
		made, err := hkdf.Key(sha256.New, key, nil, "remedy web "+purpose, sha256.Size)
		if err != nil {
			return keys{}, fmt.Errorf("web: the key: %w", err)
		}
		*own = made
	}
	return k, nil
}

func (k keys) equal(o keys) bool { return hmac.Equal(k.links, o.links) }

var encoding = base64.RawURLEncoding.Strict()

func mac(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return h.Sum(nil)
}

// seal writes a value so that nobody without the key can make or change one.
func seal(key []byte, v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return encoding.EncodeToString(text) + "." + encoding.EncodeToString(mac(key, text)), nil
}

// unseal reads what seal wrote, false when that is not it.
func unseal(key []byte, s string, v any) bool {
	body, sum, ok := strings.Cut(s, ".")
	if !ok || len(s) > mostSealed || strings.ContainsAny(s, "\r\n") { // which the decoder would skip: one link would have many spellings
		return false
	}
	text, err := encoding.DecodeString(body)
	if err != nil {
		return false
	}
	got, err := encoding.DecodeString(sum)
	if err != nil || !hmac.Equal(got, mac(key, text)) {
		return false
	}
	return json.Unmarshal(text, v) == nil
}

// mostSealed is how long a sealed value may be; browsers keep no longer cookie.
const mostSealed = 4000
