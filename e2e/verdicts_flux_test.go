package e2e

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// layout is how the pair lies in the repository. EXTRA, on a line of its own in a
// kustomization, is where a twist puts what it adds, and HERE the folder of that.
type layout struct{ name, path, archive string }

var layouts = []layout{
	{"plain", "./pairs", `
-- pairs/west.yaml --
PAIR
`},
	{"nested", "./pairs", `
-- pairs/fleet/east/west.yml --
PAIR
`},
	{"slash", "pairs/", `
-- pairs/west.yaml --
PAIR
`},
	{"kustomization", "./pairs", `
-- pairs/kustomization.yaml --
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
- west.yaml
EXTRA
-- pairs/west.yaml --
PAIR
`},
	{"folded", "./pairs", `
-- pairs/kustomization.yml --
Resources:
- ./west.yaml
EXTRA
-- pairs/west.yaml --
PAIR
`},
	{"overlay", "./overlays/east", `
-- base/kustomization.yaml --
resources: [west.yaml]
-- base/west.yaml --
PAIR
-- overlays/east/kustomization.yaml --
resources: [../../base]
EXTRA
`},
	{"base", "./overlays/east", `
-- base/kustomization.yaml --
resources: [west.yaml]
EXTRA
-- base/west.yaml --
PAIR
-- overlays/east/kustomization.yaml --
resources: [../../base]
namePrefix: dr-
`},
	{"prefixed", "./overlays/east", `
-- base/kustomization.yaml --
resources: [west.yaml]
namePrefix: dr-
labels: [{pairs: {stage: base}}]
-- base/west.yaml --
PAIR
-- overlays/east/kustomization.yaml --
resources: [../../base]
EXTRA
`},
	{"component", "./pairs", `
-- component/kustomization.yaml --
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
resources: [west.yaml]
EXTRA
-- component/west.yaml --
PAIR
-- pairs/kustomization.yaml --
components: [../component]
`},
	{"above", "./pairs", `
-- component/kustomization.yaml --
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
labels: [{pairs: {stage: above}}]
EXTRA
-- pairs/kustomization.yaml --
resources: [west.yaml]
components: [../component]
-- pairs/west.yaml --
PAIR
`},
	{"below", "./pairs", `
-- pairs/east/kustomization.yaml --
resources: [west.yaml]
EXTRA
-- pairs/east/west.yaml --
PAIR
`},
	{"bases", "./pairs", `
-- east/kustomization.yaml --
resources: [west.yaml]
-- east/west.yaml --
PAIR
-- pairs/Kustomization --
bases: [../east]
EXTRA
`},
	{"documents", "./pairs", `
-- pairs/all.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: other, namespace: NS}
---
PAIR
`},
	{"json", "./pairs", `
-- pairs/kustomization.yaml --
resources: [west.json]
EXTRA
-- pairs/west.json --
JSON
`},
	{"json-plain", "./pairs", `
-- pairs/other.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: other, namespace: NS}
-- pairs/west.json --
JSON
`},
	{"unlisted", "./pairs", `
-- pairs/kustomization.yaml --
resources: [other.yaml]
-- pairs/other.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: other, namespace: NS}
-- pairs/west.yaml --
PAIR
`},
	{"config", "./pairs", `
-- pairs/west.yaml --
PAIR
-- pairs/east/config.yaml --
apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairGenerator
metadata:
  name: east
  annotations:
    config.kubernetes.io/function: "exec: {path: clusterpair}"
spec: {namespace: pairs, files: [secrets], pairs: [{name: west, destination: {secret: {name: west}}}]}
`},
	{"config-listed", "./pairs", `
-- pairs/kustomization.yaml --
resources: [west.yaml, config.yaml]
EXTRA
-- pairs/west.yaml --
PAIR
-- pairs/config.yaml --
apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairGenerator
metadata:
  name: east
  annotations:
    config.kubernetes.io/function: "exec: {path: clusterpair}"
spec: {namespace: pairs, files: [secrets], pairs: [{name: west, destination: {secret: {name: west}}}]}
`},
	{"config-local", "./pairs", `
-- pairs/west.yaml --
PAIR
-- pairs/config.yaml --
apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairGenerator
metadata:
  name: east
  annotations:
    config.kubernetes.io/local-config: "true"
spec: {namespace: pairs, files: [secrets], pairs: [{name: west, destination: {secret: {name: west}}}]}
`},
	{"config-unlisted", "./pairs", `
-- pairs/kustomization.yaml --
resources: [west.yaml]
EXTRA
-- pairs/west.yaml --
PAIR
-- pairs/config.yaml --
apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairGenerator
metadata:
  name: east
  annotations:
    config.kubernetes.io/function: "exec: {path: clusterpair}"
spec: {namespace: pairs, files: [secrets], pairs: [{name: west, destination: {secret: {name: west}}}]}
`},
	{"fleet", ".", `
-- pairs/west.yaml --
PAIR
-- fleet.yaml --
apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairFleet
metadata: {name: dr}
spec: {}
`},
	{"fleet-built", "./pairs", `
-- pairs/kustomization.yaml --
resources: [west.yaml]
generators: [fleet.yaml]
EXTRA
-- pairs/west.yaml --
PAIR
-- pairs/fleet.yaml --
apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairFleet
metadata: {name: dr}
spec: {}
`},
	{"elsewhere", "./pairs", `
-- pairs/other.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: other, namespace: NS}
-- east/west.yaml --
PAIR
`},
	{"folder", "./pairs", `
-- pairs/kustomization.yaml --
resources: [../east]
-- east/west.yaml --
PAIR
`},
	{"hidden-by-kustomization", "./pairs", `
-- pairs/kustomization.yaml --
resources: [other.yaml]
-- pairs/other.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: other, namespace: NS}
-- pairs/east/west.yaml --
PAIR
`},
	{"link", "./pairs", `
-- east/west.yaml --
PAIR
-- pairs/other.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: other, namespace: NS}
-- pairs/west.yaml --
LINK ../east/west.yaml
`},
	{"text", "./pairs", `
-- pairs/west.txt --
PAIR
-- pairs/kustomization.yaml --
resources: [west.txt]
EXTRA
`},
	{"dots", "./pairs", `
-- pairs/kustomization.yaml --
resources: [../pairs/../east/../east/west.yaml]
EXTRA
-- east/west.yaml --
PAIR
`},
	{"deep", "./a", `
-- a/kustomization.yaml --
resources: [b, ../c]
EXTRA
-- a/b/kustomization.yaml --
components: [../../d]
-- d/kustomization.yaml --
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
namespace: NS
-- c/kustomization.yaml --
resources: [west.yaml]
-- c/west.yaml --
PAIR
`},
	{"root", "", `
-- west.yaml --
PAIR
`},
	{"namespace", "./pairs", `
-- pairs/kustomization.yaml --
resources: [west.yaml]
namespace: NS
EXTRA
-- pairs/west.yaml --
PAIR {namespace: elsewhere}
`},
}

