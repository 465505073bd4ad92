package importer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/leak"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/schema"
)

// AdoptedConfig is the file of the config that [Run.WriteConfig] writes.
const AdoptedConfig = "clusterpair.yaml"

// The keys of the Secret of an adopted pair.
const (
	keyKubeconfig   = "kubeconfig"
	keyStorageToken = "storage-token"
)

// adoptedPair is a pair of a config, with what a ClusterPair says but its credentials.
type adoptedPair struct {
	Name            string            `yaml:"name"`
	Namespace       string            `yaml:"namespace"`
	Destination     map[string]any    `yaml:"destination"`
	Mode            string            `yaml:"mode,omitempty"`
	Options         *map[string]any   `yaml:"options,omitempty"`
	ProjectMappings map[string]string `yaml:"projectMappings,omitempty"`
	Labels          map[string]string `yaml:"labels,omitempty"`
	Annotations     map[string]string `yaml:"annotations,omitempty"`
}

// Adopt takes the ClusterPairs of a text, as kubectl get -o yaml prints them, in clear or
// encrypted with SOPS: the kubeconfig of each, and its storage token, goes into an
// encrypted Secret, and the rest into the config that [Run.WriteConfig] writes. What the
// API server and Stork set is left out.
func (r *Run) Adopt(ctx context.Context, data []byte, file string) error {
	docs, err := seal.Open(ctx, r.safe, data, file)
	if err != nil {
		return err
	}
	before := len(r.adopted)
	for _, doc := range docs {
		manifest.EachItem(doc, func(item *yaml.Node) {
			if err == nil && manifest.Text(item, "kind") == generator.ClusterPairKind && strings.HasPrefix(manifest.Text(item, "apiVersion"), "stork.libopenstorage.org/") {
				err = r.adopt(ctx, item, file)
			}
		})
	}
	if err == nil && len(r.adopted) == before && !report.HasErrors(r.findings) {
		err = report.WithHint(fmt.Errorf("%s holds no ClusterPair", file), "give it those of a cluster, as this prints them: kubectl get clusterpairs -A -o yaml")
	}
	return err
}

// adopt takes one ClusterPair.
func (r *Run) adopt(ctx context.Context, item *yaml.Node, file string) error {
	item = tidy(item)
	if bad := schema.Validate("#ClusterPair", item, file, schema.Options{}); report.HasErrors(bad) {
		r.findings = append(r.findings, bad...)
		return nil
	}
	leaked := false
	for _, n := range []*yaml.Node{manifest.Field(item, "metadata"), manifest.Field(item, "spec", "platformOptions")} {
		leak.Document(n, nil, 1, func(leak.Leak) { leaked = true })
	}
	p := adoptedPair{Name: manifest.Text(item, "metadata", "name"), Namespace: manifest.Text(item, "metadata", "namespace")}
	if leaked {
		r.report(report.Finding{Rule: "plaintext-credential", Severity: report.Error, Position: manifest.Position(item, file),
			Message: "a label or annotation of ClusterPair " + p.Namespace + "/" + p.Name + " holds a credential, which would be in clear in the config", Hint: "remove it"})
		return nil
	}
	spec := manifest.Field(item, "spec")
	text, err := sopsfile.Marshal([]*yaml.Node{kubeconfig.OfPair(manifest.Field(spec, "config"))}, 2)
	if err != nil {
		return fmt.Errorf("%s: the config of ClusterPair %s/%s cannot be written as YAML", file, p.Namespace, p.Name)
	}
	s := &kubeconfig.Secret{Name: p.Name + "-kubeconfig", Namespace: p.Namespace, Type: "Opaque", Data: map[string]kubeconfig.Value{keyKubeconfig: {Bytes: text}}}
	secret := map[string]string{"name": s.Name, "namespace": s.Namespace, "key": keyKubeconfig}
	p.Destination = map[string]any{"secret": secret}
	p.Labels, p.Annotations = texts(item, "metadata", "labels"), texts(item, "metadata", "annotations")
	p.ProjectMappings = texts(spec, "platformOptions", "rancher", "projectMappings")
	options := make(map[string]any)
	for key, value := range texts(spec, "options") {
		switch key {
		case "mode":
			p.Mode = value
		case "token":
			s.Data[keyStorageToken] = kubeconfig.Value{Bytes: []byte(value)}
			options["tokenFrom"] = map[string]any{"secret": map[string]string{"name": s.Name, "namespace": s.Namespace, "key": keyStorageToken}}
		default:
			options[key] = value
		}
	}
	if len(options) > 0 {
		p.Options = &options
	}
	r.adopted = append(r.adopted, p)
	return r.take(ctx, s, report.Error)
}

