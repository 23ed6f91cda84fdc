package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/remedykit/remedy/actions"
	"github.com/remedykit/remedy/schema"
)

// lingers is how long a watch stays open after the last who looked at it: the next step often looks there again.
const lingers = 15 * time.Second

// feeds are the watches of a cluster: one of each kind in each namespace, however many look at it.
type feeds struct {
	mu     sync.Mutex // guards what follows, and users and idle of every feed
	open   map[feedKey]*feed
	closed bool
}

type feedKey struct{ resource, namespace string }

// A feed shows the objects of one kind in one namespace to followers.
type feed struct {
	informer cache.SharedIndexInformer
	stop     context.CancelFunc
	users    int
	idle     *time.Timer // ends the feed; nil while it has users

	mu        sync.Mutex // guards what follows; followers are called under it
	followers map[*follower]struct{}
	failure   error // why the watch cannot be; it is tried on
}

// A follower is shown objects as they are first, and then every change. look must be quick.
type follower struct {
	look   func(o runtime.Object, gone bool)
	failed func(error)
}

// follow shows all objects of a resource in a namespace to look until leave is called.
func (c *Cluster) follow(ctx context.Context, resource, namespace string, f *follower) (leave func(), err error) {
	watched, err := c.feed(resource, namespace)
	if err != nil {
		return nil, err
	}
	leave = func() {
		watched.mu.Lock()
		delete(watched.followers, f)
		watched.mu.Unlock()
		c.feeds.leave(feedKey{resource, namespace}, watched)
	}
	watched.mu.Lock()
	watched.followers[f] = struct{}{}
	if watched.failure != nil {
		f.failed(watched.failure)
	}
	for _, o := range watched.informer.GetStore().List() {
		f.look(o.(runtime.Object), false)
	}
	watched.mu.Unlock()
	return leave, nil
}

// await shows the objects of a resource in a namespace to look, and then every change, until it says that it is done, or an error.
func (c *Cluster) await(ctx context.Context, resource, namespace string, look func(o runtime.Object, gone bool) (done bool, err error)) error {
	ended := make(chan error, 1)
	end := func(err error) {
		select {
		case ended <- err:
		default:
		}
	}
	leave, err := c.follow(ctx, resource, namespace, &follower{
		look: func(o runtime.Object, gone bool) {
			if done, err := look(o, gone); done || err != nil {
				end(err)
			}
		},
		failed: func(err error) {
			if !actions.IsTransient(err) {
				end(err)
			}
		},
	})
	if err != nil {
		return err
	}
	defer leave()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// seen is an object as an open watch shows it; nil when none does, or has not got to what was written here last. It may be a moment
// old, so it is only for who then writes onto the version that it has.
func (c *Cluster) seen(resource, namespace, name string) runtime.Object {
	c.feeds.mu.Lock()
	f := c.feeds.open[feedKey{resource, namespace}]
	c.feeds.mu.Unlock()
	if f == nil || !f.informer.HasSynced() {
		return nil
	}
	o, ok, err := f.informer.GetStore().GetByKey(namespace + "/" + name)
	if err != nil || !ok {
		return nil
	}
	m, err := meta.Accessor(o)
	if err != nil {
		return nil
	}
	if last, ok := c.written.Load(feedKey{resource, namespace + "/" + name}); ok {
		if order, err := resourceversion.CompareResourceVersion(m.GetResourceVersion(), last.(string)); err != nil || order < 0 {
			return nil
		}
	}
	return o.(runtime.Object)
}

// wrote takes note of the version in which an object was written here. resource may be one of its subresources.
func (c *Cluster) wrote(resource string, t schema.Target, written object) {
	resource, _, _ = strings.Cut(resource, "/")
	c.written.Store(feedKey{resource, t.Namespace + "/" + t.Name}, written.version())
}

// feed is the feed of a resource in a namespace, with one user more.
func (c *Cluster) feed(resource, namespace string) (*feed, error) {
	c.feeds.mu.Lock()
	defer c.feeds.mu.Unlock()
	if c.feeds.closed {
		return nil, actions.Permanent(errors.New("kube: the Cluster is closed"))
	}
	key := feedKey{resource, namespace}
	if f := c.feeds.open[key]; f != nil {
		if f.users++; f.idle != nil {
			f.idle.Stop()
			f.idle = nil
		}
		return f, nil
	}
	var client rest.Interface = c.client.AppsV1().RESTClient()
	var example runtime.Object
	switch resource {
	case "deployments":
		example = &appsv1.Deployment{}
	case "statefulsets":
		example = &appsv1.StatefulSet{}
	case "daemonsets":
		example = &appsv1.DaemonSet{}
	case "pods":
		client, example = c.client.CoreV1().RESTClient(), &corev1.Pod{}
	case "persistentvolumeclaims":
		client, example = c.client.CoreV1().RESTClient(), &corev1.PersistentVolumeClaim{}
	default:
		return nil, actions.Permanent(fmt.Errorf("kube: nobody watches %s", resource))
	}
	source := cache.NewListWatchFromClient(client, resource, namespace, fields.Everything())
	f := &feed{informer: cache.NewSharedIndexInformerWithOptions(source, example, cache.SharedIndexInformerOptions{}), users: 1, followers: map[*follower]struct{}{}}
	err := errors.Join(f.informer.SetTransform(lean),
		f.informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
			if ctx.Err() == nil && !errors.Is(err, io.EOF) {
				f.fail(explain(err, "watch", resource, schema.Target{Kind: resource, Namespace: namespace}))
			}
		}))
	if err != nil {
		return nil, err
	}
	if _, err := f.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { f.show(o, false) },
		UpdateFunc: func(_, o any) { f.show(o, false) },
		DeleteFunc: func(o any) {
			if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = last.Obj
			}
			f.show(o, true)
		},
	}); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	go f.informer.RunWithContext(ctx)
	if c.feeds.open == nil {
		c.feeds.open = map[feedKey]*feed{}
	}
	c.feeds.open[key] = f
	return f, nil
}

// lean takes off what nobody looks at.
func lean(o any) (any, error) {
	if m, err := meta.Accessor(o); err == nil {
		m.SetManagedFields(nil)
	}
	return o, nil
}

func (f *feed) show(o any, gone bool) {
	object, ok := o.(runtime.Object)
	if !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failure = nil
	for one := range f.followers {
		one.look(object, gone)
	}
}

func (f *feed) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failure = err
	for one := range f.followers {
		one.failed(err)
	}
}

func (s *feeds) leave(key feedKey, f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.users--; f.users > 0 || s.closed {
		return
	}
	f.idle = time.AfterFunc(lingers, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if f.users == 0 && f.idle != nil && s.open[key] == f {
			delete(s.open, key)
			f.stop()
		}
	})
}

// close ends all watches.
func (s *feeds) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, f := range s.open {
		if f.idle != nil {
			f.idle.Stop()
		}
		f.stop()
	}
	s.open = nil
}