// twist changes what becomes of the pair: metadata of its own, a part of a kustomization,
// or a part of the spec of the object that applies it.
type twist struct{ name, metadata, extra, spec, archive string }

const (
	off     = "kustomize.toolkit.fluxcd.io/decrypt: disabled"
	offText = "'{apiVersion: stork.libopenstorage.org/v1alpha1, kind: ClusterPair, metadata: {name: any, annotations: {kustomize.toolkit.fluxcd.io/decrypt: disabled}}}'"
	offPair = "'{apiVersion: stork.libopenstorage.org/v1alpha1, kind: ClusterPair, metadata: {name: west, namespace: NS, annotations: {kustomize.toolkit.fluxcd.io/decrypt: disabled}}}'"
	onText  = "'{apiVersion: stork.libopenstorage.org/v1alpha1, kind: ClusterPair, metadata: {name: any, annotations: {kustomize.toolkit.fluxcd.io/decrypt: null}}}'"
	offJSON = `'[{"op": "add", "path": "/metadata/annotations", "value": {"kustomize.toolkit.fluxcd.io/decrypt": "disabled"}}]'`
)

// fits tells whether a twist can be put into a layout.
func (tw twist) fits(l layout) bool {
	key, _, _ := strings.Cut(tw.extra, ":")
	return tw.extra == "" || strings.Contains(l.archive, "EXTRA\n") && !strings.Contains(l.archive, "\n"+key+":")
}

