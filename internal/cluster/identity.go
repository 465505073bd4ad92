package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"clusterpair.dev/internal/defect"
	"clusterpair.dev/internal/pattern"
)

// Identity is what tells a cluster from others.
type Identity struct {
	// UID is that of the namespace kube-system, which lives as long as the cluster.
	UID string
	// Version is that of Kubernetes, such as v1.37.2.
	Version string
	// StorkMissing are Stork's resources that the cluster does not know.
	StorkMissing []string
	// StorkVersion is the release of the Stork that runs there, such as 24.3.2,
	// by the image of its Deployment; empty if that does not tell.
	StorkVersion string
	// Guard says whether a policy there refuses a ClusterPair that stops Stork.
	Guard Guard
}

// Guard tells whether an API server refuses what stops Stork.
type Guard int

const (
	// GuardUnknown is of a cluster that does not tell, or that can have no policies.
	GuardUnknown Guard = iota
	// Guarded is of one that refuses by the policy of clusterpair schema -o admission.
	Guarded
	// Unguarded is of one that can have that policy, and does not refuse by it.
	Unguarded
)

// Identity asks the cluster who it is.
func (c *Client) Identity(ctx context.Context) (*Identity, error) {
	i := new(Identity)
	err := parallel(
		func() (err error) { i.UID, err = c.UID(ctx); return err },
		func() (err error) { i.Version, err = c.version(ctx); return err },
		func() (err error) { i.StorkMissing, err = c.storkMissing(ctx); return err },
		func() (err error) { i.StorkVersion, err = c.storkVersion(ctx); return err },
		func() error { i.Guard = c.guard(ctx); return nil },
	)
	return i, err
}

// ask sends a request until there is an answer that is final, and decodes it.
func (c *Client) ask(ctx context.Context, method, path string, body, into any) error {
	return c.try(ctx, func() error { return c.askOnce(ctx, method, path, body, into) })
}

func (c *Client) askOnce(ctx context.Context, method, path string, body, into any) error {
	request := c.rest.Verb(method).AbsPath(path).MaxRetries(0)
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		request.SetHeader("Content-Type", "application/json").Body(data)
	}
	raw, err := answer(request.Do(ctx))
	if err != nil {
		return err
	}
	switch {
	case json.Unmarshal(raw, into) == nil:
		return nil
	case ctx.Err() != nil: // a server may end an answer that we have given up in a proper way
		return context.Cause(ctx)
	}
	return c.strange(method, path)
}

// strange is about an answer that no API server gives.
func (c *Client) strange(method, path string) error {
	return &Error{Rule: "unreachable", message: fmt.Sprintf("%s answers %s %s as no API server does", c.Server(), method, path),
		Hint: "give the URL of the API server itself, not that of a login page, or of a load balancer with no cluster behind it"}
}

// version is that of the server. A port that is closed at the first request is
// no server that restarts, so that this is tried once.
func (c *Client) version(ctx context.Context) (string, error) {
	var v struct {
		GitVersion string `json:"gitVersion"`
	}
	err := c.askOnce(ctx, http.MethodGet, "/version", nil, &v)
	if err != nil && transient(err) && !utilnet.IsConnectionRefused(err) {
		err = c.ask(ctx, http.MethodGet, "/version", nil, &v)
	}
	if err == nil && v.GitVersion == "" {
		err = c.strange(http.MethodGet, "/version")
	}
	return c.redact(v.GitVersion), c.wrap(err)
}

// UID is the identity of the cluster: that of its namespace kube-system.
func (c *Client) UID(ctx context.Context) (string, error) {
	var n struct {
		Metadata struct {
			UID string `json:"uid"`
		} `json:"metadata"`
	}
	const path = "/api/v1/namespaces/kube-system"
	err := c.ask(ctx, http.MethodGet, path, nil, &n)
	if err == nil && n.Metadata.UID == "" {
		err = c.strange(http.MethodGet, path)
	}
	return n.Metadata.UID, err
}

// user is whom the server takes a credential for.
type user struct {
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
}

// errNoReview says that the server does not tell whom it takes the credential
// for, though it takes it.
var errNoReview = errors.New("no review")

