package actions

import "strings"

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// beginsWord tells whether a word of the camelCase name begins at its byte i > 0. Capitals in a row are one word, the
// last of them apart when small letters follow: target, CPU, Utilization.
func beginsWord(name string, i int) bool {
	return isUpper(name[i]) && (!isUpper(name[i-1]) || i+1 < len(name) && isLower(name[i+1]))
}

// snake returns the snake_case of a camelCase or PascalCase name.
func snake(name string) string {
	var b strings.Builder
	b.Grow(len(name) + 4)
	for i := range len(name) {
		c := name[i]
		if i > 0 && beginsWord(name, i) {
			b.WriteByte('_')
		}
		if isUpper(c) {
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// isSnakeOf is s == snake(name), without making the string.
func isSnakeOf(s, name string) bool {
	j := 0
	for i := range len(name) {
		c := name[i]
		if i > 0 && beginsWord(name, i) {
			if j >= len(s) || s[j] != '_' {
				return false
			}
			j++
		}
		if isUpper(c) {
			c += 'a' - 'A'
		}
		if j >= len(s) || s[j] != c {
			return false
		}
		j++
	}
	return j == len(s)
}

// spelling brings an action type written in snake_case, kebab-case, PascalCase or camelCase to snake_case, and returns
// "" for every other way to write one, mixtures included.
func spelling(name string) string {
	var upper, underscore, hyphen bool
	for i := range len(name) {
		switch c := name[i]; {
		case isUpper(c):
			upper = true
		case c == '_':
			underscore = true
		case c == '-':
			hyphen = true
		case !isLower(c) && !isDigit(c):
			return ""
		}
	}
	switch {
	case !upper && !hyphen:
		return name
	case !upper && !underscore:
		return strings.ReplaceAll(name, "-", "_")
	case !underscore && !hyphen:
		return snake(name)
	}
	return ""
}

// title returns a snake_case name as words with capitals.
func title(name string) string {
	words := strings.Split(name, "_")
	for i, w := range words {
		if w != "" {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, " ")
}

// isSnakeCase tells whether s is words of small letters and digits joined by single underscores, a letter first.
func isSnakeCase(s string) bool {
	if s == "" || !isLower(s[0]) || s[len(s)-1] == '_' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLower(c) && !isDigit(c) && (c != '_' || s[i-1] == '_') {
			return false
		}
	}
	return true
}

// isCamelCase tells whether s is letters and digits, a small letter first.
func isCamelCase(s string) bool {
	if s == "" || !isLower(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLower(c) && !isUpper(c) && !isDigit(c) {
			return false
		}
	}
	return true
}