var fluxTwists = []twist{
	{name: "none"},
	{name: "switch", metadata: "annotations: {kustomize.toolkit.fluxcd.io/decrypt: disabled}"},
	{name: "switch-capitals", metadata: "annotations: {kustomize.toolkit.fluxcd.io/decrypt: DISABLED}"},
	{name: "switch-enabled", metadata: "annotations: {kustomize.toolkit.fluxcd.io/decrypt: enabled}"},
	{name: "switch-label", metadata: "labels: {kustomize.toolkit.fluxcd.io/decrypt: disabled}"},
	{name: "switch-key", metadata: "annotations: {Kustomize.toolkit.fluxcd.io/Decrypt: disabled}"},
	{name: "annotations", extra: "commonAnnotations: {" + off + "}"},
	{name: "annotations-folded", extra: "CommonAnnotations: {" + off + "}"},
	{name: "labels", extra: "commonLabels: {" + off + "}"},
	{name: "labels-pairs", extra: "labels: [{pairs: {kustomize.toolkit.fluxcd.io/ssa: Ignore}}]"},
	{name: "annotations-over", metadata: "annotations: {" + off + "}", extra: "commonAnnotations: {kustomize.toolkit.fluxcd.io/decrypt: enabled}"},
	{name: "patch-kind", extra: "patches: [{target: {kind: ClusterPair}, patch: " + offText + "}]"},
	{name: "patch-folded", extra: "Patches: [{Target: {Kind: ClusterPair}, Patch: " + offText + "}]"},
	{name: "patch-other-kind", extra: "patches: [{target: {kind: ClusterPairs}, patch: " + offText + "}]"},
	{name: "patch-name", extra: "patches: [{target: {name: west}, patch: " + offText + "}]"},
	{name: "patch-name-pattern", extra: "patches: [{target: {kind: Cluster.*, name: we.*}, patch: " + offText + "}]"},
	{name: "patch-new-name", extra: "patches: [{target: {name: dr-west}, patch: " + offText + "}]"},
	{name: "patch-other-name", extra: "patches: [{target: {kind: ClusterPair, name: we}, patch: " + offText + "}]"},
	{name: "patch-namespace", extra: "patches: [{target: {namespace: NS}, patch: " + offText + "}]"},
	{name: "patch-other-namespace", extra: "patches: [{target: {kind: ClusterPair, namespace: other}, patch: " + offText + "}]"},
	{name: "patch-group", extra: "patches: [{target: {group: stork.libopenstorage.org, version: v1alpha1}, patch: " + offText + "}]"},
	{name: "patch-label", metadata: "labels: {tier: dr}", extra: "patches: [{target: {labelSelector: tier=dr}, patch: " + offText + "}]"},
	{name: "patch-other-label", metadata: "labels: {tier: dr}", extra: "patches: [{target: {kind: ClusterPair, labelSelector: tier=web}, patch: " + offText + "}]"},
	{name: "patch-label-set", metadata: "labels: {tier: dr}", extra: "patches: [{target: {labelSelector: 'tier in (dr, web)'}, patch: " + offText + "}]"},
	{name: "patch-annotation", metadata: "annotations: {team: storage}", extra: "patches: [{target: {annotationSelector: team=storage}, patch: " + offText + "}]"},
	{name: "patch-itself", extra: "patches: [{patch: " + offPair + "}]"},
	{name: "patch-file", extra: "patches: [{path: off.yaml}]", archive: "-- HERE/off.yaml --\napiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata: {name: west, namespace: NS, annotations: {" + off + "}}\n"},
	{name: "patch-strategic", extra: "patchesStrategicMerge: [" + offPair + "]"},
	{name: "patch-json", extra: "patches: [{target: {kind: ClusterPair}, patch: " + offJSON + "}]"},
	{name: "patch-json-file", extra: "patches: [{target: {kind: ClusterPair}, path: off.json}]", archive: `-- HERE/off.json --
[{"op": "add", "path": "/metadata/annotations", "value": {"kustomize.toolkit.fluxcd.io/decrypt": "disabled"}}]
`},
	{name: "patch-json6902", extra: "patchesJson6902: [{target: {group: stork.libopenstorage.org, version: v1alpha1, kind: ClusterPair, name: west}, patch: " + offJSON + "}]"},
	{name: "patch-on", metadata: "annotations: {" + off + "}", extra: "patches: [{target: {kind: ClusterPair}, patch: " + onText + "}]"},
	{name: "patch-on-json", metadata: "annotations: {" + off + "}", extra: "patches: [{target: {kind: ClusterPair}, patch: '[{\"op\": \"remove\", \"path\": \"/metadata/annotations/kustomize.toolkit.fluxcd.io~1decrypt\"}]'}]"},
	{name: "patch-deletes", extra: "patches: [{target: {kind: ClusterPair}, patch: '{$patch: delete, apiVersion: stork.libopenstorage.org/v1alpha1, kind: ClusterPair, metadata: {name: any}}'}]"},
	{name: "patch-mac", extra: "patches: [{target: {kind: ClusterPair}, patch: '{apiVersion: stork.libopenstorage.org/v1alpha1, kind: ClusterPair, metadata: {name: any}, sops: null}'}]"},
	{name: "patch-clear", extra: "patches: [{target: {kind: ClusterPair}, patch: '[{\"op\": \"add\", \"path\": \"/spec/config/current-context\", \"value\": \"in-clear\"}]'}]"},
	{name: "component", extra: "components: [disabled]", archive: "-- HERE/disabled/kustomization.yaml --\napiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{target: {kind: ClusterPair}, patch: " + offText + "}]\n"},
	{name: "component-annotations", extra: "components: [disabled]", archive: "-- HERE/disabled/kustomization.yaml --\napiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {" + off + "}\n"},
	{name: "transformer-annotations", extra: "transformers: [off.yaml]", archive: "-- HERE/off.yaml --\napiVersion: builtin\nkind: AnnotationsTransformer\nmetadata: {name: disabled}\nannotations: {" + off + "}\nfieldSpecs: [{path: metadata/annotations, create: true}]\n"},
	{name: "transformer-patch", extra: "transformers: [off.yaml]", archive: "-- HERE/off.yaml --\napiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: disabled}\ntarget: {kind: ClusterPair}\npatch: |-\n  apiVersion: stork.libopenstorage.org/v1alpha1\n  kind: ClusterPair\n  metadata: {name: any, annotations: {" + off + "}}\n"},
	{name: "transformer-inline", extra: "transformers:\n- |-\n  apiVersion: builtin\n  kind: AnnotationsTransformer\n  metadata: {name: disabled}\n  annotations: {" + off + "}\n  fieldSpecs: [{path: metadata/annotations, create: true}]\n"},
	{name: "spec-patch", spec: "patches: [{target: {kind: ClusterPair}, patch: " + offText + "}]"},
	{name: "spec-patch-name", spec: "patches: [{target: {name: west}, patch: " + offText + "}]"},
	{name: "spec-patch-other", spec: "patches: [{target: {kind: ClusterPair, labelSelector: tier=web}, patch: " + offText + "}]"},
	{name: "spec-patch-on", metadata: "annotations: {" + off + "}", spec: "patches: [{target: {kind: ClusterPair}, patch: " + onText + "}]"},
	{name: "spec-patch-deletes", spec: "patches: [{patch: '{$patch: delete, apiVersion: stork.libopenstorage.org/v1alpha1, kind: ClusterPair, metadata: {name: west, namespace: NS}}'}]"},
	{name: "spec-metadata", spec: "commonMetadata: {annotations: {" + off + "}}"},
	{name: "spec-metadata-ssa", spec: "commonMetadata: {annotations: {kustomize.toolkit.fluxcd.io/ssa: Ignore}}"},
	{name: "spec-metadata-label", spec: "commonMetadata: {labels: {kustomize.toolkit.fluxcd.io/reconcile: disabled}}"},
	{name: "spec-components", spec: "components: [../off]", archive: "-- off/kustomization.yaml --\napiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{target: {kind: ClusterPair}, patch: " + offText + "}]\n"},
	{name: "spec-components-missing", spec: "components: [../off]\nignoreMissingComponents: true"},
	{name: "spec-ignore", spec: "ignore: [{target: {kind: ClusterPair}, paths: [/spec/config]}]"},
	{name: "spec-prefix", spec: "namePrefix: dr-\npatches: [{target: {name: west}, patch: " + offText + "}]"},
	{name: "spec-namespace", spec: "targetNamespace: NS"},
	{name: "spec-force", spec: "force: true"},
	{name: "ssa-merge", metadata: "annotations: {kustomize.toolkit.fluxcd.io/ssa: Merge}"},
	{name: "ssa-override", metadata: "annotations: {kustomize.toolkit.fluxcd.io/ssa: Override}"},
	{name: "ssa-ignore", metadata: "annotations: {kustomize.toolkit.fluxcd.io/ssa: Ignore}"},
	{name: "ssa-ignore-small", metadata: "annotations: {kustomize.toolkit.fluxcd.io/ssa: ignore}"},
	{name: "ssa-label", metadata: "labels: {kustomize.toolkit.fluxcd.io/ssa: Ignore}"},
	{name: "ssa-once", metadata: "annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}"},
	{name: "ssa-once-patch", extra: "patches: [{target: {kind: ClusterPair}, patch: '{apiVersion: stork.libopenstorage.org/v1alpha1, kind: ClusterPair, metadata: {name: any, labels: {kustomize.toolkit.fluxcd.io/ssa: ifnotpresent}}}'}]"},
	{name: "reconcile-disabled", metadata: "annotations: {kustomize.toolkit.fluxcd.io/reconcile: disabled}"},
	{name: "reconcile-capitals", metadata: "annotations: {kustomize.toolkit.fluxcd.io/reconcile: Disabled}"},
	{name: "prune-disabled", metadata: "annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}"},
	{name: "variable-ssa", metadata: "annotations: {kustomize.toolkit.fluxcd.io/ssa: '${MODE}'}", spec: "postBuild: {substitute: {MODE: Ignore}}"},
	{name: "variable-default", metadata: "annotations: {kustomize.toolkit.fluxcd.io/ssa: '${MODE:=Ignore}'}", spec: "postBuild: {substitute: {OTHER: x}}"},
	{name: "variable-none", metadata: "annotations: {kustomize.toolkit.fluxcd.io/ssa: '${MODE:=Ignore}'}"},
	{name: "variable-switch", metadata: "annotations: {kustomize.toolkit.fluxcd.io/decrypt: '${MODE}'}", spec: "postBuild: {substitute: {MODE: disabled}}"},
	{name: "variable-off", metadata: "annotations: {kustomize.toolkit.fluxcd.io/ssa: '${MODE}', kustomize.toolkit.fluxcd.io/substitute: disabled}", spec: "postBuild: {substitute: {MODE: Ignore}}"},
	{name: "replacement", extra: "replacements: [{source: {kind: ClusterPair, fieldPath: metadata.labels.mode}, targets: [{select: {kind: ClusterPair}, fieldPaths: ['metadata.annotations.[kustomize.toolkit.fluxcd.io/decrypt]'], options: {create: true}}]}]", metadata: "labels: {mode: disabled}"},
	{name: "left-out", archive: "-- .sourceignore --\nwest.*\n"},
	{name: "left-out-again", archive: "-- .sourceignore --\nwest.*\n!west.*\n"},
	{name: "left-out-other", archive: "-- .sourceignore --\n/docs/\n"},
}

