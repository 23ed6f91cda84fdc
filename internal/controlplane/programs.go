package controlplane

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Programs are the file names of the programs; Stages, kwok's configuration, lies beside them.
var Programs = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kubectl", "alertmanager"}

// Stages is the file that tells kwok what becomes of nodes and pods.
const Stages = "stages.yaml"

// ErrNotBuilt says that the programs are missing, and how to get them.
var ErrNotBuilt = errors.New("the programs of a Kubernetes control plane are not built: go run -C internal/testcluster . build")

// Module is the folder of the module internal/testcluster, looked for from the working folder upwards.
func Module() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		module := filepath.Join(dir, "internal", "testcluster")
		if _, err := os.Stat(filepath.Join(module, "go.sum")); err == nil {
			return module, nil
		}
		above := filepath.Dir(dir)
		if above == dir {
			return "", errors.New("internal/testcluster is not found in this folder or above it")
		}
		dir = above
	}
}

// Folder is where the programs belong that a module describes.
func Folder(module string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, name := range []string{"go.mod", "go.sum", "build.go"} {
		data, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%d\n%s", len(data), data)
	}
	return filepath.Join(cache, "remedy-testcluster", hex.EncodeToString(sum.Sum(nil))[:16]), nil
}

// Built is the folder of the programs, or ErrNotBuilt.
func Built() (string, error) {
	module, err := Module()
	if err != nil {
		return "", err
	}
	dir, err := Folder(module)
	if err != nil {
		return "", err
	}
	for _, name := range append([]string{Stages}, Programs...) {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return "", ErrNotBuilt
		}
	}
	return dir, nil
}