// whoAmI asks the server. Everybody whom it knows may ask, from Kubernetes 1.28.
func (c *Client) whoAmI(ctx context.Context) (user, error) {
	const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
	var review struct {
		Status struct {
			UserInfo user `json:"userInfo"`
		} `json:"status"`
	}
	err := c.ask(ctx, http.MethodPost, path, object("authentication.k8s.io/v1", "SelfSubjectReview", nil), &review)
	switch {
	case apierrors.IsForbidden(err):
		return user{}, errNoReview
	case apierrors.IsNotFound(err):
		// Before, only a question about permissions tells that the credential is known.
		if _, err = c.may(ctx, access{verb: "get", resource: "namespaces"}, ""); err == nil {
			err = errNoReview
		}
		return user{}, err
	case err == nil && review.Status.UserInfo.Username == "":
		err = c.strange(http.MethodPost, path)
	}
	return review.Status.UserInfo, err
}

// storkMissing are the resources that a migration needs of Stork and the cluster
// does not know.
func (c *Client) storkMissing(ctx context.Context) ([]string, error) {
	missing := []string{"clusterpairs", "migrations", "migrationschedules"}
	var list struct {
		Resources []struct {
			Name string `json:"name"`
		} `json:"resources"`
	}
	err := c.ask(ctx, http.MethodGet, "/apis/stork.libopenstorage.org/v1alpha1", nil, &list)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	for _, r := range list.Resources {
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == r.Name })
	}
	return missing, nil
}

// guard looks for the policy of clusterpair schema -o admission, which refuses by a binding.
func (c *Client) guard(ctx context.Context) Guard {
	const policies = "/apis/admissionregistration.k8s.io/v1"
	var found struct {
		Resources []struct{ Name string }
	}
	if c.ask(ctx, http.MethodGet, policies, nil, &found) != nil || !slices.ContainsFunc(found.Resources, func(r struct{ Name string }) bool { return r.Name == "validatingadmissionpolicybindings" }) {
		return GuardUnknown
	}
	var binding struct {
		Spec struct {
			ValidationActions []string `json:"validationActions"`
		} `json:"spec"`
	}
	switch err := c.ask(ctx, http.MethodGet, policies+"/validatingadmissionpolicybindings/clusterpair-decodes", nil, &binding); {
	case apierrors.IsNotFound(err), err == nil && !slices.Contains(binding.Spec.ValidationActions, "Deny"):
		return Unguarded
	case err == nil:
		return Guarded
	}
	return GuardUnknown
}

var storkImage = pattern.Later(`(?:^|/)stork:v?([0-9]+\.[0-9]+(?:\.[0-9]+)*)`)

// storkVersion looks at the Deployments that are labelled as the Portworx
// operator and Stork's own manifests label theirs. Who may not see them is told
// nothing: https://github.com/libopenstorage/stork/blob/9dc3204614b2/specs/stork-deployment.yaml
func (c *Client) storkVersion(ctx context.Context) (string, error) {
	version := ""
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	_, err := c.list(ctx, deployments, "", "name=stork", func(item []byte) error {
		var d struct {
			Spec struct {
				Template struct {
					Spec struct {
						Containers []struct {
							Image string `json:"image"`
						} `json:"containers"`
					} `json:"spec"`
				} `json:"template"`
			} `json:"spec"`
		}
		if json.Unmarshal(item, &d) != nil {
			return c.strange(http.MethodGet, resourcePath(deployments, ""))
		}
		for _, container := range d.Spec.Template.Spec.Containers {
			if m := storkImage().FindStringSubmatch(container.Image); m != nil {
				version = m[1]
			}
		}
		return nil
	})
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		err = nil
	}
	return version, err
}

// groups are the API groups that the server knows, the core as "". nil says that
// the credential may not know.
func (c *Client) groups(ctx context.Context) (map[string]bool, error) {
	var list struct {
		Groups []struct {
			Name string `json:"name"`
		} `json:"groups"`
	}
	err := c.ask(ctx, http.MethodGet, "/apis", nil, &list)
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	known := map[string]bool{"": true}
	for _, g := range list.Groups {
		known[g.Name] = true
	}
	return known, err
}

const (
	// adminNamespace is the one whose Migrations may work in all namespaces, by
	// the default of Stork's flag --admin-namespace.
	adminNamespace = "kube-system"
	// noNamespace is in no cluster: what a credential may do in it, it may do
	// everywhere. A review wants a namespace, and a RoleBinding there shows in
	// what it says of cluster-scoped resources, too, though it does not count.
	noNamespace = "clusterpair-preflight-in-no-cluster"
)

// ruleList is what a credential may do in a namespace.
type ruleList struct {
	ResourceRules []struct {
		Verbs         []string `json:"verbs"`
		APIGroups     []string `json:"apiGroups"`
		Resources     []string `json:"resources"`
		ResourceNames []string `json:"resourceNames"`
	} `json:"resourceRules"`
	// Incomplete says that an authorizer, such as that of a cloud, does not
	// tell its rules.
	Incomplete bool `json:"incomplete"`
}

