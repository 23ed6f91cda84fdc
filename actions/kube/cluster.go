package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/actions/artifact"
	"github.com/remedykit/remedy/actions/sealed"
	"github.com/remedykit/remedy/schema"
)

// DefaultFieldManager is the name under which the API server keeps which fields were written here.
const DefaultFieldManager = "remedy"

// Options change how a Cluster is written. The zero Options is fine.
type Options struct {
	// FieldManager names who writes. Defaults to DefaultFieldManager.
	FieldManager string
	// QPS and Burst bound the requests to the API server. Default to 50 and 100.
	QPS   float32
	Burst int
	// Self is where the runner itself runs: nothing here harms it. Defaults to outside of the cluster.
	Self Self
	// Sealed keeps the former values of ConfigMaps and Secrets for a rollback. Defaults to a Secret beside the object, which
	// belongs to it.
	Sealed sealed.Store
	// Generate makes a new value of a Secret's key for rotate_secrets. Nil: that action is not configured.
	Generate func(ctx context.Context, secret schema.Target, key string) ([]byte, error)
	// Asker asks the endpoints of services for health_check and verify_recovery. Nil: they look at readiness only.
	Asker Asker
	// Artifacts keeps what steps leave: dumps, backups, logs. Nil: actions that leave something are not configured.
	Artifacts artifact.Store
	// Commands are the site's own, for what no other knows how to do.
	Commands Commands
	// BlockedFor is how long a session of a database must have made others wait before repair_database ends it. Defaults to 30s.
	BlockedFor time.Duration
	// CleanupPaths are the folders in pods that cleanup_storage may empty, with what is below them. Empty: none.
	CleanupPaths []string
}

// A Cluster carries actions out. It is safe for concurrent use.
type Cluster struct {
	client       kubernetes.Interface
	fieldManager string
	self         Self
	sealed       sealed.Store
	asker        Asker
	artifacts    artifact.Store
	commands     Commands
	secrets      *strings.Replacer
	blockedFor   time.Duration
	paths        []string
	config       *rest.Config
	dynamic      dynamic.Interface
	generate     func(ctx context.Context, secret schema.Target, key string) ([]byte, error)
	feeds        feeds
	written      sync.Map // feedKey with the object's name: the resource version in which it was written here last
	allowed      sync.Map // Right: the time.Time when the API server said that the account has it
	own          struct {
		mu       sync.Mutex // guards what follows
		known    bool
		workload schema.Target
	}
}

// New connects to a cluster. config is copied.
func New(config *rest.Config, o Options) (*Cluster, error) {
	if config == nil {
		return nil, errors.New("kube: the rest.Config is nil: use rest.InClusterConfig or clientcmd")
	}
	c := rest.CopyConfig(config)
	c.QPS, c.Burst = cmp.Or(o.QPS, 50), cmp.Or(o.Burst, 100)
	if c.UserAgent == "" {
		c.UserAgent = "remedy/" + rest.DefaultKubernetesUserAgent()
	}
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		return nil, fmt.Errorf("kube: %w", err)
	}
	dynamicClient, err := dynamic.NewForConfig(c)
	if err != nil {
		return nil, fmt.Errorf("kube: %w", err)
	}
	return &Cluster{config: c, dynamic: dynamicClient, artifacts: o.Artifacts, commands: o.Commands, secrets: o.Commands.secrets(), blockedFor: cmp.Or(o.BlockedFor, 30*time.Second), paths: o.CleanupPaths, client: client, fieldManager: cmp.Or(o.FieldManager, DefaultFieldManager), self: o.Self, sealed: o.Sealed, generate: o.Generate, asker: o.Asker}, nil
}

// Close ends the watches, which otherwise stay open for a few seconds after the last step that needed them. Steps that wait
// for a rollout then wait in vain.
func (c *Cluster) Close() { c.feeds.close() }

// Handlers are the handlers of the cluster, by action type.
func (c *Cluster) Handlers() actions.Handlers {
	registry := actions.Canonical()
	all := actions.Handlers{}
	for name, h := range c.handlers() {
		all[name] = c.guard(registry.Lookup(name), h)
	}
	return all
}

func (c *Cluster) handlers() map[string]handler {
	all := c.edits()
	maps.Copy(all, c.podHandlers())
	maps.Copy(all, c.execHandlers())
	return all
}

// edits are the handlers that write fields of objects.
func (c *Cluster) edits() map[string]handler {
	return map[string]handler{
		"cordon_node":           &edit{c, nodes{}, cordon{}},
		"uncordon_node":         &edit{c, nodes{}, uncordon{}},
		"taint_node":            &edit{c, nodes{}, taint{}},
		"untaint_node":          &edit{c, nodes{}, untaint{}},
		"scale_deployment":      &edit{c, scales("deployments"), scale{}},
		"scale_statefulset":     &edit{c, scales("statefulsets"), scale{}},
		"rolling_restart_pods":  &edit{c, workloads{}, restart{}},
		"restart_daemonset":     &edit{c, workloads{}, restart{}},
		"restart_statefulset":   &edit{c, workloads{}, restart{}},
		"increase_resources":    &edit{c, workloads{}, raise{}},
		"rollback_deployment":   &edit{c, histories{}, goBack{}},
		"enable_debug_mode":     &edit{c, workloads{}, debug{}},
		"restart_network":       c.restartNetwork(),
		"reset_service_mesh":    c.resetMesh(),
		"rotate_secrets":        &rotate{c},
		"health_check":          healthCheck{c},
		"verify_recovery":       verifyRecovery{c},
		"patch_config_map":      &edit{c, configMaps{}, setKeys{c}},
		"update_hpa":            &edit{c, autoscalers{}, setBounds{}},
		"update_network_policy": &edit{c, networkPolicies{}, setRules{}},
	}
}
