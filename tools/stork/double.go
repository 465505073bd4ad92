package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/version"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
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
	events record.EventRecorder
	pairs  cache.Store
	queue  workqueue.RateLimitingInterface // names of pairs
}

// runDouble serves the ClusterPairs of a cluster until ctx ends; of one
// namespace, unless that is empty. Like Stork it ends with an error if it
// cannot read them all within patience of its start.
func runDouble(ctx context.Context, kubeconfig, namespace string, patience time.Duration) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 100, 100
	core, err := typedcorev1.NewForConfig(config)
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(groupVersion, &ClusterPair{}, &ClusterPairList{})
	metav1.AddToGroupVersion(scheme, groupVersion)
	config.APIPath, config.GroupVersion = "/apis", &groupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return err
	}
	events := record.NewBroadcaster()
	defer events.Shutdown()
	events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: core.Events("")})
	d := &double{
		client: client,
		events: events.NewRecorder(scheme, corev1.EventSource{Component: "stork"}),
		queue:  workqueue.NewRateLimitingQueue(workqueue.DefaultControllerRateLimiter()),
	}
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
	go informer.Run(ctx.Done())
	start, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if !cache.WaitForCacheSync(start.Done(), informer.HasSynced) && ctx.Err() == nil {
		return errors.New("failed to wait for the caches to sync: timed out waiting for cache to be synced")
	}
	for range workers {
		go d.work(ctx)
	}
	<-ctx.Done()
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
	again := false
	if err == nil && exists {
		again, err = d.reconcile(ctx, object.(*ClusterPair).DeepCopyObject().(*ClusterPair))
	}
	switch {
	case err != nil && ctx.Err() == nil:
		log.Printf("reconcile %s: %v", name, err)
		d.queue.AddRateLimited(name)
	case err != nil:
	case again:
		d.queue.AddRateLimited(name)
	default:
		d.queue.Forget(name)
		if exists {
			d.queue.AddAfter(name, interval)
		}
	}
}

// reconcile looks at a pair. again says to look once more at once.
func (d *double) reconcile(ctx context.Context, pair *ClusterPair) (again bool, err error) {
	if !slices.Contains(pair.Finalizers, finalizer) { // also if it is about to go, which the API server refuses
		pair.Finalizers = append(pair.Finalizers, finalizer)
		return true, d.update(ctx, pair)
	}
	if pair.DeletionTimestamp != nil {
		return false, d.release(ctx, pair)
	}
	if err := d.pairStorage(ctx, pair); err != nil {
		return false, err
	}
	return false, d.pairScheduler(ctx, pair)
}

// release lets a pair go, unless its storage is paired and the others cannot
// be listed: one of them might use the same storage.
func (d *double) release(ctx context.Context, pair *ClusterPair) error {
	if pair.Status.RemoteStorageID != "" {
		if err := d.client.Get().Resource("clusterpairs").Do(ctx).Into(&ClusterPairList{}); err != nil {
			log.Printf("release %s/%s: %v", pair.Namespace, pair.Name, err)
			d.events.Event(pair, corev1.EventTypeWarning, "Deleting", fmt.Sprintf("Cluster Pair delete failed: %v", err))
			return nil
		}
	}
	pair.Finalizers = slices.DeleteFunc(pair.Finalizers, func(f string) bool { return f == finalizer })
	return d.update(ctx, pair)
}

// pairStorage writes the pair, and the event, each time but for a storage that
// is Ready. A recorder drops events of a pair of which it has had too many.
func (d *double) pairStorage(ctx context.Context, pair *ClusterPair) error {
	if _, ok := pair.Spec.Options["token"]; !ok {
		pair.Status.StorageStatus = statusNotProvided
		d.events.Event(pair, corev1.EventTypeNormal, statusNotProvided, "Skipping storage pairing since no storage options provided")
		return d.update(ctx, pair)
	}
	if pair.Status.StorageStatus == statusReady {
		return nil
	}
	if problem := storage(pair.Spec.Options); problem == "pair" || problem == anotherMode {
		pair.Status.StorageStatus = statusReady
		d.events.Event(pair, corev1.EventTypeNormal, statusReady, "Storage successfully paired")
		pair.Status.RemoteStorageID = "double"
	} else {
		pair.Status.StorageStatus = statusError
		d.events.Event(pair, corev1.EventTypeWarning, statusError, problem)
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
	destination.UserAgent = rest.DefaultKubernetesUserAgent() // as kubernetes.NewForConfig
	destination.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(destination)
	if err != nil {
		return err
	}
	body, err := client.Get().AbsPath("/version").Do(ctx).Raw()
	if err == nil {
		if err = json.Unmarshal(body, new(version.Info)); err != nil {
			err = fmt.Errorf("unable to parse the server version: %w", err)
		}
	}
	if err != nil {
		pair.Status.SchedulerStatus = statusError
		d.events.Event(pair, corev1.EventTypeWarning, statusError, err.Error())
		return d.update(ctx, pair)
	}
	pair.Status.SchedulerStatus = statusReady
	d.events.Event(pair, corev1.EventTypeNormal, statusReady, "Scheduler successfully paired")
	return d.update(ctx, pair)
}

// update writes the whole pair, and with it what this client-go adds and does
// not know.
func (d *double) update(ctx context.Context, pair *ClusterPair) error {
	return d.client.Put().Namespace(pair.Namespace).Resource("clusterpairs").Name(pair.Name).Body(pair).Do(ctx).Into(pair)
}
