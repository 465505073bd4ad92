package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

const (
	statusNotProvided = "NotProvided"
	statusReady       = "Ready"
	statusError       = "Error"

	finalizer = "stork.libopenstorage.org/finalizer-cleanup"

	// Stork looks at a pair when it changes, and ten seconds after the last look,
	// at ten pairs at once.
	interval = 10 * time.Second
	workers  = 10
)

// double stands in for Stork's ClusterPair controller: of what that does in a
// cluster it does what can be seen from outside. There is no storage: a pair
// over two fabrics is Ready if the Portworx driver would have asked for it.
// https://github.com/libopenstorage/stork/blob/9dc3204614b26c0091e0d4829c41dd3972b692f0/pkg/migration/controllers/clusterpair.go
type double struct {
	client rest.Interface
	pairs  cache.Store
	queue  workqueue.RateLimitingInterface // names of pairs
}

// runDouble serves the ClusterPairs of a cluster until ctx ends; of one
// namespace, unless that is empty.
func runDouble(ctx context.Context, kubeconfig, namespace string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(groupVersion, &ClusterPair{}, &ClusterPairList{})
	metav1.AddToGroupVersion(scheme, groupVersion)
	config.APIPath, config.GroupVersion = "/apis", &groupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.QPS, config.Burst = 100, 100
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return err
	}
	d := &double{client: client, queue: workqueue.NewRateLimitingQueue(workqueue.DefaultControllerRateLimiter())}
	changed := func(pair any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(pair); err == nil {
			d.queue.Add(key)
		}
	}
	// The cache is as Stork's informer has it: one pair that cannot be decoded
	// keeps it as it was.
	source := cache.NewListWatchFromClient(client, "clusterpairs", namespace, fields.Everything())
	pairs, informer := cache.NewInformer(source, &ClusterPair{}, 0, cache.ResourceEventHandlerFuncs{
		AddFunc: changed, UpdateFunc: func(_, pair any) { changed(pair) }, DeleteFunc: changed,
	})
	d.pairs = pairs
	for range workers {
		go d.work(ctx)
	}
	informer.Run(ctx.Done())
	d.queue.ShutDown()
	return nil
}

// work looks at one pair after the other. A destination that takes the request
// and never answers keeps it for ever, as it does Stork's.
func (d *double) work(ctx context.Context) {
	for {
		name, shut := d.queue.Get()
		if shut {
			return
		}
		d.look(ctx, name.(string))
	}
}

func (d *double) look(ctx context.Context, name string) {
	defer d.queue.Done(name)
	object, exists, err := d.pairs.GetByKey(name)
	if err == nil && exists {
		if err = d.reconcile(ctx, object.(*ClusterPair).DeepCopyObject().(*ClusterPair)); err == nil {
			d.queue.AddAfter(name, interval)
		}
	}
	switch {
	case err == nil:
		d.queue.Forget(name)
	case ctx.Err() == nil:
		log.Printf("reconcile %s: %v", name, err)
		d.queue.AddRateLimited(name)
	}
}

func (d *double) reconcile(ctx context.Context, pair *ClusterPair) error {
	if pair.DeletionTimestamp != nil {
		i := slices.Index(pair.Finalizers, finalizer)
		if i < 0 {
			return nil
		}
		pair.Finalizers = slices.Delete(pair.Finalizers, i, i+1)
		return d.update(ctx, pair)
	}
	if !slices.Contains(pair.Finalizers, finalizer) {
		pair.Finalizers = append(pair.Finalizers, finalizer)
		if err := d.update(ctx, pair); err != nil {
			return err
		}
	}
	if err := d.pairStorage(ctx, pair); err != nil {
		return err
	}
	return d.pairScheduler(ctx, pair)
}

func (d *double) pairStorage(ctx context.Context, pair *ClusterPair) error {
	reason, text := statusNotProvided, "Skipping storage pairing since no storage options provided"
	if _, ok := pair.Spec.Options["token"]; ok {
		if pair.Status.StorageStatus == statusReady {
			return nil
		}
		if problem := storage(pair.Spec.Options); problem != "pair" {
			reason, text = statusError, problem
		} else {
			reason, text = statusReady, "Storage successfully paired"
			pair.Status.RemoteStorageID = "double"
		}
	}
	if pair.Status.StorageStatus == reason && reason != statusError {
		return nil
	}
	pair.Status.StorageStatus = reason
	if err := d.event(ctx, pair, reason, text); err != nil {
		return err
	}
	return d.update(ctx, pair)
}

// pairScheduler asks the destination for its version, which it tells anybody,
// and never again once it has answered. Like Stork's client it has no time limit.
func (d *double) pairScheduler(ctx context.Context, pair *ClusterPair) error {
	if pair.Status.SchedulerStatus == statusReady {
		return nil
	}
	destination, err := clientcmd.NewNonInteractiveClientConfig(pair.Spec.Config, pair.Spec.Config.CurrentContext, &clientcmd.ConfigOverrides{},
		clientcmd.NewDefaultClientConfigLoadingRules()).ClientConfig()
	if err != nil {
		return err // and nothing else: the status stays as it was
	}
	destination.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(destination)
	if err != nil {
		return err
	}
	reason, text := statusReady, "Scheduler successfully paired"
	body, err := client.Get().AbsPath("/version").Do(ctx).Raw()
	if err == nil {
		if err = json.Unmarshal(body, new(version.Info)); err != nil {
			err = fmt.Errorf("unable to parse the server version: %w", err)
		}
	}
	if err != nil {
		reason, text = statusError, err.Error()
	}
	pair.Status.SchedulerStatus = reason
	if err := d.event(ctx, pair, reason, text); err != nil {
		return err
	}
	return d.update(ctx, pair)
}

// update writes the whole pair, and with it what this client-go adds and does
// not know.
func (d *double) update(ctx context.Context, pair *ClusterPair) error {
	return d.client.Put().Namespace(pair.Namespace).Resource("clusterpairs").Name(pair.Name).Body(pair).Do(ctx).Into(pair)
}

// event tells of a pair. As a recorder does, it writes one event for all of the
// same text.
func (d *double) event(ctx context.Context, pair *ClusterPair, reason, text string) error {
	kind := "Normal"
	if reason == statusError {
		kind = "Warning"
	}
	now := time.Now().UTC().Format(time.RFC3339)
	name := fmt.Sprintf("%s.%x", pair.Name, sha256.Sum256([]byte(string(pair.UID)+reason+text)))[:len(pair.Name)+17]
	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1",
		"kind":       "Event",
		"metadata":   map[string]any{"name": name, "namespace": pair.Namespace},
		"involvedObject": map[string]any{
			"apiVersion": groupVersion.String(), "kind": "ClusterPair",
			"namespace": pair.Namespace, "name": pair.Name, "uid": pair.UID, "resourceVersion": pair.ResourceVersion,
		},
		"type": kind, "reason": reason, "message": text,
		"source":        map[string]any{"component": "stork"},
		"lastTimestamp": now, "count": 1,
	})
	if err != nil {
		return err
	}
	return d.client.Patch(types.ApplyPatchType).AbsPath("/api/v1/namespaces/"+pair.Namespace+"/events/"+name).
		Param("fieldManager", "stork").Param("force", "true").Body(body).Do(ctx).Error()
}
