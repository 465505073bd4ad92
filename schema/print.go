package schema

import (
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed *.cue
var sources embed.FS

// CUE is the schema as one file of package schema, for cue vet.
func CUE() []byte {
	entries, err := sources.ReadDir(".")
	if err != nil {
		panic(err) // an embedded folder
	}
	var head, rest strings.Builder
	for _, entry := range entries {
		data, err := sources.ReadFile(entry.Name())
		if err != nil {
			panic(err)
		}
		// What only the first file has is the comment of the package and the imports.
		before, after, _ := strings.Cut("\n"+string(data), "\npackage schema\n")
		if before != "" {
			head.WriteString(strings.TrimPrefix(before, "\n") + "\npackage schema\n" + after)
		} else {
			rest.WriteString(after)
		}
	}
	return []byte(head.String() + rest.String())
}

// Definitions are the names of those for whole documents, sorted.
func Definitions() []string { return slices.Clone(definitions) }

// schemaDraft is the newest that editors know as well as validators do.
const schemaDraft = "http://json-schema.org/draft-07/schema#"

// JSONSchema is the definition of a document for editors and kubeconform.
// Without a name it holds for the documents of all kinds, and accepts those of
// other kinds. A definition that does not exist panics, see [Definitions].
//
// It says what the definition says, but for warnings, which are hints of
// deprecation here, and for YAML itself: keys that stand twice, merge keys, and
// what YAML 1.1 reads as a bool.
func JSONSchema(def string) []byte {
	s := object{"$schema": schemaDraft}
	if def != "" {
		maps.Copy(s, jsonNode(mustPlan(def)))
	} else {
		is := func(kind string, sops object) object {
			o := object{"properties": object{"kind": object{"const": kind}}, "required": []string{"kind"}}
			return object{"allOf": []object{o, sops}}
		}
		encrypted := object{"required": []string{"sops"}}
		var all []object
		for _, def := range definitions {
			kind := strings.TrimPrefix(def, "#")
			when := is(kind, object{})
			switch {
			case strings.HasSuffix(def, "Mode"):
				continue // for a Stork version, which the file does not tell
			case def == "#ClusterPair":
				when = is("ClusterPair", object{"not": encrypted})
			case def == "#Encrypted":
				when = is("ClusterPair", encrypted)
			}
			all = append(all, object{"if": when, "then": jsonNode(plan(def))})
		}
		s["allOf"] = all
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // strings, numbers, lists and mappings
	}
	return append(text, '\n')
}

func mustPlan(def string) *node {
	p := plan(def)
	if p == nil {
		panic("schema: no definition " + def)
	}
	return p
}

// object is a JSON object.
type object = map[string]any

// jsonNode is n as a JSON schema.
func jsonNode(n *node) object {
	if n.kinds == ^kinds(0) {
		return object{}
	}
	s := object{}
	if text := cmp.Or(n.fail, n.wrongKind); text != "" {
		s[errorMessage] = text
	}
	if n.kinds == 0 {
		s["not"] = object{}
		return s
	}
	s["type"] = jsonTypes(n.kinds)
	addChecks(s, n, false)
	if n.max != 0 {
		s["minimum"], s["maximum"] = n.min, n.max
	}
	if n.items != nil {
		s["items"] = jsonNode(n.items)
	}
	if n.minItems > 0 {
		s["minItems"] = n.minItems
	}
	if len(n.variants) > 0 {
		maps.Copy(s, jsonVariants(n.variants))
	}
	return s
}

// errorMessage is where editors look for the text of an error.
const errorMessage = "errorMessage"

func jsonTypes(k kinds) any {
	var types []string
	for i, name := range []string{"null", "boolean", "integer", "number", "string", "array", "object"} {
		if k&(1<<i) != 0 {
			types = append(types, name)
		}
	}
	if len(types) == 1 {
		return types[0]
	}
	return types
}

// addChecks adds the conditions on a string to s. A structural schema has no
// types below not, and no texts.
func addChecks(s object, n *node, structural bool) {
	var all []object
	for _, c := range n.checks {
		o := object{}
		if !structural {
			o[errorMessage] = c.fail
		}
		switch {
		case c.match != nil:
			o["pattern"] = c.match.expr
		case c.differ != nil:
			// What is no string has every pattern.
			pattern := object{"pattern": c.differ.expr}
			switch {
			case !structural:
				pattern["type"] = "string"
				o["not"] = pattern
			case n.kinds&aNull != 0:
				o["anyOf"] = []object{{"not": pattern}, {"enum": []any{nil}}}
			default:
				o["not"] = pattern
			}
		case c.maxRunes != 0:
			o["maxLength"] = c.maxRunes
		case slices.Equal(c.oneOf, []string{""}):
			o["maxLength"] = 0
		default:
			values := []any{}
			for _, v := range c.oneOf {
				values = append(values, v)
			}
			if n.kinds&aNull != 0 {
				values = append(values, nil)
			}
			o["enum"] = values
		}
		all = append(all, o)
	}
	if len(all) == 1 {
		maps.Copy(s, all[0])
	} else if len(all) > 1 {
		s["allOf"] = all
	}
}

// jsonVariants is the choice that node.variant makes.
func jsonVariants(all []variant) object {
	if len(all) == 1 {
		return jsonVariant(&all[0])
	}
	return object{"if": hasOneOf(all[0].when), "then": jsonVariant(&all[0]), "else": jsonVariants(all[1:])}
}

// hasOneOf is an object with one of the fields.
func hasOneOf(names []string) object {
	var some []object
	for _, name := range names {
		some = append(some, object{"required": []string{name}})
	}
	return object{"anyOf": some}
}

func jsonVariant(v *variant) object {
	s, properties, patterns := object{}, object{}, object{}
	var required []string
	for _, f := range v.fields {
		p := jsonNode(f.node)
		if f.doc != "" {
			p["description"] = f.doc
		}
		if f.warning != "" {
			p["deprecationMessage"] = f.warning
		}
		properties[f.name] = p
		if f.required {
			required = append(required, f.name)
		}
	}
	if !v.open {
		s["additionalProperties"] = false
	}
	for _, p := range v.patterns {
		if len(p.checks) == 0 {
			s["additionalProperties"] = jsonNode(p.node)
			continue
		}
		match := ""
		for _, c := range p.checks {
			switch {
			case c.match != nil && match == "":
				match = c.match.expr
			case c.differ != nil && p.node.kinds == 0:
				// Another pattern refuses these keys.
			case c.differ != nil:
				patterns[c.differ.expr] = object{"not": object{}}
			default:
				panic(fmt.Sprintf("schema: a pattern that JSON Schema cannot express: %+v", p))
			}
		}
		patterns[match] = jsonNode(p.node)
	}
	if len(properties) > 0 {
		s["properties"] = properties
	}
	if len(patterns) > 0 {
		s["patternProperties"] = patterns
	}
	if required != nil {
		s["required"] = required
	}
	if v.some != nil {
		maps.Copy(s, hasOneOf(v.some))
	}
	return s
}

// CRD is the CustomResourceDefinition of ClusterPairs with a schema that the
// API server checks: def is #ClusterPair or one of its forms for a Stork
// version. Stork itself installs one that accepts everything.
//
// It describes what the cluster holds, so that it takes the status and what
// else the server and Stork set. Structural schemas know neither patterns of
// names nor warnings, and see only metadata.name: what hangs on these the
// server does not check. An unknown field it refuses if the client asks for
// strict validation, as kubectl does, and drops otherwise.
// https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
func CRD(def string) []byte {
	pair := mustPlan(def).variants[0]
	spec := pair.fields[pair.field("spec")].node
	metadata := pair.fields[pair.field("metadata")].node.variants[0]
	text, err := yaml.Marshal(object{
		"apiVersion": "apiextensions.k8s.io/v1",
		"kind":       "CustomResourceDefinition",
		"metadata":   object{"name": "clusterpairs.stork.libopenstorage.org"},
		"spec": object{
			"group": "stork.libopenstorage.org",
			"names": object{"kind": "ClusterPair", "listKind": "ClusterPairList", "plural": "clusterpairs", "singular": "clusterpair"},
			"scope": "Namespaced",
			"versions": []object{{
				"name": "v1alpha1", "served": true, "storage": true,
				"schema": object{"openAPIV3Schema": object{
					"type":     "object",
					"required": []string{"metadata", "spec"},
					"properties": object{
						"metadata": object{"type": "object", "properties": object{"name": crdNode(metadata.fields[metadata.field("name")].node)}},
						"spec":     crdNode(spec),
						"status":   object{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
					},
				}},
			}},
		},
	})
	if err != nil {
		panic(err) // strings, numbers, lists and mappings
	}
	return text
}

// crdNode is n as a structural schema.
func crdNode(n *node) object {
	s := object{}
	if n.kinds == 0 || n.kinds == aNull {
		s["x-kubernetes-preserve-unknown-fields"] = true // of any type
		s["not"] = object{}
		if n.kinds == aNull {
			s["nullable"] = true
		}
		return s
	}
	s["type"] = jsonTypes(n.kinds &^ aNull)
	if n.kinds&aNull != 0 {
		s["nullable"] = true
	}
	addChecks(s, n, true)
	if n.items != nil {
		s["items"] = crdNode(n.items)
	}
	if n.minItems > 0 {
		s["minItems"] = n.minItems
	}
	if len(n.variants) == 0 {
		return s
	}
	properties := object{}
	for _, v := range n.variants {
		for _, f := range v.fields {
			p := crdNode(f.node)
			if f.doc != "" {
				p["description"] = f.doc
			}
			if properties[f.name] == nil || f.node.kinds != 0 {
				properties[f.name] = p
			}
		}
		for _, p := range v.patterns {
			if p.node.kinds != 0 {
				s["additionalProperties"] = crdNode(p.node)
			}
		}
	}
	if len(properties) > 0 {
		s["properties"] = properties
	}
	if len(n.variants) == 1 {
		return addForm(s, &n.variants[0], properties)
	}
	// The form that is meant is the first of which a field is there.
	var forms, earlier []object
	for i := range n.variants {
		v := &n.variants[i]
		form := addForm(object{}, v, properties)
		if v.when != nil {
			form["anyOf"] = hasOneOf(v.when)["anyOf"]
		}
		conditions := []object{form}
		for _, e := range earlier {
			conditions = append(conditions, object{"not": e})
		}
		forms = append(forms, object{"allOf": conditions})
		if v.when != nil {
			earlier = append(earlier, hasOneOf(v.when))
		}
	}
	s["anyOf"] = forms
	return s
}

// addForm adds to s which of the properties v demands and which it refuses.
func addForm(s object, v *variant, properties object) object {
	var required []string
	for _, f := range v.fields {
		if f.required {
			required = append(required, f.name)
		}
	}
	if required != nil {
		s["required"] = required
	}
	var refused []object
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if j := v.field(name); j < 0 || v.fields[j].node.kinds == 0 {
			refused = append(refused, object{"required": []string{name}})
		}
	}
	if refused != nil {
		s["not"] = object{"anyOf": refused}
	}
	return s
}
