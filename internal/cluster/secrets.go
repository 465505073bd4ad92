package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"clusterpair.dev/internal/kubeconfig"
)

var secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

// Secrets visits the Secrets of a namespace, or of all if it is empty, whose
// labels match a selector.
func (c *Client) Secrets(ctx context.Context, namespace, selector string, visit func(*kubeconfig.Secret) error) error {
	_, err := c.list(ctx, secrets, namespace, selector, func(item []byte) error {
		s, err := c.decodeSecret(item)
		if err != nil {
			return err
		}
		return visit(s)
	})
	return err
}

// Secret is one Secret, nil if there is none. It asks for that alone, as a role
// may be for its name.
func (c *Client) Secret(ctx context.Context, namespace, name string) (*kubeconfig.Secret, error) {
	var body []byte
	err := c.try(ctx, func() (err error) {
		body, err = answer(c.rest.Get().AbsPath(resourcePath(secrets, namespace), name).Do(ctx))
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return c.decodeSecret(body)
}

// decodeSecret takes of a Secret what makes it what it is, and nothing that the
// server has added. Errors of the decoder quote what they cannot read.
func (c *Client) decodeSecret(item []byte) (*kubeconfig.Secret, error) {
	var object struct {
		Metadata struct {
			Namespace   string            `json:"namespace"`
			Name        string            `json:"name"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
		Type string            `json:"type"`
		Data map[string][]byte `json:"data"`
	}
	err := json.Unmarshal(item, &object)
	m := &object.Metadata
	// The names become names of files.
	if err != nil || len(validation.IsDNS1123Label(m.Namespace)) > 0 || len(validation.IsDNS1123Subdomain(m.Name)) > 0 {
		return nil, fmt.Errorf("%s answers with something that is no Secret", c.Server())
	}
	s := &kubeconfig.Secret{
		Namespace: m.Namespace, Name: m.Name, Type: object.Type,
		Labels: m.Labels, Annotations: m.Annotations,
		Data: make(map[string]kubeconfig.Value, len(object.Data)),
	}
	for key, value := range object.Data {
		s.Data[key] = kubeconfig.Value{Bytes: value}
	}
	return s, nil
}
