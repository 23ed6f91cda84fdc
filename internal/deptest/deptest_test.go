// Package deptest fails when a core package reaches what its users must not be made to build.
package deptest

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/remedykit/remedy"

// forbidden are prefixes of import paths, and why no core package may reach them.
var forbidden = map[string]string{
	"k8s.io/":                       "client-go would come with every embedding; only actions/kube and approval/crd need it",
	"google.golang.org/protobuf":    "protobuf would come with every embedding",
	"github.com/gogo/protobuf":      "protobuf would come with every embedding",
	"testing":                       "test code does not belong into users' binaries",
	"github.com/stretchr/testify":   "test helpers do not belong into users' binaries",
	"github.com/google/go-cmp":      "test helpers do not belong into users' binaries",
	"pgregory.net/rapid":            "test helpers do not belong into users' binaries",
	module + "/actions/actionstest": "test helpers do not belong into users' binaries",
	"github.com/spf13/":             "the command line is an example, not a part of the library",
	"net/http/pprof":                "importing it opens a debug handler",
	module + "/actions/kube":        "core packages know no cluster",
	module + "/approval/crd":        "core packages know no cluster",
	module + "/examples":            "nothing imports an example",
}

// layers are the core packages from the lowest up: each may import those before it only.
var layers = []string{"schema", "actions", "dag", "dag/render", "approval", "executor/journal", "executor/limits", "executor"}

func list(t *testing.T, format, pkg string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", format, pkg)
	cmd.Env = append(cmd.Environ(), "GOWORK=off")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	require.NoError(t, err, "go list %s", pkg)
	return strings.Fields(string(out))
}

func TestCorePackagesReachNothingHeavy(t *testing.T) {
	for _, pkg := range append(layers, "actions/simulated", "approval/terminal") {
		for _, dep := range list(t, "{{.ImportPath}}", "./"+pkg) {
			for prefix, why := range forbidden {
				if dep == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(dep, prefix) && strings.ContainsAny(prefix, "./") {
					t.Errorf("%s reaches %s: %s", pkg, dep, why)
				}
			}
		}
	}
}

func TestImportsOnlyPointDownwards(t *testing.T) {
	for level, pkg := range layers {
		for _, dep := range list(t, "{{if not .Standard}}{{.ImportPath}}{{end}}", "./"+pkg) {
			for _, upper := range layers[level+1:] {
				if dep == module+"/"+upper {
					t.Errorf("%s imports %s, which is above it", pkg, upper)
				}
			}
		}
	}
}

func TestTheRootModuleRequiresOnlyWhatItSays(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{if not (or .Indirect .Main)}}{{.Path}}{{end}}", "all")
	cmd.Env = append(cmd.Environ(), "GOWORK=off")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	require.NoError(t, err)
	require.ElementsMatch(t, []string{
		"golang.org/x/sync", "github.com/go-playground/validator/v10", "go.yaml.in/yaml/v3",
		"github.com/google/go-cmp", "github.com/stretchr/testify", "pgregory.net/rapid",
		"k8s.io/api", "k8s.io/apimachinery", "k8s.io/client-go", "sigs.k8s.io/yaml",
	}, strings.Fields(string(out)))
}
