package engine

import (
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/argoset"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/overlay"
	"clusterpair.dev/internal/pattern"
)

// resourceSet notes the objects that a ResourceSet of the Flux Operator makes: each of its
// resources once for each of its inputs. Inputs from elsewhere stay templates.
// https://fluxcd.control-plane.io/operator/resourceset/
func (n *Notes) resourceSet(d Document) {
	spec := manifest.Field(d.Node, "spec")
	resources := manifest.Items(spec, "resources")
	if text := manifest.Field(spec, "resourcesTemplate"); text != nil && text.Kind == yaml.ScalarNode {
		docs, err := manifest.Values([]byte(text.Value), d.Name)
		if err != nil { // control structures, as a rule
			n.objects = append(n.objects, object{d.stored(), Flux, "ResourceSet"})
		}
		for _, doc := range docs {
			overlay.Place(doc, text)
			resources = append(resources, doc)
		}
	}
	inputs := manifest.Items(spec, "inputs")
	for _, resource := range resources {
		if len(inputs) == 0 || !argoset.Templated(resource) {
			n.Add(Document{d.Path, d.Name, resource})
			continue
		}
		for _, input := range inputs {
			made := overlay.Copy(resource)
			fillInputs(made, input)
			n.Add(Document{d.Path, d.Name, made})
		}
	}
}

var inputReference = pattern.Later(`<<-?\s*inputs\.(\w+)\s*(?:\|\s*quote\s*)?-?>>`)

// fillInputs puts the values of an input into the templates of a resource, as far as they
// name nothing else.
func fillInputs(n, input *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		n.Value = inputReference().ReplaceAllStringFunc(n.Value, func(found string) string {
			if value := manifest.Field(input, inputReference().FindStringSubmatch(found)[1]); value != nil && value.Kind == yaml.ScalarNode {
				return value.Value
			}
			return found
		})
	}
	for _, child := range n.Content {
		fillInputs(child, input)
	}
}
