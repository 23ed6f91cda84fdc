package approval

import "time"

// Wait is how long a request waits before the answer is no: Timeout, or its default.
func (p *Policy) Wait() time.Duration {
	if p == nil || p.Timeout <= 0 {
		return DefaultTimeout
	}
	return p.Timeout
}