func (c *Client) rules(ctx context.Context, namespace string) (*ruleList, error) {
	const path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
	var review struct {
		Kind   string   `json:"kind"`
		Status ruleList `json:"status"`
	}
	err := c.ask(ctx, http.MethodPost, path, object("authorization.k8s.io/v1", "SelfSubjectRulesReview", map[string]any{"namespace": namespace}), &review)
	if err == nil && review.Kind != "SelfSubjectRulesReview" {
		err = c.strange(http.MethodPost, path)
	}
	return &review.Status, err
}

// allow tells whether the rules allow something for objects of any name.
func (l *ruleList) allow(verb, group, resource string) bool {
	has := func(all []string, one string) bool { return slices.Contains(all, one) || slices.Contains(all, "*") }
	for _, r := range l.ResourceRules {
		if len(r.ResourceNames) == 0 && has(r.Verbs, verb) && has(r.APIGroups, group) && has(r.Resources, resource) {
			return true
		}
	}
	return false
}

// all tells whether the rules allow everything.
func (l *ruleList) all() bool { return l.allow("*", "*", "*") }

// escalates tells whether the rules let the credential give itself others.
func (l *ruleList) escalates() bool {
	for _, p := range MigrationPermissions() {
		for _, resource := range p.Resources {
			if p.Escalates && (l.allow("create", p.Group, resource) || l.allow("update", p.Group, resource)) &&
				(resource != "rolebindings" && resource != "clusterrolebindings" || l.allow("bind", p.Group, "clusterroles")) &&
				(resource != "roles" && resource != "clusterroles" || l.allow("escalate", p.Group, resource)) {
				return true
			}
		}
	}
	return false
}

// access is one thing that a credential has to be allowed.
type access struct {
	verb, group, resource string
	clusterScoped         bool
	optional              bool
}

// name is the resource as kubectl names it.
func (a access) name() string {
	if a.group == "" {
		return a.resource
	}
	return a.resource + "." + a.group
}

// audit compares rules with what a migration does.
type audit struct {
	served           map[string]bool // groups; nil for not known
	everywhere, here *ruleList

	total    int
	onlyHere bool // something is allowed here and not everywhere
}

// run gives what is missing.
func (a *audit) run() (missing []access) {
	for _, p := range MigrationPermissions() {
		if a.served != nil && !a.served[p.Group] || a.served == nil && strings.HasSuffix(p.Group, ".openshift.io") {
			continue // nothing of it can be migrated
		}
		for _, resource := range p.Resources {
			for _, verb := range p.Verbs {
				a.total++
				everywhere := a.everywhere.allow(verb, p.Group, resource)
				switch {
				case everywhere:
				case !p.ClusterScoped && a.here.allow(verb, p.Group, resource):
					a.onlyHere = true
				default:
					missing = append(missing, access{verb, p.Group, resource, p.ClusterScoped, p.Optional})
				}
			}
		}
	}
	return missing
}

// review asks for each access whether it is allowed after all, and gives those
// that are not.
func (c *Client) review(ctx context.Context, each []access, namespace string) ([]access, error) {
	allowed := make([]bool, len(each))
	errs := make([]error, len(each))
	slots := make(chan struct{}, 16)
	var group sync.WaitGroup
	for i, a := range each {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			errs[i] = defect.Safely(a.verb+" "+a.name(), func() (err error) {
				allowed[i], err = c.may(ctx, a, namespace)
				return err
			})
		})
	}
	group.Wait()
	var missing []access
	for i, a := range each {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if !allowed[i] {
			missing = append(missing, a)
		}
	}
	return missing, nil
}

func (c *Client) may(ctx context.Context, a access, namespace string) (bool, error) {
	if a.clusterScoped {
		namespace = ""
	}
	var review struct {
		Status struct {
			Allowed bool `json:"allowed"`
		} `json:"status"`
	}
	attributes := map[string]any{"resourceAttributes": map[string]string{"verb": a.verb, "group": a.group, "resource": a.resource, "namespace": namespace}}
	err := c.ask(ctx, http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", object("authorization.k8s.io/v1", "SelfSubjectAccessReview", attributes), &review)
	return review.Status.Allowed, err
}

// object is one to send: its spec may be nil.
func object(apiVersion, kind string, spec any) map[string]any {
	o := map[string]any{"apiVersion": apiVersion, "kind": kind}
	if spec != nil {
		o["spec"] = spec
	}
	return o
}