// carrier is how the Kustomization gets into the cluster: KUSTOMIZATION is the object with
// its spec, indented as the word is. gives and takes are what a carrier does to its
// decryption.
type carrier struct{ name, archive string }

const parent = `
-- root.yaml --
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: root, namespace: NS}
spec:
  interval: 1h
  path: ./clusters/east
  prune: true
  sourceRef: {kind: GitRepository, name: fleet}
`

const child = `
-- clusters/east/pairs.yaml --
KUSTOMIZATION
`

const (
	anyOf    = "apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization, metadata: {name: any}, "
	giveText = "'{" + anyOf + "spec: {decryption: {provider: sops, secretRef: {name: sops-age}}}}'"
)

var carriers = []carrier{
	{"direct", "-- root.yaml --\nKUSTOMIZATION\n"},
	{"child", parent + child},
	{"child-listed", parent + child + "-- clusters/east/kustomization.yaml --\nresources: [pairs.yaml]\n"},
	{"child-unlisted", parent + child + "-- clusters/east/kustomization.yaml --\nresources: [other.yaml]\n-- clusters/east/other.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: other2, namespace: NS}\n"},
	{"gives-kind", parent + "  patches: [{target: {kind: Kustomization}, patch: " + giveText + "}]\n" + child},
	{"gives-group", parent + "  patches: [{target: {group: kustomize.toolkit.fluxcd.io}, patch: " + giveText + "}]\n" + child},
	{"gives-other-group", parent + "  patches: [{target: {group: kustomize.config.k8s.io, kind: Kustomization}, patch: " + giveText + "}]\n" + child},
	{"gives-name", parent + "  patches: [{target: {kind: Kustomization, name: pairs}, patch: " + giveText + "}]\n" + child},
	{"gives-other-name", parent + "  patches: [{target: {kind: Kustomization, name: pair}, patch: " + giveText + "}]\n" + child},
	{"gives-label", parent + "  patches: [{target: {kind: Kustomization, labelSelector: tier=dr}, patch: " + giveText + "}]\n" + child},
	{"gives-other-label", parent + "  patches: [{target: {kind: Kustomization, labelSelector: tier!=dr}, patch: " + giveText + "}]\n" + child},
	{"gives-json", parent + "  patches: [{target: {kind: Kustomization}, patch: '[{\"op\": \"add\", \"path\": \"/spec/decryption\", \"value\": {\"provider\": \"sops\", \"secretRef\": {\"name\": \"sops-age\"}}}]'}]\n" + child},
	{"gives-kustomization", parent + child + "-- clusters/east/kustomization.yaml --\nresources: [pairs.yaml]\npatches: [{target: {kind: Kustomization}, patch: " + giveText + "}]\n"},
	{"gives-component", parent + "  components: [../../give]\n" + child + "-- give/kustomization.yaml --\napiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{target: {kind: Kustomization}, patch: " + giveText + "}]\n"},
	{"takes", parent + "  patches: [{target: {kind: Kustomization}, patch: '{" + anyOf + "spec: {decryption: null}}'}]\n" + child},
	{"takes-json", parent + "  patches: [{target: {kind: Kustomization}, patch: '[{\"op\": \"remove\", \"path\": \"/spec/decryption\"}]'}]\n" + child},
	{"turns-off", parent + "  patches: [{target: {kind: Kustomization}, patch: \"{" + anyOf + "spec: {patches: [{target: {kind: ClusterPair}, patch: " + offText + "}]}}\"}]\n" + child},
	{"moves", parent + "  patches: [{target: {kind: Kustomization}, patch: '{" + anyOf + "spec: {path: ./nothing}}'}]\n" + child + "-- nothing/other.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: other3, namespace: NS}\n"},
	{"suspends", parent + "  patches: [{target: {kind: Kustomization}, patch: '{" + anyOf + "spec: {suspend: true}}'}]\n" + child},
	{"parent-metadata", parent + "  commonMetadata: {annotations: {" + off + "}}\n" + child},
	{"parent-metadata-reconcile", parent + "  commonMetadata: {annotations: {kustomize.toolkit.fluxcd.io/reconcile: disabled}}\n" + child},
	{"parent-decrypts", parent + "  decryption: {provider: sops, secretRef: {name: sops-age}}\n" + child},
	{"parent-suspended", parent + "  suspend: true\n" + child},
	{"parent-variable", parent + "  postBuild: {substitute: {provider: sops}}\n" + child},
	{"grandparent", parent + "-- clusters/east/apps.yaml --\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: NS}\nspec:\n  interval: 1h\n  path: ./apps\n  prune: true\n  sourceRef: {kind: GitRepository, name: fleet}\n  patches: [{target: {kind: Kustomization}, patch: " + giveText + "}]\n-- apps/pairs.yaml --\nKUSTOMIZATION\n"},
	{"grandparent-patches", strings.TrimSuffix(parent, "\n") + "\n  patches: [{target: {kind: Kustomization, name: apps}, patch: \"{" + anyOf + "spec: {patches: [{target: {kind: Kustomization}, patch: " + giveText + "}]}}\"}]\n-- clusters/east/apps.yaml --\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: NS}\nspec:\n  interval: 1h\n  path: ./apps\n  prune: true\n  sourceRef: {kind: GitRepository, name: fleet}\n-- apps/pairs.yaml --\nKUSTOMIZATION\n"},
}