// tidy is a ClusterPair without what the API server, Stork and the tools that apply
// objects have written into it.
func tidy(item *yaml.Node) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: item.Line, Column: item.Column}
	for i := 0; i+1 < len(item.Content); i += 2 {
		key, value := item.Content[i], item.Content[i+1]
		switch key.Value {
		case "status", "sops":
			continue
		case "metadata":
			value = only(value, "name", "namespace", "labels", "annotations")
			for i := 1; i < len(value.Content); i += 2 {
				if name := value.Content[i-1].Value; name == "labels" || name == "annotations" {
					value.Content[i] = without(value.Content[i], writtenByTool)
				}
			}
		}
		out.Content = append(out.Content, key, value)
	}
	return out
}

// writtenByTool tells of the key of a label or annotation that it is written anew by
// whatever applies or renders the pair.
func writtenByTool(key string) bool {
	domain, _, _ := strings.Cut(key, "/")
	switch {
	case leak.CopiedBy(key) != "", domain == "clusterpair.dev", domain == "meta.helm.sh", domain == "objectset.rio.cattle.io":
		return true
	}
	return slices.Contains([]string{"kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace", "argocd.argoproj.io/tracking-id", "argocd.argoproj.io/instance", "app.kubernetes.io/managed-by"}, key)
}

// only is a mapping with some of its keys, without those whose value is null.
func only(n *yaml.Node, keys ...string) *yaml.Node {
	return without(n, func(key string) bool { return !slices.Contains(keys, key) })
}

// without is a mapping without some keys.
func without(n *yaml.Node, drop func(key string) bool) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return n
	}
	out := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Line: n.Line, Column: n.Column}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !drop(n.Content[i].Value) {
			out.Content = append(out.Content, n.Content[i], n.Content[i+1])
		}
	}
	return out
}

// texts are the texts of a mapping.
func texts(n *yaml.Node, keys ...string) map[string]string {
	all := make(map[string]string)
	if n = manifest.Field(n, keys...); n != nil && n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if value := manifest.Text(n, n.Content[i].Value); value != "" {
				all[n.Content[i].Value] = value
			}
		}
	}
	return all
}

// WriteConfig adds a config that renders the adopted pairs again, for a Stork of that
// release, if one is given. A config that is there and says otherwise is left alone.
func (r *Run) WriteConfig(storkVersion string) error {
	name := "adopted"
	if base := filepath.Base(r.Dir()); len(validation.IsDNS1123Subdomain(base)) == 0 {
		name = base
	}
	spec := map[string]any{"pairs": r.adopted, "files": []string{filepath.ToSlash(filepath.Join(r.options.Output, "*", "*.yaml"))}}
	if storkVersion != "" {
		spec["storkVersion"] = storkVersion
	}
	var doc yaml.Node
	err := doc.Encode(map[string]any{"apiVersion": generator.APIVersion, "kind": generator.GeneratorKind,
		"metadata": map[string]any{"name": name, "annotations": map[string]string{"config.kubernetes.io/local-config": "true"}}, "spec": spec})
	if err != nil {
		return errors.New("the config of the adopted pairs cannot be written as YAML")
	}
	text, err := sopsfile.Marshal([]*yaml.Node{&doc}, 2)
	if err != nil {
		return err
	}
	taken, err := r.files.AddNew(map[string]string{AdoptedConfig: string(text)})
	if len(taken) > 0 {
		err = report.WithHint(errors.New(taken[0]), "adopt them into a directory of their own, with -f DIR")
	}
	return err
}

// Next is what there is to do after an adoption: render the pairs, and take away the file
// that they come from.
func Next(config, input string) string {
	next := "clusterpair generate"
	if config != "." {
		next += " -f " + report.Typed(config)
	}
	if input == "-" {
		return "render the pairs: " + next
	}
	return "render the pairs, and keep them in one file only: " + next + " && rm " + report.Typed(input)
}
