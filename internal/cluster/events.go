package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Event is something to say about a pair, as an Event of Kubernetes.
type Event struct {
	Namespace, Name, UID string // of the pair
	Reason               string // in CamelCase
	Note                 string
	Warning              bool
	At                   time.Time // when it was said last
}

// Reporter is the controller in whose name [Client.Tell] writes events.
const Reporter = "clusterpair.dev/watch"

var events = schema.GroupVersionResource{Group: "events.k8s.io", Version: "v1", Resource: "events"}

// microTime is how events write a time.
const microTime = "2006-01-02T15:04:05.000000Z07:00"

// Tell writes an event about a pair. One that says the same of it and is still there becomes
// a series instead.
func (c *Client) Tell(ctx context.Context, e Event) error {
	kind := "Normal"
	if e.Warning {
		kind = "Warning"
	}
	// A name that does not depend on the time lets the server find what was said before, also
	// by a process that is gone.
	name := fmt.Sprintf("%s.%.8x", strings.TrimRight(e.Name[:min(len(e.Name), 200)], ".-"), sha256.Sum256([]byte(e.UID+" "+e.Reason)))
	now := e.At.UTC().Format(microTime)
	object := &unstructured.Unstructured{Object: Object{
		"apiVersion": "events.k8s.io/v1", "kind": "Event",
		"metadata":  Object{"namespace": e.Namespace, "name": name},
		"eventTime": now, "type": kind, "reason": e.Reason, "action": "Check", "note": c.redact(e.Note),
		"reportingController": Reporter, "reportingInstance": "clusterpair",
		"regarding": Object{"apiVersion": clusterPairs.Group + "/" + clusterPairs.Version, "kind": "ClusterPair", "namespace": e.Namespace, "name": e.Name, "uid": e.UID},
	}}
	resource := c.dynamic.Resource(events).Namespace(e.Namespace)
	return c.try(ctx, func() error {
		_, err := resource.Create(ctx, object, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		before, err := resource.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		count, _, _ := unstructured.NestedInt64(before.Object, "series", "count")
		series := fmt.Appendf(nil, `{"series":{"count":%d,"lastObservedTime":%q}}`, max(count, 1)+1, now)
		_, err = resource.Patch(ctx, name, types.MergePatchType, series, metav1.PatchOptions{})
		return err
	})
}

// Told visits the events that [Client.Tell] has written in a namespace, or in all.
func (c *Client) Told(ctx context.Context, namespace string, visit func(Event)) error {
	_, err := c.pages(ctx, events, namespace, map[string]string{"fieldSelector": "reportingController=" + Reporter}, func(item []byte) error {
		var e struct {
			Type      string `json:"type"`
			Reason    string `json:"reason"`
			Regarding struct{ Namespace, Name, UID string }
			EventTime metav1.MicroTime `json:"eventTime"`
			Series    struct {
				LastObservedTime metav1.MicroTime `json:"lastObservedTime"`
			} `json:"series"`
		}
		if json.Unmarshal(item, &e) == nil {
			at := e.Series.LastObservedTime.Time
			if at.IsZero() {
				at = e.EventTime.Time
			}
			visit(Event{Namespace: e.Regarding.Namespace, Name: e.Regarding.Name, UID: e.Regarding.UID, Reason: e.Reason, Warning: e.Type == "Warning", At: at})
		}
		return nil
	})
	return err
}