// decryption is what the Kustomization says of decryption.
var decryptions = map[string]string{
	"sops":       "decryption: {provider: sops, secretRef: {name: sops-age}}",
	"none":       "",
	"provider":   "decryption: {provider: age, secretRef: {name: sops-age}}",
	"empty":      "decryption: {provider: ''}",
	"no-secret":  "decryption: {provider: sops}",
	"provider-$": "decryption: {provider: '${provider}', secretRef: {name: sops-age}}",
}

// origin is what the Kustomization takes its files from.
type origin struct {
	name, ref, archive string
	sources            map[string]string // those that there are, and the folder that each has
	path               string            // in place of that of the layout
}

var fleet = map[string]string{"GitRepository/fleet": "."}

var origins = []origin{
	{name: "git", ref: "{kind: GitRepository, name: fleet}", sources: fleet},
	{name: "git-namespace", ref: "{kind: GitRepository, name: fleet, namespace: NS}", sources: fleet},
	{name: "git-here", ref: "{kind: GitRepository, name: fleet}", sources: fleet, archive: `
-- source.yaml --
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: NS}
spec: {interval: 1h, url: https://git.example.com/fleet}
`},
	{name: "git-other", ref: "{kind: GitRepository, name: other}", sources: map[string]string{"GitRepository/fleet": ".", "GitRepository/other": ""}, archive: `
-- source.yaml --
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet, namespace: NS}
spec: {interval: 1h, url: https://git.example.com/fleet}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: other, namespace: NS}
spec: {interval: 1h, url: https://git.example.com/other}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: flux-system, namespace: flux-system}
spec: {interval: 1h, path: ./clusters, sourceRef: {kind: GitRepository, name: fleet, namespace: NS}, prune: true}
`},
	{name: "oci", ref: "{kind: OCIRepository, name: packed}", sources: map[string]string{"GitRepository/fleet": ".", "OCIRepository/packed": "."}},
	{name: "oci-folder", ref: "{kind: OCIRepository, name: packed}", sources: map[string]string{"GitRepository/fleet": ".", "OCIRepository/packed": "pairs"}, path: "./"},
	{name: "bucket", ref: "{kind: Bucket, name: packed}", sources: map[string]string{"GitRepository/fleet": ".", "Bucket/packed": "."}},
}

