package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	kjson "sigs.k8s.io/json"

	"clusterpair.dev/internal/kubeconfig"
)

// Pair is what a cluster knows of a ClusterPair, without its credential.
type Pair struct {
	Namespace, Name, UID string
	Created              time.Time
	// Changed is when anything of it was changed last.
	Changed time.Time
	// StorageStatus and SchedulerStatus are Stork's: empty, NotProvided, Ready
	// or Error.
	StorageStatus, SchedulerStatus string
	// TwoFabrics says that Stork is to pair storage, too.
	TwoFabrics bool
	// Seen says that Stork has put its finalizer on the pair.
	Seen bool
	// Stale says that the spec was changed after Stork has written its status.
	Stale bool
	// Undecodable says that Stork cannot read the pair: this stalls all others.
	Undecodable bool
	// Unusable says that Stork cannot make a client of the kubeconfig, which it
	// tells its log alone. It is known of pairs without a scheduler status.
	Unusable bool
	// Deleting says that the pair waits for Stork to let it go; Gone that it is
	// no longer there.
	Deleting, Gone bool
	// End is when the credential ends, by the annotations or by what it says
	// itself.
	End kubeconfig.End
	// Credential is the one that the pair holds, as [kubeconfig.CredentialID] names it;
	// empty if nothing of it can be named.
	Credential string
	// Event is the text of the newest warning about the pair: see [Client.Events].
	Event string

	secrets []string // what an event about it might quote
}

// ID is NAMESPACE/NAME.
func (p *Pair) ID() string { return p.Namespace + "/" + p.Name }

// Ready tells whether the status is that of a pair that works: Stork itself
// asks no more. https://github.com/libopenstorage/stork/blob/9dc3204614b26c0091e0d4829c41dd3972b692f0/pkg/crud/stork/clusterpair.go#L76
func (p *Pair) Ready() bool { return p.SchedulerStatus == ready && p.StorageStatus == p.WantsStorage() }

// WantsStorage is the storage status of the pair once it works.
func (p *Pair) WantsStorage() string {
	if p.TwoFabrics {
		return ready
	}
	return "NotProvided"
}

const ready = "Ready"

// Scope says which pairs are meant.
type Scope struct {
	Namespace string // empty for all
	Name      string // empty for all
}

func (s Scope) query() map[string]string {
	if s.Name == "" {
		return nil
	}
	return map[string]string{"fieldSelector": "metadata.name=" + s.Name} // a role may be for this name alone
}

var clusterPairs = schema.GroupVersionResource{Group: "stork.libopenstorage.org", Version: "v1alpha1", Resource: "clusterpairs"}

// Pairs visits the pairs of a scope, each with its JSON, which holds the
// credential and is the visitor's only while it runs.
func (c *Client) Pairs(ctx context.Context, s Scope, visit func(Pair, []byte) error) error {
	_, err := c.pairs(ctx, s, visit)
	return err
}

func (c *Client) pairs(ctx context.Context, s Scope, visit func(Pair, []byte) error) (version string, err error) {
	version, err = c.pages(ctx, clusterPairs, s.Namespace, s.query(), func(item []byte) error {
		p, err := DecodePair(item)
		if err != nil {
			return fmt.Errorf("%s answers with a ClusterPair that is no object", c.Server())
		}
		return visit(p, item)
	})
	if apierrors.IsNotFound(err) {
		err = &Error{Rule: "stork-missing", message: c.Server() + " knows no ClusterPairs: there is no Stork", Hint: "install Stork, or choose the source cluster with --context", err: err}
	}
	return version, err
}

