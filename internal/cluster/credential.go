package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// Account is the service account of a destination that Stork works as.
type Account struct{ Namespace, Name string }

func (a Account) String() string { return a.Namespace + "/" + a.Name }

// Object is an object of Kubernetes as JSON has it.
type Object = map[string]any

// Grants are what an account is allowed.
type Grants struct {
	// ClusterAdmin allows everything.
	ClusterAdmin bool
	// Roles are the Roles and ClusterRoles to make and to bind to the account.
	Roles []Object
}

// MigrationRole is the ClusterRole with what a migration needs. It leaves out
// what would let the account give itself more: the kinds behind those
// permissions are then not migrated.
func MigrationRole(a Account) Object {
	var rules []any
	for _, p := range MigrationPermissions() {
		if !p.Escalates {
			rules = append(rules, Object{"apiGroups": texts(p.Group), "resources": texts(p.Resources...), "verbs": texts(p.Verbs...)})
		}
	}
	return Object{
		"apiVersion": rbac, "kind": "ClusterRole",
		"metadata": Object{"name": roleName(a), "labels": managed()},
		"rules":    rules,
	}
}

// Manifests are the objects of an account with its grants, in the order in which
// to make them.
func Manifests(a Account, namespace bool, g Grants) []Object {
	var objects []Object
	if namespace {
		objects = append(objects, Object{"apiVersion": "v1", "kind": "Namespace", "metadata": Object{"name": a.Namespace}})
	}
	objects = append(objects, Object{
		"apiVersion": "v1", "kind": "ServiceAccount",
		"metadata":                     Object{"name": a.Name, "namespace": a.Namespace, "labels": managed()},
		"automountServiceAccountToken": false, // no pod works as it
	})
	if g.ClusterAdmin {
		objects = append(objects, binding(a, "ClusterRole", "cluster-admin", ""))
	}
	for _, role := range g.Roles {
		u := unstructured.Unstructured{Object: role}
		objects = append(objects, role, binding(a, u.GetKind(), u.GetName(), u.GetNamespace()))
	}
	return objects
}

const rbac = "rbac.authorization.k8s.io/v1"

// roleName tells accounts of one name in several namespaces apart: roles and
// their bindings are of the whole cluster.
func roleName(a Account) string { return "clusterpair:" + a.Namespace + ":" + a.Name }