// fluxCombinations crosses the dimensions: each layout with each kind of decryption that
// matters, each twist, carrier and origin with several layouts.
func fluxCombinations(t *testing.T) (all []*combination) {
	byName := make(map[string]bool)
	add := func(l layout, tw twist, c carrier, o origin, decryption string) {
		if !tw.fits(l) || l.name == "root" && c.name != "direct" { // which would apply itself
			return
		}
		made, err := fluxCombination(l, tw, c, o, decryption)
		if err != nil {
			t.Fatal(err)
		}
		if !byName[made.name] {
			byName[made.name] = true
			all = append(all, made)
		}
	}
	none, direct, git := fluxTwists[0], carriers[0], origins[0]
	for _, l := range layouts {
		add(l, none, direct, git, "sops")
		add(l, none, direct, git, "none")
		add(l, none, carriers[1], git, "sops")
	}
	fitting := func(tw twist, n, from int) (some []layout) {
		for i := range layouts {
			l := layouts[(from*7+i)%len(layouts)]
			if len(some) < n && tw.fits(l) && !slices.Contains([]string{"unlisted", "elsewhere", "folder", "hidden-by-kustomization", "link", "json-plain"}, l.name) {
				some = append(some, l)
			}
		}
		return some
	}
	for i, tw := range fluxTwists[1:] {
		for k, l := range fitting(tw, 2, i) {
			add(l, tw, carriers[k%3], git, "sops")
		}
		if tw.name == "patch-new-name" {
			add(layouts[7], tw, direct, git, "sops")
		}
		if i%5 == 0 {
			add(fitting(tw, 1, i+3)[0], tw, direct, git, "none")
		}
	}
	for i, c := range carriers[1:] {
		for k, l := range fitting(none, 2, i) {
			decryption := "none"
			if !strings.HasPrefix(c.name, "gives") && !strings.HasPrefix(c.name, "grandparent") {
				decryption = "sops"
			}
			if c.name == "parent-variable" {
				decryption = "provider-$"
			}
			add(l, none, c, git, decryption)
			if k == 0 {
				add(l, fluxTwists[1+i%3], c, git, decryption)
			}
		}
	}
	for _, decryption := range slices.Sorted(maps.Keys(decryptions)) {
		if decryption != "provider-$" {
			add(layouts[0], none, direct, git, decryption)
			add(layouts[5], none, carriers[1], git, decryption)
		}
	}
	for _, o := range origins[1:] {
		add(layouts[0], none, direct, o, "sops")
		add(layouts[3], none, direct, o, "none")
	}
	return all
}

