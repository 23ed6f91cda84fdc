//go:build unix

package journal

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the lock of an open file; it ends when the file is closed or the process ends.
func tryLock(file *os.File) (bool, error) {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