// DecodePair reads the JSON of a pair as Stork does: with the types of client-go, and each
// key exactly as it is spelled.
func DecodePair(item []byte) (Pair, error) {
	var object struct {
		Metadata struct {
			Namespace         string                      `json:"namespace"`
			Name              string                      `json:"name"`
			UID               string                      `json:"uid"`
			CreationTimestamp metav1.Time                 `json:"creationTimestamp"`
			DeletionTimestamp *metav1.Time                `json:"deletionTimestamp"`
			Finalizers        []string                    `json:"finalizers"`
			Annotations       map[string]string           `json:"annotations"`
			ManagedFields     []metav1.ManagedFieldsEntry `json:"managedFields"`
		} `json:"metadata"`
		Spec   json.RawMessage `json:"spec"`
		Status json.RawMessage `json:"status"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(item, &object); err != nil {
		return Pair{}, err
	}
	m := &object.Metadata
	p := Pair{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, Created: m.CreationTimestamp.Time, Changed: m.CreationTimestamp.Time,
		Deleting: m.DeletionTimestamp != nil,
		Seen:     slices.Contains(m.Finalizers, "stork.libopenstorage.org/finalizer-cleanup"),
	}
	var status struct {
		SchedulerStatus string `json:"schedulerStatus"`
		StorageStatus   string `json:"storageStatus"`
		RemoteStorageID string `json:"remoteStorageId"`
	}
	var spec struct {
		Config          clientcmdapi.Config `json:"config"`
		Options         map[string]string   `json:"options"`
		PlatformOptions struct {
			Rancher *struct {
				ProjectMappings map[string]string `json:"projectMappings"`
			} `json:"rancher"`
		} `json:"platformOptions"`
	}
	p.Undecodable = decode(object.Status, &status) != nil
	p.StorageStatus, p.SchedulerStatus = status.StorageStatus, status.SchedulerStatus
	if decode(object.Spec, &spec) != nil || nullInUse(&spec.Config) {
		p.Undecodable = true
	}
	p.Unusable = !p.Undecodable && p.SchedulerStatus == "" && !usable(&spec.Config)
	_, p.TwoFabrics = spec.Options["token"]
	p.Stale = p.SchedulerStatus == ready && specAfterStatus(m.ManagedFields)
	for _, entry := range m.ManagedFields {
		if entry.Time != nil && entry.Time.After(p.Changed) {
			p.Changed = entry.Time.Time
		}
	}
	p.End = endOf(m.Annotations, &spec.Config)
	if user := activeUser(&spec.Config); user != nil && !p.Undecodable {
		p.Credential = kubeconfig.CredentialID(user.ClientCertificateData, strings.TrimSpace(user.Token))
	}
	if p.SchedulerStatus == "Error" || p.StorageStatus == "Error" {
		p.secrets = secretsOf(spec.Options, &spec.Config)
	}
	return p, nil
}

// secretsOf are the credentials of a pair, which an event about it may quote.
func secretsOf(options map[string]string, config *clientcmdapi.Config) []string {
	secrets := []string{options["token"]}
	for _, user := range config.AuthInfos {
		if user != nil {
			secrets = append(secrets, strings.TrimSpace(user.Token), user.Token, user.Password)
		}
	}
	return secrets
}

func decode(part json.RawMessage, into any) error {
	if part == nil {
		return nil
	}
	return kjson.UnmarshalCaseSensitivePreserveInts(part, into)
}

// nullInUse tells whether the current context, its cluster or its user is null:
// client-go follows the pointer, and Stork ends.
func nullInUse(c *clientcmdapi.Config) bool {
	context, ok := c.Contexts[c.CurrentContext]
	if !ok {
		return false
	}
	if context == nil {
		return true
	}
	cluster, hasCluster := c.Clusters[context.Cluster]
	user, hasUser := c.AuthInfos[context.AuthInfo]
	return hasCluster && cluster == nil || hasUser && user == nil
}

// usable tells whether client-go makes a client of a kubeconfig. A file that it
// names would be one of Stork's pod, where it hardly is.
func usable(c *clientcmdapi.Config) bool {
	for _, cluster := range c.Clusters {
		if cluster != nil && cluster.CertificateAuthority != "" {
			return false
		}
	}
	for _, user := range c.AuthInfos {
		if user != nil && (user.ClientCertificate != "" || user.ClientKey != "" || user.TokenFile != "") {
			return false
		}
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*c, c.CurrentContext, nil, nil).ClientConfig()
	if err != nil {
		return false
	}
	_, err = rest.HTTPClientFor(config)
	return err == nil
}

func activeUser(c *clientcmdapi.Config) *clientcmdapi.AuthInfo {
	if context := c.Contexts[c.CurrentContext]; context != nil {
		return c.AuthInfos[context.AuthInfo]
	}
	return nil
}

// endOf is when the credential of a pair ends, by what it says itself. The
// annotations are asked only where it is not at hand: an earlier release took the
// end of the CA for that of a credential which does not tell.
func endOf(annotations map[string]string, c *clientcmdapi.Config) kubeconfig.End {
	user := activeUser(c)
	if user == nil || strings.HasPrefix(user.Token, "ENC[") || strings.HasPrefix(user.Password, "ENC[") {
		end, _ := kubeconfig.ReadEnd(func(annotation string) string { return annotations[annotation] })
		return end
	}
	d := &kubeconfig.Destination{Token: user.Token, ClientCertificateData: user.ClientCertificateData, Username: user.Username, Password: user.Password}
	if user.Exec != nil {
		d.Exec = new(kubeconfig.Exec)
	}
	if cluster := c.Clusters[c.Contexts[c.CurrentContext].Cluster]; cluster != nil {
		d.CAData = cluster.CertificateAuthorityData
	}
	return d.End()
}

// specAfterStatus tells by the API server's own notes whether somebody has
// changed spec after the status was written. Stork, which writes whole objects,
// owns parts of both; a time has no fractions of a second, so that what was
// changed in the same one is not known to be later.
func specAfterStatus(entries []metav1.ManagedFieldsEntry) bool {
	var spec, status time.Time
	for _, entry := range entries {
		var fields struct {
			Spec   json.RawMessage `json:"f:spec"`
			Status struct {
				Scheduler json.RawMessage `json:"f:schedulerStatus"`
			} `json:"f:status"`
		}
		if entry.Time == nil || entry.FieldsV1 == nil || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		switch {
		case fields.Status.Scheduler != nil && entry.Time.After(status):
			status = entry.Time.Time
		case fields.Status.Scheduler == nil && fields.Spec != nil && entry.Time.After(spec):
			spec = entry.Time.Time
		}
	}
	return !status.IsZero() && spec.After(status)
}

// WatchPairs visits the pairs of a scope, then each that changes, until a
// visitor returns an error or ctx ends. settled is called whenever all is
// visited that is known. It begins again where the server ends the watch, has
// lost its history or is away for some time.
func (c *Client) WatchPairs(ctx context.Context, s Scope, visit func(Pair, []byte) error, settled func() error) error {
	known := make(map[string]bool)
	for first := true; ; first = false {
		before := known
		known = make(map[string]bool, len(before))
		version, err := c.pairs(ctx, s, func(p Pair, item []byte) error {
			known[p.ID()] = true
			delete(before, p.ID())
			return visit(p, item)
		})
		var refused *Error
		switch {
		case err != nil && !first && ctx.Err() == nil && errors.As(err, &refused) && refused.Rule == "unreachable":
			for id := range before {
				known[id] = true
			}
		case err != nil:
			return err
		default:
			for id := range before {
				namespace, name, _ := strings.Cut(id, "/")
				if err := visit(Pair{Namespace: namespace, Name: name, Gone: true}, nil); err != nil {
					return err
				}
			}
			if err := settled(); err != nil {
				return err
			}
			if err := c.follow(ctx, s, version, known, visit, settled); err != nil {
				return err
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// follow visits what changes after a version, until the server ends the watch.
func (c *Client) follow(ctx context.Context, s Scope, version string, known map[string]bool, visit func(Pair, []byte) error, settled func() error) error {
	options := metav1.ListOptions{ResourceVersion: version, FieldSelector: s.query()["fieldSelector"]}
	w, err := c.watches.Resource(clusterPairs).Namespace(s.Namespace).Watch(ctx, options)
	switch {
	case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
		return c.wrap(err)
	case err != nil:
		return nil
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		object, ok := event.Object.(json.Marshaler)
		if !ok {
			return nil // an error, such as history that is lost
		}
		item, err := object.MarshalJSON()
		if err != nil {
			return nil
		}
		p, err := DecodePair(item)
		if err != nil {
			return nil
		}
		if p.Gone = event.Type == watch.Deleted; p.Gone {
			delete(known, p.ID())
		} else {
			known[p.ID()] = true
		}
		if err := visit(p, item); err != nil {
			return err
		}
		if err := settled(); err != nil {
			return err
		}
	}
	return nil
}

// Events looks up what Stork has told of the pairs that it calls Error: the
// events of a namespace, or of all, are read once.
func (c *Client) Events(ctx context.Context, namespace string, pairs map[string]*Pair) error {
	newest := make(map[string]time.Time, len(pairs))
	resource := schema.GroupVersionResource{Version: "v1", Resource: "events"}
	query := map[string]string{"fieldSelector": "involvedObject.kind=ClusterPair,type=Warning"}
	_, err := c.pages(ctx, resource, namespace, query, func(item []byte) error {
		var event struct {
			Metadata struct {
				CreationTimestamp metav1.Time `json:"creationTimestamp"`
			} `json:"metadata"`
			InvolvedObject struct{ Namespace, Name string } `json:"involvedObject"`
			Message        string                           `json:"message"`
			LastTimestamp  metav1.Time                      `json:"lastTimestamp"`
			EventTime      metav1.MicroTime                 `json:"eventTime"`
		}
		if json.Unmarshal(item, &event) != nil {
			return nil
		}
		at := event.Metadata.CreationTimestamp.Time
		for _, t := range []time.Time{event.LastTimestamp.Time, event.EventTime.Time} {
			if t.After(at) {
				at = t
			}
		}
		id := event.InvolvedObject.Namespace + "/" + event.InvolvedObject.Name
		if p := pairs[id]; p != nil && !at.Before(newest[id]) {
			newest[id] = at
			p.Event = c.redact(event.Message, p.secrets...)
		}
		return nil
	})
	return err
}

// Recheck makes Stork look at a pair again, by taking back what it has said of
// the scheduler. A ClusterPair has no status subresource.
func (c *Client) Recheck(ctx context.Context, namespace, name string) error {
	return c.try(ctx, func() error {
		_, err := c.dynamic.Resource(clusterPairs).Namespace(namespace).Patch(ctx, name, types.MergePatchType,
			[]byte(`{"status":{"schedulerStatus":""}}`), metav1.PatchOptions{FieldManager: "clusterpair"})
		return err
	})
}