func fluxCombination(l layout, tw twist, c carrier, o origin, decryption string) (*combination, error) {
	made := &combination{
		name:    strings.Join([]string{l.name, tw.name, c.name, o.name, decryption}, "/"),
		parts:   []part{{"flux layout", l.name}, {"flux twist", tw.name}, {"flux carrier", c.name}, {"flux origin", o.name}, {"flux decryption", decryption}},
		files:   make(map[string]string),
		root:    "root.yaml",
		sources: o.sources,
	}
	where := l.path
	if o.path != "" {
		where = o.path
	}
	spec := map[string]any{}
	for _, text := range []string{"interval: 1h\nprune: true\nsourceRef: " + o.ref, tw.spec, decryptions[decryption]} {
		if err := yaml.Unmarshal([]byte(text), &spec); err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
	}
	if where != "" {
		spec["path"] = where
	}
	kustomization, err := yaml.Marshal(map[string]any{"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
		"metadata": map[string]any{"name": "pairs", "namespace": "NS", "labels": map[string]any{"tier": "dr"}}, "spec": spec})
	if err != nil {
		return nil, err
	}
	made.add(strings.TrimLeft(l.archive, "\n"))
	made.add(strings.TrimLeft(strings.ReplaceAll(c.archive, "KUSTOMIZATION\n", string(kustomization)), "\n"))
	made.add(strings.TrimLeft(o.archive, "\n"))
	made.twist(tw)
	return made, nil
}

// withTwist gives the pair of a file more metadata.
func withTwist(text, metadata string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		how, own, _ := strings.Cut(strings.TrimSpace(line), " ")
		if metadata == "" || how != "PAIR" && how != "JSON" && how != "LIST" {
			out.WriteString(line)
			continue
		}
		if own = strings.Trim(own, "{}"); own != "" {
			own += ", "
		}
		out.WriteString(how + " {" + own + metadata + "}\n")
	}
	return out.String()
}

const fluxAPI = "/apis/kustomize.toolkit.fluxcd.io/v1/"

// fluxTruths has the real kustomize-controller apply each repository.
func fluxTruths(t *testing.T, chosen []*combination, p pairs) map[string]form {
	c, err := startCluster("verdicts", "verdicts.test", built, tools)
	t.Cleanup(c.stop)
	if err != nil {
		t.Fatal(err)
	}
	f, err := startFlux(c, filepath.Join(t.TempDir(), "events"), "--concurrent=16", "--kube-api-qps=1000", "--kube-api-burst=2000", "--http-retry=0")
	if err != nil {
		t.Fatal(err)
	}
	return truths(t, &fluxWorld{t: t, flux: f, dir: t.TempDir(), revisions: make(map[string]string)}, c, chosen, p)
}