// binding gives a role to an account: in a namespace, or everywhere.
func binding(a Account, kind, role, namespace string) Object {
	name := roleName(a)
	if role != name {
		name += ":" + role // the role of a binding cannot be changed
	}
	metadata := Object{"name": name, "labels": managed()}
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	return Object{
		"apiVersion": rbac, "kind": kind + "Binding", "metadata": metadata,
		"roleRef":  Object{"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
		"subjects": []any{Object{"kind": "ServiceAccount", "name": a.Name, "namespace": a.Namespace}},
	}
}

// manager is who we are to the API server.
const manager = "clusterpair"

const managedBy = "app.kubernetes.io/managed-by"

func managed() Object { return Object{managedBy: manager} }

func texts(items ...string) []any {
	all := make([]any, len(items))
	for i, item := range items {
		all[i] = item
	}
	return all
}

// resources are those of the kinds that a credential is made of.
var resources = map[string]schema.GroupVersionResource{
	"Namespace":          {Version: "v1", Resource: "namespaces"},
	"ServiceAccount":     {Version: "v1", Resource: "serviceaccounts"},
	"Secret":             {Version: "v1", Resource: "secrets"},
	"Role":               {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	"RoleBinding":        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	"ClusterRole":        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
	"ClusterRoleBinding": {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
}

// The outcomes of [Client.Apply].
const (
	Created    = "created"
	Configured = "configured"
	Unchanged  = "unchanged"
)

// Apply makes an object what it is to be, by server-side apply, and says what
// became of it. A dry run changes nothing.
func (c *Client) Apply(ctx context.Context, o Object, dryRun bool) (outcome string, err error) {
	u := &unstructured.Unstructured{Object: o}
	client := c.dynamic.Resource(resources[u.GetKind()]).Namespace(u.GetNamespace())
	var before, after *unstructured.Unstructured
	err = c.try(ctx, func() (err error) {
		before, err = client.Get(ctx, u.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			before, err = nil, nil
		}
		return err
	})
	if err != nil {
		return "", err
	}
	options := metav1.ApplyOptions{FieldManager: manager}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	err = c.try(ctx, func() (err error) {
		after, err = client.Apply(ctx, u.GetName(), u, options)
		return err
	})
	switch {
	case apierrors.IsConflict(err):
		return "", &Error{err: err, message: err.Error(), Hint: "somebody else has set this differently: take it from them, or give this account another --name"}
	case err != nil:
		return "", err
	case before == nil:
		return Created, nil
	}
	for _, o := range []*unstructured.Unstructured{before, after} {
		o.SetManagedFields(nil)
		o.SetResourceVersion("")
	}
	if reflect.DeepEqual(before.Object, after.Object) {
		return Unchanged, nil
	}
	return Configured, nil
}

// Bindings are those that an account has from [Manifests], now or in the past.
func (c *Client) Bindings(ctx context.Context, a Account) ([]Object, error) {
	var bindings []Object
	for _, kind := range []string{"ClusterRoleBinding", "RoleBinding"} {
		_, err := c.list(ctx, resources[kind], "", managedBy+"="+manager, func(item []byte) error {
			var b struct {
				Metadata struct {
					Name, Namespace string
				}
				RoleRef  Object
				Subjects []struct{ Kind, Name, Namespace string }
			}
			if json.Unmarshal(item, &b) != nil {
				return fmt.Errorf("%s answers with a %s that is none", c.Server(), kind)
			}
			for _, s := range b.Subjects {
				if s.Kind == "ServiceAccount" && s.Name == a.Name && s.Namespace == a.Namespace {
					metadata := Object{"name": b.Metadata.Name}
					if b.Metadata.Namespace != "" {
						metadata["namespace"] = b.Metadata.Namespace
					}
					bindings = append(bindings, Object{"apiVersion": rbac, "kind": kind, "metadata": metadata, "roleRef": b.RoleRef})
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return bindings, nil
}

// Delete deletes an object that [Manifests] or [Client.Mint] has made, and tells
// whether it was there. It refuses any other.
func (c *Client) Delete(ctx context.Context, kind, namespace, name string) (found bool, err error) {
	client := c.dynamic.Resource(resources[kind]).Namespace(namespace)
	err = c.try(ctx, func() error {
		o, err := client.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		found = true
		if o.GetLabels()[managedBy] != manager {
			return &Error{message: fmt.Sprintf("%s %s was not made by clusterpair", kind, name), Hint: "look at it, and delete it with kubectl if it is what you mean"}
		}
		uid := o.GetUID()
		return client.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	})
	if apierrors.IsNotFound(err) {
		return found, nil
	}
	return found, err
}

// Token is a credential of an account.
type Token struct {
	// Value is secret.
	Value string
	// Expires is when it ends; zero is never.
	Expires time.Time
	// Secret is the name of the Secret, next to the account, with which the
	// token lives: deleting it revokes the token.
	Secret string
}

// annotationServiceAccount names the account whose token lives with a Secret.
const annotationServiceAccount = "clusterpair.dev/service-account"

// NewSecretName is a name for the Secret of a new token.
func NewSecretName(a Account) string {
	const longest = 253
	return fmt.Sprintf("%.*s-%s", longest-9, a.Name, strings.ToLower(rand.Text()[:8]))
}

// annotationMaker is on the Secret of a token: for which file, on which machine, it was
// made. What a killed run has left is known by it.
const annotationMaker = "clusterpair.dev/made-for"

// Mint makes a token for an account, and the Secret with which it lives. It lasts
// as long as the server grants; a lifetime of zero is for ever. maker is kept with the
// Secret, if it is not empty: see [TokenSecret]. On an error there
// is neither token nor Secret, or the error names the Secret.
func (c *Client) Mint(ctx context.Context, a Account, secret, maker string, lifetime time.Duration) (t *Token, err error) {
	metadata := Object{"name": secret, "namespace": a.Namespace, "labels": managed(), "annotations": Object{annotationServiceAccount: a.Name}}
	if maker != "" {
		metadata["annotations"].(Object)[annotationMaker] = maker
	}
	o := Object{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque"}
	if lifetime == 0 {
		o["type"] = "kubernetes.io/service-account-token"
		metadata["annotations"].(Object)["kubernetes.io/service-account.name"] = a.Name
	}
	var made *unstructured.Unstructured
	defer func() {
		if err == nil {
			return
		}
		if apierrors.IsNotFound(err) { // or the controller has removed the Secret
			err = &Error{err: err, message: fmt.Sprintf("there is no ServiceAccount %s on %s", a, c.Server()),
				Hint: "make it: clusterpair credential create --namespace " + a.Namespace + " --name " + a.Name}
		}
		if left := c.Unmint(ctx, a, secret); left != nil {
			err = left // matters more, even to who has interrupted
		}
	}()
	err = c.try(ctx, func() (err error) {
		made, err = c.dynamic.Resource(resources["Secret"]).Namespace(a.Namespace).Apply(ctx, secret,
			&unstructured.Unstructured{Object: o}, metav1.ApplyOptions{FieldManager: manager})
		return err
	})
	if err != nil {
		return nil, err
	}
	if lifetime == 0 {
		t, err = c.awaitToken(ctx, a, made)
	} else {
		t, err = c.requestToken(ctx, a, made, lifetime)
	}
	if err != nil {
		return nil, err
	}
	t.Secret = secret
	return t, nil
}

// Unmint takes back a token that nobody has got, also after ctx has ended.
func (c *Client) Unmint(ctx context.Context, a Account, secret string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if _, err := c.Delete(ctx, "Secret", a.Namespace, secret); err != nil {
		return &Error{err: err, message: fmt.Sprintf("a token that nobody has is left on %s: %v", c.Server(), err),
			Hint: fmt.Sprintf("kubectl --namespace %s delete secret %s", a.Namespace, secret)}
	}
	return nil
}

// requestToken asks for a token that is bound to a Secret. The API server looks
// for the Secret whenever the token is used.
// https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
func (c *Client) requestToken(ctx context.Context, a Account, secret *unstructured.Unstructured, lifetime time.Duration) (*Token, error) {
	request := &unstructured.Unstructured{Object: Object{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": Object{"name": a.Name, "namespace": a.Namespace},
		"spec": Object{
			"expirationSeconds": int64(lifetime.Seconds()),
			"boundObjectRef":    Object{"apiVersion": "v1", "kind": "Secret", "name": secret.GetName(), "uid": string(secret.GetUID())},
		},
	}}
	var answer *unstructured.Unstructured
	err := c.try(ctx, func() (err error) {
		answer, err = c.dynamic.Resource(resources["ServiceAccount"]).Namespace(a.Namespace).Create(ctx, request, metav1.CreateOptions{}, "token")
		return err
	})
	if err != nil {
		return nil, err
	}
	value, _, _ := unstructured.NestedString(answer.Object, "status", "token")
	until, _, _ := unstructured.NestedString(answer.Object, "status", "expirationTimestamp")
	expires, err := time.Parse(time.RFC3339, until)
	if value == "" || err != nil {
		return nil, &Error{message: c.Server() + " answers a request for a token without one"}
	}
	c.keep(value)
	return &Token{Value: value, Expires: expires}, nil
}

// awaitToken waits until the controller has put a token into a Secret of type
// kubernetes.io/service-account-token.
func (c *Client) awaitToken(ctx context.Context, a Account, secret *unstructured.Unstructured) (*Token, error) {
	const patience = 30 * time.Second
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	one := metav1.SingleObject(metav1.ObjectMeta{Name: secret.GetName()})
	for {
		if t := c.tokenOf(secret); t != nil {
			return t, nil
		}
		one.ResourceVersion = secret.GetResourceVersion()
		w, err := c.watches.Resource(resources["Secret"]).Namespace(a.Namespace).Watch(waiting, one)
		if err == nil {
			for event := range w.ResultChan() {
				o, ok := event.Object.(*unstructured.Unstructured)
				if !ok || event.Type == watch.Deleted || event.Type == watch.Error {
					break
				}
				if t := c.tokenOf(o); t != nil {
					w.Stop()
					return t, nil
				}
			}
			w.Stop()
		}
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case waiting.Err() != nil:
			return nil, &Error{message: fmt.Sprintf("nobody has put a token into Secret %s within %s", secret.GetName(), patience),
				Hint: "the controller manager of the destination makes no such tokens: leave out --legacy-secret"}
		case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
			return nil, c.wrap(err)
		}
		select { // the watch has ended, as all do
		case <-waiting.Done():
		case <-time.After(200 * time.Millisecond):
		}
		err = c.try(ctx, func() (err error) {
			secret, err = c.dynamic.Resource(resources["Secret"]).Namespace(a.Namespace).Get(ctx, secret.GetName(), metav1.GetOptions{})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
}

func (c *Client) tokenOf(secret *unstructured.Unstructured) *Token {
	data, _, _ := unstructured.NestedString(secret.Object, "data", "token")
	value, err := base64.StdEncoding.DecodeString(data)
	if err != nil || len(value) == 0 {
		return nil
	}
	c.keep(string(value))
	return &Token{Value: string(value)}
}

// TokenSecret is a Secret with which a token lives.
type TokenSecret struct {
	Name    string
	Created time.Time
	// Maker tells for which file, on which machine, the token was made; empty if nobody
	// has said.
	Maker string
}

// Tokens are the Secrets of the tokens that [Client.Mint] has made for an account
// and that are still there, oldest first.
func (c *Client) Tokens(ctx context.Context, a Account) ([]TokenSecret, error) {
	var tokens []TokenSecret
	_, err := c.list(ctx, resources["Secret"], a.Namespace, managedBy+"="+manager, func(item []byte) error {
		var secret struct {
			Metadata metav1.ObjectMeta `json:"metadata"` // alone: the data is nobody's business
		}
		if json.Unmarshal(item, &secret) != nil {
			return fmt.Errorf("%s answers with a Secret that is none", c.Server())
		}
		if m := &secret.Metadata; m.Annotations[annotationServiceAccount] == a.Name {
			tokens = append(tokens, TokenSecret{m.Name, m.CreationTimestamp.Time, m.Annotations[annotationMaker]})
		}
		return nil
	})
	slices.SortFunc(tokens, func(a, b TokenSecret) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name))
	})
	return tokens, err
}

// Endpoint is how to reach a cluster and know it.
type Endpoint struct {
	Server, TLSServerName string
	// CA is empty for a certificate that everybody trusts.
	CA []byte
}

// Endpoint is the one that c uses.
func (c *Client) Endpoint() (Endpoint, error) {
	config := rest.CopyConfig(c.config)
	if err := rest.LoadTLSFiles(config); err != nil {
		return Endpoint{}, &Error{err: err, message: "the CA that the kubeconfig names cannot be read"}
	}
	return Endpoint{Server: config.Host, TLSServerName: config.ServerName, CA: config.CAData}, nil
}
