package schema

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/report"
)

// Schedule tells what of a MigrationSchedule, a SchedulePolicy or a NamespacedSchedulePolicy stops
// Stork: values of a wrong type, with one of which it reads no other object of the kind, and what
// ends its process. A value that another tool is going to fill in is not judged.
func Schedule(kind string, doc *yaml.Node, file string) []report.Finding {
	plan := schedulePolicyPlan
	if kind == "MigrationSchedule" {
		plan = migrationSchedulePlan
	}
	if filledIn(doc) {
		return nil
	}
	w := walk{file: file}
	w.value(nil, doc, plan(), nil)
	if kind == "SchedulePolicy" && w.findings == nil && textAt(doc, "metadata", "name") == defaultPolicy && kindOf(fieldAt(doc, "policy", "interval")) != aMapping {
		w.add(doc, nil, report.Error, noInterval)
	}
	return w.findings
}

func filledIn(n *yaml.Node) bool {
	if n.Kind == yaml.ScalarNode {
		return strings.Contains(n.Value, "${") || strings.Contains(n.Value, "{{")
	}
	for _, c := range n.Content {
		if filledIn(c) {
			return true
		}
	}
	return false
}

// fieldAt is the value below mappings; a null if there is none.
func fieldAt(n *yaml.Node, names ...string) *yaml.Node {
	if n.Kind == yaml.DocumentNode {
		n = n.Content[0]
	}
	for _, name := range names {
		below := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
		for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
			if n.Content[i].Value == name {
				below = n.Content[i+1]
			}
		}
		n = below
	}
	return n
}

func textAt(n *yaml.Node, names ...string) string { return fieldAt(n, names...).Value }

// defaultPolicy is the SchedulePolicy that Stork makes at its start. One that is there it reads,
// and follows policy.interval without a look: https://github.com/libopenstorage/stork/blob/9dc3204614b26c0091e0d4829c41dd3972b692f0/pkg/schedule/schedule.go#L426
const defaultPolicy = "default-migration-policy"

const noInterval = "policy: " + defaultPolicy + " without an interval ends Stork at each start [schedule-policy]\nhint: policy: {interval: {intervalMinutes: 30}}, or another name"

// What Stork's decoder takes, and what ends its process.
// https://github.com/libopenstorage/stork/blob/9dc3204614b26c0091e0d4829c41dd3972b692f0/pkg/apis/stork/v1alpha1/schedulepolicy.go
// https://github.com/libopenstorage/stork/blob/9dc3204614b26c0091e0d4829c41dd3972b692f0/pkg/apis/stork/v1alpha1/migrationschedule.go
var (
	schedulePolicyPlan = sync.OnceValue(func() *node {
		return shape("policies: no schedule runs any more", fields{
			"policy": fields{
				"interval": fields{"intervalMinutes": anInt, "retain": anInt, "options": options},
				"daily":    fields{"time": aString, "retain": anInt, "options": options, "forceFullSnapshotDay": aString},
				"weekly":   fields{"day": aString, "time": aString, "retain": anInt, "options": options},
				"monthly":  fields{"date": anInt, "time": aString, "retain": anInt, "options": options},
			},
		})
	})
	migrationSchedulePlan = sync.OnceValue(func() *node {
		return shape("MigrationSchedules", fields{
			"spec": fields{
				"schedulePolicyName": aString, "suspend": aBool, "autoSuspend": aBool,
				"template": fields{"spec": fields{
					"clusterPair": aString, "adminClusterPair": aString, "namespaces": aList, "namespaceSelectors": options, "includeResources": aBool,
					"includeVolumes": aBool, "startApplications": aBool, "purgeDeletedResources": aBool, "skipServiceUpdate": aBool,
					"includeNetworkPolicyWithCIDR": aBool, "selectors": options, "excludeSelectors": options, "preExecRule": aString, "postExecRule": aString,
					"includeOptionalResourceTypes": aList, "skipDeletedNamespaces": aBool, "transformSpecs": aList, "ignoreOwnerReferencesCheck": aBool,
					"excludeResourceTypes": aList,
				}},
			},
			"status": fields{"applicationActivated": aBool, "items": runs},
		})
	})
)

// fields are those of a mapping, by name: each of a kind, options, runs, or fields again. A list is
// one of strings. All may be null, and others beside them are no matter.
type fields map[string]any

const (
	options kinds = aMapping         // a mapping of strings
	runs    kinds = aMapping | aList // by kind of policy, a list of what ran, without null
)

// shape is a plan for fields. stopped is what stops for all where a value is of another type.
func shape(stopped string, all fields) *node {
	typed := func(k kinds, hint string) node {
		return node{kinds: k | aNull, wrongKind: "a value that is not " + k.String() + " stops Stork for all " + stopped + " [value-type]\nhint: " + hint}
	}
	text := typed(aString, "quote it")
	byName := func(n node) []variant { return []variant{{patterns: []pattern{{node: &n}}}} }
	v := variant{open: true}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		var n node
		switch k := all[name].(type) {
		case fields:
			n = typed(aMapping, "write a mapping")
			n.variants = shape(stopped, k).variants
		case kinds:
			switch k {
			case runs:
				const text = "null in a list of what ran ends Stork's process, and another type stops it for all MigrationSchedules [null-entry]\nhint: remove status"
				run := node{kinds: aMapping, wrongKind: text, variants: shape(stopped, fields{"name": aString, "status": aString, "creationTimestamp": aString, "finishTimestamp": aString}).variants}
				n = typed(aMapping, "remove status")
				n.variants = byName(node{kinds: aList | aNull, wrongKind: text, items: &run})
			case options:
				n = typed(aMapping, "write NAME: TEXT")
				n.variants = byName(text)
			case aList:
				n = typed(aList, "write a list of strings")
				n.items = &text
			case anInt:
				n = typed(anInt, "write it without quotes")
			case aBool:
				n = typed(aBool, "write true or false, without quotes")
			default:
				n = text
			}
		}
		v.fields = append(v.fields, field{name: name, node: &n})
	}
	return &node{kinds: aMapping, variants: []variant{v}}
}

// schedules adds the policies for what Stork runs by a schedule.
func schedules(b *bytes.Buffer) {
	for _, p := range []struct {
		name      string
		plan      *node
		resources []string
	}{
		{SchedulesPolicy, migrationSchedulePlan(), []string{"migrationschedules"}},
		{PoliciesPolicy, schedulePolicyPlan(), []string{"schedulepolicies", "namespacedschedulepolicies"}},
	} {
		a := &admission{resources: p.resources}
		a.root()
		root := place{name: "object"}
		for _, f := range p.plan.variants[0].fields {
			a.value(f.node, root, f.name)
		}
		if p.name == PoliciesPolicy {
			m := theValue
			a.add(root, itself, m+`.kind != "SchedulePolicy" || `+m+`.metadata.name != "`+defaultPolicy+`" || "policy" in `+m+` && type(`+m+`.policy) == map && "interval" in `+m+`.policy && `+m+`.policy.interval != null`, noInterval)
		}
		a.ciphertext()
		a.write(b, p.name, "Deny")
	}
}
