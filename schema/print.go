package schema

import (
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed *.cue
var sources embed.FS

// Sources are the CUE files of this package, by name.
func Sources() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		entries, err := sources.ReadDir(".")
		if err != nil {
			panic(err) // an embedded folder
		}
		for _, entry := range entries {
			data, err := sources.ReadFile(entry.Name())
			if err != nil {
				panic(err)
			}
			if !yield(entry.Name(), data) {
				return
			}
		}
	}
}

// CUE is the schema as one file of package schema, for cue vet.
func CUE() []byte {
	var head, rest strings.Builder
	for _, data := range Sources() {
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

// DefinitionNames are the [Definitions] without their #, which a shell would take for
// a comment.
func DefinitionNames() []string {
	names := make([]string, len(definitions))
	for i, def := range definitions {
		names[i] = strings.TrimPrefix(def, "#")
	}
	return names
}

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
	jsonChecks(s, n)
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

// jsonChecks adds the conditions on a string to s.
func jsonChecks(s object, n *node) {
	var all []object
	for _, c := range n.checks {
		if c.warning {
			continue
		}
		o := object{errorMessage: c.fail}
		switch {
		case c.match != nil:
			o["pattern"] = c.match.expr
		case c.differ != nil: // what is no string has every pattern
			o["not"] = object{"type": "string", "pattern": c.differ.expr}
		case c.maxRunes != 0:
			o["maxLength"] = c.maxRunes
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
// It describes what the cluster holds, so that it takes the status, and what
// else the server and Stork set. Structural schemas know neither patterns of
// names nor warnings, and leave the metadata to the server. An unknown field the
// server refuses if the client asks for strict validation, as kubectl does,
// and drops otherwise. What strings have to be is said in CEL: the server's
// errors about patterns quote the value, which could be a key, and end up in
// the status of Flux and Argo CD.
// https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
func CRD(def string) []byte {
	pair := mustPlan(def).variants[0]
	spec := pair.fields[pair.field("spec")].node
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
					"required": []string{"spec"},
					"properties": object{
						"spec":   crdNode(spec, longText),
						"status": object{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
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

// The server wants to know how long a rule in CEL can take, so that all that a
// rule is about has a limit. They are far above what a kubeconfig has.
const (
	longText   = 16 << 10
	listText   = 2 << 10 // in a list
	dataText   = 64 << 10
	listLength = 32
	mapLength  = 8
)

// crdNode is n as a structural schema; a string is not longer than maxLength.
func crdNode(n *node, maxLength int) object {
	s := object{}
	if n.kinds&aNull != 0 {
		s["nullable"] = true
	}
	if n.kinds&^aNull == 0 {
		s["x-kubernetes-preserve-unknown-fields"] = true // of any type
		s["not"] = object{}
		return s
	}
	s["type"] = jsonTypes(n.kinds &^ aNull)
	if n.kinds&aString != 0 {
		s["maxLength"] = maxLength
		if slices.ContainsFunc(n.checks, func(c check) bool { return c.match != nil && c.match.expr == base64Expr }) {
			s["maxLength"] = dataText
		}
	}
	var rules []object
	if n.items != nil {
		s["items"], s["maxItems"] = crdNode(n.items, listText), listLength
		rules = crdRules(n.items, "", "self.all(x, ", "x", ")")
	}
	if n.minItems > 0 {
		s["minItems"] = n.minItems
	}
	if rules = append(rules, crdMapping(s, n, maxLength)...); rules != nil {
		s["x-kubernetes-validations"] = rules
	}
	return s
}

// crdMapping gives s the fields of n, and returns the conditions on them.
func crdMapping(s object, n *node, maxLength int) (rules []object) {
	properties := object{}
	for i := range n.variants {
		for _, f := range n.variants[i].fields {
			if f.node.kinds == 0 && len(n.variants) > 1 || properties[f.name] != nil {
				continue // crdForms sees to it; what two forms have is the same
			}
			p := crdNode(f.node, maxLength)
			if f.doc != "" {
				p["description"] = f.doc
			}
			properties[f.name] = p
			rules = append(rules, crdRules(f.node, f.name, "!"+has(f.name)+" || ", celName(f.name), "")...)
		}
		for _, p := range n.variants[i].patterns {
			if p.node.kinds != 0 {
				s["additionalProperties"], s["maxProperties"] = crdNode(p.node, maxLength), mapLength
				rules = append(rules, crdRules(p.node, "", "self.all(x, ", "self[x]", ")")...)
			}
		}
	}
	if len(properties) > 0 {
		s["properties"] = properties
	}
	switch len(n.variants) {
	case 0:
	case 1:
		if required := requiredFields(&n.variants[0]); required != nil {
			s["required"] = required
		}
	default:
		rules = append(rules, crdForms(n.variants, properties)...)
	}
	return rules
}

// requiredFields are the names of the fields that v cannot do without.
func requiredFields(v *variant) (names []string) {
	for i := range v.fields {
		if v.fields[i].required {
			names = append(names, v.fields[i].name)
		}
	}
	return names
}

// crdRules are the conditions on a string as rules of what holds it: of a rule
// of its own the server would quote the value. self is the string there.
func crdRules(n *node, field, before, self, after string) []object {
	var rules []object
	for _, c := range n.checks {
		if c.warning {
			continue
		}
		var holds string
		switch {
		case c.match != nil:
			holds = fmt.Sprintf("%s.matches(%q)", self, c.match.expr)
		case c.differ != nil:
			holds = fmt.Sprintf("!%s.matches(%q)", self, c.differ.expr)
		case c.maxRunes != 0:
			holds = fmt.Sprintf("size(%s) <= %d", self, c.maxRunes)
		default:
			holds = fmt.Sprintf("%s in %s", self, strings.ReplaceAll(fmt.Sprintf("%q", c.oneOf), `" "`, `", "`))
		}
		rules = append(rules, crdRule(before+holds+after, field, c.fail))
	}
	return rules
}

// crdForms are the forms of a mapping as rules about which fields there are.
// The form that is meant is the first of which a field is there.
func crdForms(forms []variant, properties object) []object {
	var rules []object
	earlier := "false"
	for i := range forms {
		v := &forms[i]
		meant := "!(" + earlier + ")"
		if v.when != nil {
			some := "false"
			for _, name := range v.when {
				some += " || " + has(name)
			}
			meant += " && (" + some + ")"
			earlier += " || " + some
		}
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			j := v.field(name)
			switch {
			case j < 0:
				text := cmp.Or(v.key, "unknown field [unknown-field]")
				for _, p := range v.patterns {
					if p.accepts(name) {
						text = p.node.fail
					}
				}
				rules = append(rules, crdRule("!("+meant+") || !"+has(name), name, text))
			case v.fields[j].node.kinds == 0:
				rules = append(rules, crdRule("!("+meant+") || !"+has(name), name, v.fields[j].node.fail))
			case v.fields[j].required:
				rules = append(rules, crdRule("!("+meant+") || "+has(name), "", v.fields[j].missing))
			}
		}
	}
	return rules
}

// crdRule is a rule with the text of a finding, about a field if it has a name.
func crdRule(rule, field, text string) object {
	o := object{"rule": rule, "message": strings.ReplaceAll(text, "\nhint: ", "; ")}
	if field != "" {
		o["fieldPath"] = "['" + field + "']"
	}
	return o
}

func has(field string) string { return "has(" + celName(field) + ")" }

// celName is a field of self in CEL.
// https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
func celName(field string) string {
	if field == "namespace" { // a word of CEL
		return "self.__namespace__"
	}
	return "self." + strings.NewReplacer("__", "__underscores__", ".", "__dot__", "-", "__dash__", "/", "__slash__").Replace(field)
}
