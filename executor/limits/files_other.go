//go:build !unix

package limits

import (
	"errors"
	"fmt"
)

// OpenFiles would return a Store that several processes share; here there are no locks that end with their process, and it
// returns an error.
func OpenFiles(string) (Store, error) {
	return nil, fmt.Errorf("limits: a store in files needs a Unix: %w", errors.ErrUnsupported)
}
