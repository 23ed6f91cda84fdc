package schema

func (p *parser) rules() {}
func validID(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}
func (p *parser) isManifest() bool { return false }
func (p *parser) workflow()        {}
func looksLikeYAML(string) bool    { return false }
func (p *parser) readYAML() bool   { return false }
