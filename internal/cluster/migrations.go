package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Migration is one of Stork that has not finished.
type Migration struct {
	Namespace, Name string
	Created         time.Time
	// Pair is the name of the ClusterPair in the same namespace, AdminPair of the one in
	// Stork's admin namespace; empty if it uses none.
	Pair, AdminPair string
}

// ID is NAMESPACE/NAME.
func (m Migration) ID() string { return m.Namespace + "/" + m.Name }

var migrations = schema.GroupVersionResource{Group: "stork.libopenstorage.org", Version: "v1alpha1", Resource: "migrations"}

// Unfinished are the Migrations of a cluster that have not finished: Stork reads the
// ClusterPair of such a one again and again. A cluster without the kind has none.
// https://github.com/libopenstorage/stork/blob/9dc3204614b26c0091e0d4829c41dd3972b692f0/pkg/apis/stork/v1alpha1/migration.go
func (c *Client) Unfinished(ctx context.Context) (running []Migration, err error) {
	_, err = c.pages(ctx, migrations, "", nil, func(item []byte) error {
		var m struct {
			Metadata struct {
				Namespace         string      `json:"namespace"`
				Name              string      `json:"name"`
				CreationTimestamp metav1.Time `json:"creationTimestamp"`
			} `json:"metadata"`
			Spec struct {
				ClusterPair      string `json:"clusterPair"`
				AdminClusterPair string `json:"adminClusterPair"`
			} `json:"spec"`
			Status struct {
				Stage string `json:"stage"`
			} `json:"status"`
		}
		if json.Unmarshal(item, &m) != nil {
			return fmt.Errorf("%s answers with a Migration that is none", c.Server())
		}
		if m.Status.Stage != "Final" {
			running = append(running, Migration{Namespace: m.Metadata.Namespace, Name: m.Metadata.Name, Created: m.Metadata.CreationTimestamp.Time,
				Pair: m.Spec.ClusterPair, AdminPair: m.Spec.AdminClusterPair})
		}
		return nil
	})
	if apierrors.IsNotFound(err) {
		err = nil
	}
	return running, err
}
