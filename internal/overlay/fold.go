package overlay

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// fields are the keys of a kustomization, of all its levels.
var fields = fieldsByFold("apiVersion", "kind", "metadata", "name", "namespace", "annotations", "labels",
	"resources", "components", "bases", "crds", "generators", "transformers", "validators", "configurations",
	"namePrefix", "nameSuffix", "commonLabels", "commonAnnotations", "pairs", "includeSelectors", "includeTemplates", "fields",
	"patchesStrategicMerge", "patchesJson6902", "patches", "patch", "path", "target", "options", "allowNameChange", "allowKindChange",
	"group", "version", "annotationSelector", "labelSelector",
	"replacements", "source", "sourceValue", "fieldPath", "targets", "select", "reject", "fieldPaths", "delimiter", "index", "create",
	"configMapGenerator", "secretGenerator", "generatorOptions", "files", "literals", "env", "envs", "behavior", "type", "disableNameSuffixHash", "immutable",
	"images", "newName", "newTag", "digest", "replicas", "count", "vars", "objref", "fieldref",
	"helmCharts", "helmGlobals", "openapi", "buildMetadata", "sortOptions", "order")

func fieldsByFold(names ...string) map[string]string {
	byFold := make(map[string]string, len(names))
	for _, name := range names {
		byFold[strings.ToLower(name)] = name
	}
	return byFold
}

// Folded is a kustomization with its keys as they are written everywhere: kustomize reads
// them without regard to case, at each level. What people name themselves, below labels
// and annotations, stays. Of two spellings of one key the last one counts, in the order of
// their bytes, as in kustomize; twice are those that do not count.
// https://github.com/kubernetes-sigs/kustomize/blob/kustomize/v5.8.2/api/types/kustomization.go
func Folded(n *yaml.Node) (folded *yaml.Node, twice []*yaml.Node) {
	switch n.Kind {
	case yaml.SequenceNode:
		content, changed := make([]*yaml.Node, len(n.Content)), false
		for i, item := range n.Content {
			var more []*yaml.Node
			content[i], more = Folded(item)
			changed, twice = changed || content[i] != item, append(twice, more...)
		}
		if !changed {
			return n, twice
		}
		list := *n
		list.Content = content
		return &list, twice
	case yaml.MappingNode:
		return foldedMapping(n)
	}
	return n, nil
}

func foldedMapping(n *yaml.Node) (folded *yaml.Node, twice []*yaml.Node) {
	out := *n
	out.Content = nil
	changed := false
	at := make(map[string]int) // of a key in out
	spelled := make(map[string]*yaml.Node)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := key.Value
		if known, ok := fields[strings.ToLower(name)]; ok {
			name = known
		}
		switch name {
		case "commonLabels", "commonAnnotations", "pairs", "annotations", "labels":
			if value.Kind == yaml.SequenceNode { // labels: of entries
				var more []*yaml.Node
				value, more = Folded(value)
				twice = append(twice, more...)
			}
		default:
			var more []*yaml.Node
			value, more = Folded(value)
			twice = append(twice, more...)
		}
		renamed := key
		if name != key.Value {
			copied := *key
			copied.Value = name
			renamed = &copied
		}
		changed = changed || renamed != key || value != n.Content[i+1]
		if k, ok := at[name]; ok {
			changed = true
			if spelled[name].Value > key.Value {
				twice = append(twice, key)
				continue
			}
			twice = append(twice, spelled[name])
			out.Content[k], out.Content[k+1] = renamed, value
		} else {
			at[name] = len(out.Content)
			out.Content = append(out.Content, renamed, value)
		}
		spelled[name] = key
	}
	if !changed {
		return n, twice
	}
	return &out, twice
}