// fluxWorld is a cluster with Flux, in which each combination has a namespace.
type fluxWorld struct {
	t         *testing.T
	flux      *flux
	dir       string
	commits   int
	revisions map[string]string // that the sources have, by NAMESPACE/KIND/NAME
}

// enter makes the namespace of a combination, with the key.
func (w *fluxWorld) enter(c *combination) error {
	key, err := os.ReadFile("../fixtures/keys/demo.agekey")
	if err != nil {
		return err
	}
	if err := w.flux.cluster.request(http.MethodPost, "/api/v1/namespaces", "metadata: {name: "+c.ns+"}"); err != nil {
		return err
	}
	return w.flux.cluster.request(http.MethodPost, "/api/v1/namespaces/"+c.ns+"/secrets", "metadata: {name: sops-age}\ndata: {age.agekey: "+base64.StdEncoding.EncodeToString(key)+"}")
}

// commit hands out the files of each combination, with a pair.
func (w *fluxWorld) commit(chosen []*combination, pair map[string]any) error {
	w.commits++
	name := fmt.Sprint(w.commits)
	for _, c := range chosen {
		dir := filepath.Join(w.dir, c.ns, name)
		if err := c.write(dir, pair); err != nil {
			return err
		}
		for _, source := range slices.Sorted(maps.Keys(c.sources)) {
			folder := filepath.Join(dir, c.sources[source])
			if c.sources[source] == "" {
				folder = filepath.Join(dir, ".other")
				if err := os.MkdirAll(filepath.Join(folder, "pairs"), 0o700); err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(folder, "pairs", "other.yaml"), []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, namespace: "+c.ns+"}\ndata: {n: \""+name+"\"}\n"), 0o600); err != nil {
					return err
				}
			}
			kind, object, _ := strings.Cut(source, "/")
			revision, err := w.flux.publishAs(kind, c.ns, object, folder)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			w.revisions[c.ns+"/"+source] = revision
		}
	}
	return nil
}

// apply does what somebody does by hand, once. That the API server refuses it is a truth,
// too.
func (w *fluxWorld) apply(c *combination) error {
	text, err := c.filled(c.files[c.root], nil)
	if err != nil {
		return err
	}
	var object struct{ Metadata struct{ Name string } }
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		return err
	}
	err = w.flux.cluster.request(http.MethodPatch, fluxAPI+"namespaces/"+c.ns+"/kustomizations/"+object.Metadata.Name+"?force=true&fieldManager=kubectl", text)
	if err != nil && strings.Contains(err.Error(), "422") {
		w.t.Logf("%s: %v", c.name, err)
		return nil
	}
	return err
}

// refresh implements world: Flux looks at each new revision by itself.
func (w *fluxWorld) refresh() error { return nil }

// settle waits until Flux has done with all Kustomizations what it can.
func (w *fluxWorld) settle() error {
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(time.Second) {
		var list struct {
			Items []struct {
				Metadata struct {
					Namespace, Name string
					Generation      int64
				}
				Spec struct {
					Suspend   bool
					SourceRef struct{ Kind, Name string }
				}
				Status struct {
					LastAttemptedRevision string
					ObservedGeneration    int64
					Conditions            []struct {
						Type, Status, Reason, Message string
						ObservedGeneration            int64
					}
				}
			}
		}
		err := w.flux.cluster.get(fluxAPI+"kustomizations", &list)
		if err != nil && time.Now().Before(deadline) {
			continue // an API server that has much to do
		} else if err != nil {
			return err
		}
		var waiting []string
		for _, k := range list.Items {
			done := k.Spec.Suspend
			for _, c := range k.Status.Conditions {
				if c.Type != "Ready" || c.ObservedGeneration != k.Metadata.Generation || c.Status == "Unknown" {
					continue
				}
				revision := w.revisions[k.Metadata.Namespace+"/"+k.Spec.SourceRef.Kind+"/"+k.Spec.SourceRef.Name]
				done = done || k.Status.LastAttemptedRevision == revision || c.Status == "False"
			}
			if !done {
				waiting = append(waiting, k.Metadata.Namespace+"/"+k.Metadata.Name)
			}
		}
		if len(waiting) == 0 {
			if os.Getenv("KEEP") != "" {
				for _, k := range list.Items {
					for _, c := range k.Status.Conditions {
						if c.Type == "Ready" && c.Status == "False" {
							w.t.Logf("%s/%s: %s: %s", k.Metadata.Namespace, k.Metadata.Name, c.Reason, c.Message)
						}
					}
				}
			}
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("Flux is not done with %d Kustomizations: %v", len(waiting), waiting)
		}
	}
}
