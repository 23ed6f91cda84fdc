//go:build !linux

package controlplane

import "syscall"

// Elsewhere a program outlives a parent that is killed.
func withParent() *syscall.SysProcAttr { return nil }
