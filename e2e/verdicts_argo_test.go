package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

const otherMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, namespace: NS}\ndata: {at: COMMIT}\n"

// argoLayouts are how the pair lies in the repository, beside another object.
var argoLayouts = []layout{
	{"directory", "pairs", "-- pairs/west.yaml --\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"dot", "./pairs/", "-- pairs/west.yml --\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"json", "pairs", "-- pairs/west.json --\nJSON\n-- pairs/other.yaml --\n" + otherMap},
	{"documents", "pairs", "-- pairs/all.yaml --\n" + otherMap + "---\nPAIR\n"},
	{"nested", "pairs", "-- pairs/east/west.yaml --\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"elsewhere", "pairs", "-- east/west.yaml --\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"root", ".", "-- west.yaml --\nPAIR\n-- other.yaml --\n" + otherMap},
	{"kustomization", "pairs", "-- pairs/kustomization.yaml --\nresources: [west.yaml, other.yaml]\nEXTRA\n-- pairs/west.yaml --\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"folded", "pairs", "-- pairs/kustomization.yml --\nResources: [west.yaml, other.yaml]\nEXTRA\n-- pairs/west.yaml --\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"unlisted", "pairs", "-- pairs/kustomization.yaml --\nresources: [other.yaml]\nEXTRA\n-- pairs/west.yaml --\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"overlay", "overlays/east", "-- base/kustomization.yaml --\nresources: [west.yaml, other.yaml]\n-- base/west.yaml --\nPAIR\n-- base/other.yaml --\n" + otherMap + "-- overlays/east/kustomization.yaml --\nresources: [../../base]\nEXTRA\n"},
	{"component", "pairs", "-- component/kustomization.yaml --\napiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [west.yaml]\nEXTRA\n-- component/west.yaml --\nPAIR\n-- pairs/kustomization.yaml --\nresources: [other.yaml]\ncomponents: [../component]\n-- pairs/other.yaml --\n" + otherMap},
	{"below", "pairs", "-- pairs/east/kustomization.yaml --\nresources: [west.yaml]\nEXTRA\n-- pairs/east/west.yaml --\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"decryptor", "pairs", "-- pairs/kustomization.yaml --\nresources: [other.yaml]\ngenerators: [decrypt.yaml]\nEXTRA\n-- pairs/decrypt.yaml --\napiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairDecryptor\nmetadata:\n  name: pairs\n  annotations:\n    config.kubernetes.io/function: |\n      exec: {path: clusterpair}\nspec:\n  files: [west.yaml]\n-- pairs/west.yaml --\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"alone", "pairs", "-- pairs/west.yaml --\nPAIR\n"},
	{"typed", "pairs", "-- pairs/kustomization.yaml --\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nmetadata: {name: pairs}\nresources: [west.yaml, other.yaml]\nEXTRA\n-- pairs/west.yaml --\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"outside", "pairs", "-- argocd/argocd-cm.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm, namespace: argocd}\ndata: {kustomize.buildOptions: --enable-alpha-plugins --enable-exec}\n-- pairs/kustomization.yaml --\nresources: [../east/west.yaml, other.yaml]\nEXTRA\n-- east/west.yaml --\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"outside-base", "overlays/east", "-- argocd/argocd-cm.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm, namespace: argocd}\ndata: {kustomize.buildOptions: --enable-alpha-plugins --enable-exec}\n-- base/kustomization.yaml --\nresources: [../shared/west.yaml]\n-- shared/west.yaml --\nPAIR\n-- overlays/east/kustomization.yaml --\nresources: [../../base, other.yaml]\n-- overlays/east/other.yaml --\n" + otherMap},
	{"outside-other", "pairs", "-- pairs/kustomization.yaml --\nresources: [west.yaml, ../east/other.yaml]\nEXTRA\n-- pairs/west.yaml --\nPAIR\n-- east/other.yaml --\n" + otherMap},
	{"marked", "pairs", "-- pairs/west.yaml --\n# +argocd:skip-file-rendering\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"marked-kustomization", "pairs", "-- pairs/kustomization.yaml --\n# +argocd:skip-file-rendering\nresources: [west.yaml, other.yaml]\n-- pairs/west.yaml --\n# +argocd:skip-file-rendering\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"marked-other", "pairs", "-- pairs/west.yaml --\nPAIR\n-- pairs/other.yaml --\n# +argocd:skip-file-rendering\n" + otherMap},
	{"link", "pairs", "-- east/west.yaml --\nPAIR\n-- pairs/west.yaml --\nLINK ../east/west.yaml\n-- pairs/other.yaml --\n" + otherMap},
	{"link-listed", "pairs", "-- east/west.yaml --\nPAIR\n-- pairs/kustomization.yaml --\nresources: [west.yaml, other.yaml]\n-- pairs/west.yaml --\nLINK ../east/west.yaml\n-- pairs/other.yaml --\n" + otherMap},
	{"link-below", "pairs", "-- pairs/east/west.yaml --\nPAIR\n-- pairs/kustomization.yaml --\nresources: [west.yaml, other.yaml]\n-- pairs/west.yaml --\nLINK east/west.yaml\n-- pairs/other.yaml --\n" + otherMap},
	{"link-folder", "pairs", "-- east/west.yaml --\nPAIR\n-- pairs --\nLINK east\n-- east/other.yaml --\n" + otherMap},
	{"link-folder-kustomization", "pairs", "-- east/west.yaml --\nPAIR\n-- east/kustomization.yaml --\nresources: [west.yaml, other.yaml]\nEXTRA\n-- pairs --\nLINK east\n-- east/other.yaml --\n" + otherMap},
	{"link-base", "pairs", "-- east/west.yaml --\nPAIR\n-- east/kustomization.yaml --\nresources: [west.yaml, other.yaml]\n-- pairs/kustomization.yaml --\nresources: [base]\n-- pairs/base --\nLINK ../east\n-- east/other.yaml --\n" + otherMap},
	{"link-leaves", "pairs", "-- pairs/west.yaml --\nPAIR\n-- docs/outside.txt --\nLINK ../../outside.txt\n-- pairs/other.yaml --\n" + otherMap},
	{"link-absolute", "pairs", "-- pairs/west.yaml --\nPAIR\n-- docs/hosts --\nLINK /etc/hosts\n-- pairs/other.yaml --\n" + otherMap},
	{"link-nowhere", "pairs", "-- pairs/west.yaml --\nPAIR\n-- pairs/gone.yaml --\nLINK nothing.yaml\n-- pairs/other.yaml --\n" + otherMap},
	{"absolute", "/pairs", "-- pairs/west.yaml --\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"up", "pairs/../pairs", "-- pairs/west.yaml --\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"list", "pairs", "-- pairs/west.yaml --\nLIST\n-- pairs/other.yaml --\n" + otherMap},
	{"hidden", "pairs", "-- pairs/.west.yaml --\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
	{"fleet", "pairs", "-- pairs/west.yaml --\nPAIR\n-- pairs/fleet.yaml --\napiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairFleet\nmetadata: {name: dr}\nspec: {}\n-- pairs/other.yaml --\n" + otherMap},
	{"fleet-listed", "pairs", "-- pairs/kustomization.yaml --\nresources: [west.yaml, fleet.yaml, other.yaml]\nEXTRA\n-- pairs/west.yaml --\nPAIR\n-- pairs/fleet.yaml --\napiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairFleet\nmetadata: {name: dr}\nspec: {}\n-- pairs/other.yaml --\n" + otherMap},
	{"fleet-built", "pairs", "-- pairs/kustomization.yaml --\nresources: [west.yaml, other.yaml]\ngenerators: [fleet.yaml]\nEXTRA\n-- pairs/west.yaml --\nPAIR\n-- pairs/fleet.yaml --\napiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairFleet\nmetadata: {name: dr}\nspec: {}\n-- pairs/other.yaml --\n" + otherMap},
	{"chart", "pairs", "-- pairs/Chart.yaml --\napiVersion: v2\nname: pairs\nversion: 0.1.0\n-- pairs/kustomization.yaml --\nresources: [west.yaml, other.yaml]\n-- pairs/west.yaml --\nPAIR\n-- pairs/other.yaml --\n" + otherMap},
}

const hookPatch = "'{apiVersion: stork.libopenstorage.org/v1alpha1, kind: ClusterPair, metadata: {name: any, annotations: {argocd.argoproj.io/hook: Skip}}}'"

var argoTwists = []twist{
	{name: "none"},
	{name: "hook-presync", metadata: "annotations: {argocd.argoproj.io/hook: PreSync}"},
	{name: "hook-sync", metadata: "annotations: {argocd.argoproj.io/hook: Sync}"},
	{name: "hook-postsync", metadata: "annotations: {argocd.argoproj.io/hook: PostSync}"},
	{name: "hook-fail", metadata: "annotations: {argocd.argoproj.io/hook: SyncFail}"},
	{name: "hook-skip", metadata: "annotations: {argocd.argoproj.io/hook: Skip}"},
	{name: "hook-misspelt", metadata: "annotations: {argocd.argoproj.io/hook: presync}"},
	{name: "hook-none", metadata: "annotations: {argocd.argoproj.io/hook: ''}"},
	{name: "hook-two", metadata: "annotations: {argocd.argoproj.io/hook: 'Sync,PostSync'}"},
	{name: "hook-deleted", metadata: "annotations: {argocd.argoproj.io/hook: Sync, argocd.argoproj.io/hook-delete-policy: HookSucceeded}"},
	{name: "hook-label", metadata: "labels: {argocd.argoproj.io/hook: Skip}"},
	{name: "helm-hook", metadata: "annotations: {helm.sh/hook: pre-install}"},
	{name: "helm-hook-crd", metadata: "annotations: {helm.sh/hook: crd-install}"},
	{name: "helm-hook-test", metadata: "annotations: {helm.sh/hook: test}"},
	{name: "option-replace", metadata: "annotations: {argocd.argoproj.io/sync-options: Replace=true}"},
	{name: "option-force", metadata: "annotations: {argocd.argoproj.io/sync-options: 'Replace=true,Force=true'}"},
	{name: "option-prune", metadata: "annotations: {argocd.argoproj.io/sync-options: 'Prune=false,Delete=confirm'}"},
	{name: "option-server-side", metadata: "annotations: {argocd.argoproj.io/sync-options: ServerSideApply=true}"},
	{name: "compare", metadata: "annotations: {argocd.argoproj.io/compare-options: IgnoreExtraneous}"},
	{name: "wave", metadata: "annotations: {argocd.argoproj.io/sync-wave: '5'}"},
	{name: "flux-switch", metadata: "annotations: {" + off + "}"},
	{name: "hook-annotations", extra: "commonAnnotations: {argocd.argoproj.io/hook: Skip}"},
	{name: "hook-patch", extra: "patches: [{target: {kind: ClusterPair}, patch: " + hookPatch + "}]"},
	{name: "hook-patch-other", extra: "patches: [{target: {kind: ClusterPair, name: east}, patch: " + hookPatch + "}]"},
	{name: "hook-patch-name", extra: "patches: [{target: {name: west}, patch: " + hookPatch + "}]"},
	{name: "patch-deletes", extra: "patches: [{patch: '{$patch: delete, apiVersion: stork.libopenstorage.org/v1alpha1, kind: ClusterPair, metadata: {name: west, namespace: NS}}'}]"},
	{name: "source-patch", extra: "# of the Application", spec: "source: {kustomize: {patches: [{target: {kind: ClusterPair}, patch: " + hookPatch + "}]}}"},
	{name: "source-annotations", extra: "# of the Application", spec: "source: {kustomize: {commonAnnotations: {argocd.argoproj.io/hook: Skip}}}"},
	{name: "source-prefix", extra: "# of the Application", spec: "source: {kustomize: {namePrefix: dr-}}"},
	{name: "source-components", extra: "# of the Application", spec: "source: {kustomize: {components: [../skip]}}", archive: "-- skip/kustomization.yaml --\napiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{target: {kind: ClusterPair}, patch: " + hookPatch + "}]\n"},
	{name: "recurse", spec: "source: {directory: {recurse: true}}"},
	{name: "directory", spec: "source: {directory: {recurse: false}}"},
	{name: "include", spec: "source: {directory: {include: '*.yaml'}}"},
	{name: "include-other", spec: "source: {directory: {include: 'o*.yaml'}}"},
	{name: "include-braces", spec: "source: {directory: {include: '{other,west}.*'}}"},
	{name: "include-recurse", spec: "source: {directory: {recurse: true, include: '*/west.yaml'}}"},
	{name: "include-star-slash", spec: "source: {directory: {recurse: true, include: '**/*.yaml'}}"},
	{name: "exclude", spec: "source: {directory: {exclude: 'we*'}}"},
	{name: "exclude-recurse", spec: "source: {directory: {recurse: true, exclude: 'east/*'}}"},
	{name: "exclude-two", spec: "source: {directory: {exclude: '{a,west}.yaml'}}"},
	{name: "ignores", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jsonPointers: [/spec/config]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-star", spec: "ignoreDifferences: [{group: '*', kind: '*', jsonPointers: [/spec]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-jq", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jqPathExpressions: [.spec.config]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-softly", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jsonPointers: [/spec/config/clusters]}]"},
	{name: "ignores-all", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jsonPointers: [/spec/config]}]"},
	{name: "ignores-spec", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jsonPointers: [/spec]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-spec-softly", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jsonPointers: [/spec]}]"},
	{name: "ignores-outofsync", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jsonPointers: [/spec]}]\nsyncPolicy: {syncOptions: [ApplyOutOfSyncOnly=true]}"},
	{name: "ignores-managed", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, managedFieldsManagers: [argocd-controller]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-managed-softly", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, managedFieldsManagers: [argocd-controller]}]"},
	{name: "ignores-managed-other", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, managedFieldsManagers: [stork]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-jq-spec", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jqPathExpressions: [.spec]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-jq-index", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jqPathExpressions: ['.spec[\"config\"]']}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-jq-each", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jqPathExpressions: ['.spec.config.users[]?.token']}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-jq-paths", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jqPathExpressions: ['.. | select(type == \"object\" and has(\"token\")) | .token']}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-jq-other", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jqPathExpressions: [.metadata.labels, .spec.options]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-jq-softly", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jqPathExpressions: [.spec]}]"},
	{name: "ignores-user", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jsonPointers: [/spec/config/users/stork-dr]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-gone", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jsonPointers: [/spec/config/nothing]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-options", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jsonPointers: [/spec/options]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-name", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, name: west, jsonPointers: [/spec/config]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-other-name", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, name: east, jsonPointers: [/spec/config]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-namespace", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, namespace: NS, jsonPointers: [/spec/config]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-other-namespace", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, namespace: other, jsonPointers: [/spec/config]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-other-group", spec: "ignoreDifferences: [{group: apps, kind: '*', jsonPointers: [/spec]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-no-group", spec: "ignoreDifferences: [{kind: ClusterPair, jsonPointers: [/spec]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-pattern", spec: "ignoreDifferences: [{group: '*.libopenstorage.org', kind: Cluster*, jsonPointers: [/spec/config]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}"},
	{name: "ignores-false", spec: "ignoreDifferences: [{group: stork.libopenstorage.org, kind: ClusterPair, jsonPointers: [/spec]}]\nsyncPolicy: {syncOptions: [RespectIgnoreDifferences=false]}"},
	{name: "include-class", spec: "source: {directory: {include: '[ow]*'}}"},
	{name: "include-not-class", spec: "source: {directory: {include: '[!w]*'}}"},
	{name: "include-caret", spec: "source: {directory: {include: '[^w]*'}}"},
	{name: "include-range", spec: "source: {directory: {include: '[a-w]est*'}}"},
	{name: "include-ranges", spec: "source: {directory: {include: '[a-dw-z]*'}}"},
	{name: "include-broken", spec: "source: {directory: {include: '[ow'}}"},
	{name: "include-escape", spec: "source: {directory: {include: 'we\\st.*'}}"},
	{name: "exclude-class", spec: "source: {directory: {exclude: '{x,[vw]es?}.yaml'}}"},
	{name: "exclude-broken", spec: "source: {directory: {exclude: '{west'}}"},
	{name: "plain-prefix", spec: "source: {kustomize: {namePrefix: dr-}}"},
	{name: "plain-helm", spec: "source: {helm: {releaseName: pairs}}"},
	{name: "empty-kustomize", spec: "source: {kustomize: {}}"},
	{name: "empty-plugin", spec: "source: {plugin: {}}"},
	{name: "components-missing", extra: "# of the Application", spec: "source: {kustomize: {components: [../gone]}}"},
	{name: "components-ignored", extra: "# of the Application", spec: "source: {kustomize: {components: [../gone], ignoreMissingComponents: true}}"},
	{name: "source-namespace", extra: "# of the Application", spec: "source: {kustomize: {namespace: NS, commonLabels: {tier: dr}, labelWithoutSelector: true}}"},
	{name: "source-substitutes", extra: "# of the Application", spec: "source: {kustomize: {commonAnnotationsEnvsubst: true, commonAnnotations: {argocd.argoproj.io/hook: '${ARGOCD_APP_NAME}'}}}"},
	{name: "patch-outside", extra: "patches: [{path: ../patch.yaml}]", archive: "-- patch.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, namespace: NS, labels: {tier: dr}}\n-- overlays/patch.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, namespace: NS, labels: {tier: dr}}\n"},
	{name: "own-plugin", archive: "-- FOLDER/.argocd-source.yaml --\nplugin: {name: clusterpair}\n"},
	{name: "own-app", archive: "-- FOLDER/.argocd-source-NS.yaml --\nplugin: {name: clusterpair}\n"},
	{name: "own-other-app", archive: "-- FOLDER/.argocd-source-other.yaml --\nplugin: {name: clusterpair}\n"},
	{name: "own-removes", archive: "-- FOLDER/.argocd-source.yaml --\nplugin: null\n"},
	{name: "own-both", archive: "-- FOLDER/.argocd-source.yaml --\nplugin: {name: clusterpair}\n-- FOLDER/.argocd-source-NS.yaml --\nplugin: null\n"},
	{name: "own-recurse", archive: "-- FOLDER/.argocd-source.yaml --\ndirectory: {recurse: true}\n"},
	{name: "own-exclude", archive: "-- FOLDER/.argocd-source.yaml --\ndirectory: {exclude: 'we*'}\n"},
	{name: "own-path", archive: "-- FOLDER/.argocd-source.yaml --\npath: nothing\n-- nothing/other.yaml --\n" + otherMap},
	{name: "own-patch", extra: "# of the file beside", archive: "-- FOLDER/.argocd-source.yaml --\nkustomize: {patches: [{target: {kind: ClusterPair}, patch: " + hookPatch + "}]}\n"},
	{name: "own-annotations", extra: "# of the file beside", archive: "-- FOLDER/.argocd-source.yaml --\nkustomize: {commonAnnotations: {argocd.argoproj.io/hook: Skip}}\n"},
	{name: "own-above", archive: "-- .argocd-source.yaml --\nplugin: {name: clusterpair}\n"},
	{name: "hook-before", metadata: "annotations: {argocd.argoproj.io/hook: Sync, argocd.argoproj.io/hook-delete-policy: BeforeHookCreation}"},
	{name: "hook-failed", metadata: "annotations: {argocd.argoproj.io/hook: Sync, argocd.argoproj.io/hook-delete-policy: HookFailed}"},
	{name: "hook-skip-too", metadata: "annotations: {argocd.argoproj.io/hook: 'Sync,Skip'}"},
	{name: "hook-post-delete", metadata: "annotations: {argocd.argoproj.io/hook: PostDelete}"},
	{name: "hook-policy-alone", metadata: "annotations: {argocd.argoproj.io/hook-delete-policy: HookSucceeded}"},
	{name: "helm-hook-deleted", metadata: "annotations: {helm.sh/hook: post-install, helm.sh/hook-delete-policy: hook-succeeded}"},
	{name: "helm-hook-failed", metadata: "annotations: {helm.sh/hook: post-install, helm.sh/hook-delete-policy: hook-failed}"},
	{name: "helm-hook-delete", metadata: "annotations: {helm.sh/hook: 'pre-delete,post-delete'}"},
	{name: "both-hooks", metadata: "annotations: {helm.sh/hook: test, argocd.argoproj.io/hook: Sync}"},
	{name: "option-spaces", metadata: "annotations: {argocd.argoproj.io/sync-options: 'Replace=true, Force=true'}"},
	{name: "option-force-alone", metadata: "annotations: {argocd.argoproj.io/sync-options: Force=true}"},
	{name: "option-replace-above", metadata: "annotations: {argocd.argoproj.io/sync-options: Force=true}", spec: "syncPolicy: {syncOptions: [Replace=true]}"},
	{name: "option-force-server", metadata: "annotations: {argocd.argoproj.io/sync-options: 'Replace=true,Force=true,ServerSideApply=true'}"},
	{name: "options-above", spec: "syncPolicy: {automated: {selfHeal: true}, syncOptions: [ServerSideApply=true, CreateNamespace=true, PruneLast=true, Validate=false, ApplyOutOfSyncOnly=true, FailOnSharedResource=true]}"},
	{name: "instance-label", metadata: "labels: {app.kubernetes.io/instance: other}"},
	{name: "tracked", metadata: "annotations: {argocd.argoproj.io/tracking-id: 'other:stork.libopenstorage.org/ClusterPair:NS/west'}"},
	{name: "paths-here", spec: "ANNOTATION argocd.argoproj.io/manifest-generate-paths: ."},
	{name: "paths-elsewhere", spec: "ANNOTATION argocd.argoproj.io/manifest-generate-paths: /docs"},
	{name: "paths-file", spec: "ANNOTATION argocd.argoproj.io/manifest-generate-paths: .;/base/*.yaml"},
}

const argoParent = `
-- root.yaml --
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: NS-root, namespace: argocd}
spec:
  project: default
  destination: {server: https://kubernetes.default.svc, namespace: argocd}
  syncPolicy: {automated: {prune: true}}
  source:
    repoURL: REPO
    targetRevision: main
    path: apps
`

const argoSet = `
-- root.yaml --
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: NS-set, namespace: argocd}
spec:
`

// argoCarriers bring the Application into the cluster: APPLICATION is the object, TEMPLATE
// what it would be in an ApplicationSet. PATH is its path there.
var argoCarriers = []carrier{
	{"direct", "-- root.yaml --\nAPPLICATION\n"},
	{"apps", argoParent + "-- apps/pairs.yaml --\nAPPLICATION\n"},
	{"apps-kustomization", argoParent + "-- apps/pairs.yaml --\nAPPLICATION\n-- apps/kustomization.yaml --\nresources: [pairs.yaml]\n"},
	{"apps-unlisted", argoParent + "-- apps/pairs.yaml --\nAPPLICATION\n-- apps/kustomization.yaml --\nresources: [other.yaml]\n-- apps/other.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: NS, namespace: argocd}\n"},
	{"gives-plugin", argoParent + "    kustomize: {patches: [{target: {kind: Application}, patch: '{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: any}, spec: {source: {plugin: {name: clusterpair}}}}'}]}\n-- apps/pairs.yaml --\nAPPLICATION\n-- apps/kustomization.yaml --\nresources: [pairs.yaml]\n"},
	{"takes-plugin", argoParent + "-- apps/pairs.yaml --\nAPPLICATION\n-- apps/kustomization.yaml --\nresources: [pairs.yaml]\npatches: [{target: {kind: Application}, patch: '{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: any}, spec: {source: {plugin: null}}}'}]\n"},
	{"set-list", argoSet + "  generators: [{list: {elements: [{folder: PATH}]}}]\n  template:\n    TEMPLATE {path: '{{folder}}'}\n"},
	{"set-list-go", argoSet + "  goTemplate: true\n  goTemplateOptions: [missingkey=error]\n  generators: [{list: {elements: [{folder: {name: PATH}}]}}]\n  template:\n    TEMPLATE {path: '{{.folder.name}}'}\n"},
	{"set-list-other", argoSet + "  generators: [{list: {elements: [{folder: nothing}]}}]\n  template:\n    TEMPLATE {path: '{{folder}}'}\n-- nothing/other.yaml --\n" + otherMap},
	{"set-directories", argoSet + "  generators: [{git: {repoURL: REPO, revision: main, directories: [{path: '*'}]}}]\n  template:\n    TEMPLATE {path: '{{path}}'}\n"},
	{"set-directories-go", argoSet + "  goTemplate: true\n  generators: [{git: {repoURL: REPO, revision: main, directories: [{path: PATH}]}}]\n  template:\n    TEMPLATE {path: '{{ .path.path }}'}\n"},
	{"set-directories-excluded", argoSet + "  goTemplate: true\n  generators: [{git: {repoURL: REPO, revision: main, directories: [{path: '*'}, {path: 'pairs', exclude: true}, {path: 'overlays', exclude: true}]}}]\n  template:\n    TEMPLATE {path: '{{.path.path}}'}\n-- nothing/other.yaml --\n" + otherMap},
	{"set-directories-basename", argoSet + "  goTemplate: true\n  generators: [{git: {repoURL: REPO, revision: main, directories: [{path: 'pair*'}]}}]\n  template:\n    TEMPLATE {path: './{{.path.basename}}'}\n"},
	{"set-directories-segments", argoSet + "  goTemplate: true\n  generators: [{git: {repoURL: REPO, revision: main, directories: [{path: 'pair*'}]}}]\n  template:\n    TEMPLATE {path: '{{index .path.segments 0}}'}\n"},
	{"set-files", argoSet + "  goTemplate: true\n  generators: [{git: {repoURL: REPO, revision: main, files: [{path: 'clusters/*.json'}]}}]\n  template:\n    TEMPLATE {path: '{{.folder}}'}\n-- clusters/east.json --\n{\"folder\": \"PATH\"}\n"},
	{"set-matrix", argoSet + "  goTemplate: true\n  generators: [{matrix: {generators: [{list: {elements: [{stage: one}]}}, {git: {repoURL: REPO, revision: main, directories: [{path: PATH}]}}]}}]\n  template:\n    TEMPLATE {path: '{{.path.path}}'}\n"},
	{"set-merge", argoSet + "  goTemplate: true\n  generators: [{merge: {mergeKeys: [stage], generators: [{list: {elements: [{stage: one, folder: nothing}]}}, {list: {elements: [{stage: one, folder: PATH}]}}]}}]\n  template:\n    TEMPLATE {path: '{{.folder}}'}\n"},
	{"set-clusters", argoSet + "  goTemplate: true\n  generators: [{clusters: {values: {folder: PATH}}}]\n  template:\n    TEMPLATE {path: '{{.values.folder}}'}\n"},
	{"set-patch", argoSet + "  goTemplate: true\n  generators: [{list: {elements: [{folder: PATH}]}}]\n  templatePatch: |\n    spec: {source: {plugin: {name: clusterpair}}}\n  template:\n    TEMPLATE {path: '{{.folder}}'}\n"},
	{"set-patch-template", argoSet + "  goTemplate: true\n  generators: [{list: {elements: [{folder: PATH, plugin: clusterpair}]}}]\n  templatePatch: |\n    spec: {source: {plugin: {name: '{{.plugin}}'}}}\n  template:\n    TEMPLATE {path: '{{.folder}}'}\n"},
	{"set-selector", argoSet + "  goTemplate: true\n  generators: [{list: {elements: [{folder: PATH, stage: one}]}, selector: {matchLabels: {stage: two}}}]\n  template:\n    TEMPLATE {path: '{{.folder}}'}\n"},
	{"set-template", argoSet + "  goTemplate: true\n  generators: [{list: {elements: [{folder: PATH}], template: {metadata: {}, spec: {project: default, destination: {}, source: {repoURL: REPO, path: nothing}}}}}]\n  template:\n    TEMPLATE {path: '{{.folder}}'}\n-- nothing/other.yaml --\n" + otherMap},
	{"set-fixed", argoSet + "  generators: [{list: {elements: [{stage: one}]}}]\n  template:\n    TEMPLATE {}\n"},
	{"sources", "-- root.yaml --\nSOURCES\n"},
	{"other-repository", "-- root.yaml --\nAPPLICATION {repoURL: OTHER}\n-- fleet.yaml --\napiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: fleet, namespace: argocd}\nspec: {project: default, source: {repoURL: REPO, path: pairs/none, targetRevision: main}, destination: {server: https://kubernetes.default.svc}}\n-- pairs/none/other.yaml --\n" + otherMap},
	{"skip-reconcile", "-- root.yaml --\nSKIPPED\n"},
	{"apps-hook", argoParent + "-- apps/pairs.yaml --\nANNOTATED argocd.argoproj.io/hook: Skip\n"},
	{"apps-marked", argoParent + "-- apps/pairs.yaml --\n# +argocd:skip-file-rendering\nAPPLICATION\n-- apps/other.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: NS, namespace: argocd}\n"},
	{"apps-directory", argoParent + "    directory: {recurse: true, exclude: '*kustomization.yaml'}\n-- apps/pairs.yaml --\nAPPLICATION\n-- apps/kustomization.yaml --\nresources: [other.yaml]\n"},
	{"apps-below", argoParent + "    directory: {recurse: true}\n-- apps/east/pairs.yaml --\nAPPLICATION\n-- apps/east/kustomization.yaml --\nresources: [other.yaml]\n"},
	{"apps-own", argoParent + "-- apps/.argocd-source.yaml --\ndirectory: {exclude: 'pairs*'}\n-- apps/pairs.yaml --\nAPPLICATION\n-- apps/other.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: NS, namespace: argocd}\n"},
	{"sources-ref", "-- root.yaml --\nSOURCES {repoURL: OTHER, ref: values}\n"},
	{"sources-same", "-- root.yaml --\nSOURCES {repoURL: REPO, path: nothing}\n-- nothing/third.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: third, namespace: NS}\n"},
	{"manual", "-- root.yaml --\nMANUAL\n"},
	{"set-matrix-clusters", argoSet + "  goTemplate: true\n  generators: [{matrix: {generators: [{clusters: {}}, {git: {repoURL: REPO, revision: main, directories: [{path: PATH}]}}]}}]\n  template:\n    TEMPLATE {path: '{{.path.path}}'}\n"},
	{"set-matrix-directories", argoSet + "  generators: [{matrix: {generators: [{git: {repoURL: REPO, revision: main, directories: [{path: '*'}]}}, {list: {elements: [{stage: one}]}}]}}]\n  template:\n    TEMPLATE {path: '{{path}}'}\n"},
	{"set-matrix-list", argoSet + "  goTemplate: true\n  generators: [{matrix: {generators: [{list: {elements: [{folder: PATH}]}}, {list: {elements: [{stage: one}]}}]}}]\n  template:\n    TEMPLATE {path: '{{ .folder }}'}\n"},
	{"set-matrix-values", argoSet + "  goTemplate: true\n  generators: [{matrix: {generators: [{list: {elements: [{folder: PATH}]}}, {git: {repoURL: REPO, revision: main, directories: [{path: '{{ .folder }}'}]}}]}}]\n  template:\n    TEMPLATE {path: '{{.path.path}}'}\n"},
	{"set-matrix-other", argoSet + "  goTemplate: true\n  generators: [{matrix: {generators: [{list: {elements: [{stage: one}]}}, {git: {repoURL: REPO, revision: main, directories: [{path: nothing}]}}]}}]\n  template:\n    TEMPLATE {path: '{{.path.path}}'}\n-- nothing/other.yaml --\n" + otherMap},
	{"set-create-only", argoSet + "  syncPolicy: {applicationsSync: create-only}\n  generators: [{list: {elements: [{folder: PATH}]}}]\n  template:\n    TEMPLATE {path: '{{folder}}'}\n"},
	{"set-two", argoSet + "  generators: [{list: {elements: []}}, {list: {elements: [{folder: PATH}]}}]\n  template:\n    TEMPLATE {path: '{{folder}}'}\n"},
	{"set-empty", argoSet + "  generators: [{list: {elements: []}}]\n  template:\n    TEMPLATE {path: '{{folder}}'}\n"},
	{"set-prefix", argoSet + "  goTemplate: true\n  generators: [{git: {repoURL: REPO, revision: main, pathParamPrefix: dr, directories: [{path: PATH}]}}]\n  template:\n    TEMPLATE {path: '{{.dr.path.path}}'}\n"},
	{"set-directories-values", argoSet + "  generators: [{git: {repoURL: REPO, revision: main, directories: [{path: PATH}], values: {folder: '{{path}}'}}}]\n  template:\n    TEMPLATE {path: '{{values.folder}}'}\n"},
	{"set-directories-other", argoSet + "  generators: [{git: {repoURL: OTHER, revision: main, directories: [{path: '*'}]}}]\n  template:\n    TEMPLATE {path: '{{path}}'}\n"},
	{"set-patch-path", argoSet + "  goTemplate: true\n  generators: [{list: {elements: [{folder: PATH}]}}]\n  templatePatch: |\n    spec: {source: {path: nothing}}\n  template:\n    TEMPLATE {path: '{{.folder}}'}\n-- nothing/other.yaml --\n" + otherMap},
	{"set-patch-skip", argoSet + "  goTemplate: true\n  generators: [{list: {elements: [{folder: PATH}]}}]\n  templatePatch: |\n    metadata: {annotations: {argocd.argoproj.io/skip-reconcile: 'true'}}\n  template:\n    TEMPLATE {path: '{{.folder}}'}\n"},
	{"set-own", argoSet + "  goTemplate: true\n  generators: [{list: {elements: [{folder: PATH, app: NS}]}}]\n  template:\n    TEMPLATE {path: '{{.folder}}'}\n-- PATH/.argocd-source-NS.yaml --\nplugin: {name: clusterpair}\n"},
	{"hydrator", "-- root.yaml --\nHYDRATOR\n"},
	{"hydrator-own", "-- root.yaml --\nHYDRATOR\n-- PATH/.argocd-source.yaml --\nplugin: {name: clusterpair}\n"},
	{"hydrator-root", "-- root.yaml --\nHYDRATOR {syncSource: {path: .}}\n"},
	{"hydrator-waits", "-- root.yaml --\nHYDRATOR {hydrateTo: {targetBranch: next}}\n"},
}

var argoDecryptions = map[string]string{
	"none":      "",
	"plugin":    "source: {plugin: {name: clusterpair}}",
	"versioned": "source: {plugin: {name: clusterpair-v1.0}}",
}

// firstTwists and firstCarriers are how many of the first ones are crossed with more layouts.
const firstTwists, firstCarriers = 44, 25

// untold are the carriers of which nobody can tell what they apply.
var untold = []string{"set-list-go", "set-directories-segments", "set-files", "set-merge", "set-clusters", "set-patch-template", "set-selector", "set-template"}

// argoCombinations crosses the dimensions, as fluxCombinations does.
func argoCombinations(t *testing.T) (all []*combination) {
	byName := make(map[string]bool)
	add := func(l layout, tw twist, c carrier, decryption string) {
		if !tw.fits(l) {
			return
		}
		made, err := argoCombination(l, tw, c, decryption)
		if err != nil {
			t.Fatal(err)
		}
		if !byName[made.name] {
			byName[made.name] = true
			all = append(all, made)
		}
	}
	none, direct := argoTwists[0], argoCarriers[0]
	byTwist := func(name string) twist {
		return argoTwists[slices.IndexFunc(argoTwists, func(tw twist) bool { return tw.name == name })]
	}
	byLayout := make(map[string]layout)
	for _, l := range argoLayouts {
		byLayout[l.name] = l
		add(l, none, direct, "none")
		if l.name != "decryptor" && l.name != "nested" {
			add(l, none, direct, "plugin")
		}
	}
	for _, name := range []string{"kustomization", "typed", "below", "decryptor"} {
		for _, twist := range []string{"recurse", "directory", "include", "include-other"} {
			add(byLayout[name], byTwist(twist), direct, "none")
		}
	}
	for _, twist := range []string{"recurse", "directory", "include"} {
		add(byLayout["nested"], byTwist(twist), direct, "plugin")
	}
	add(byLayout["nested"], none, direct, "plugin")
	for _, twist := range []string{"ignores-all", "ignores-spec-softly", "ignores-softly", "ignores-managed-softly", "ignores-jq-softly"} {
		add(byLayout["alone"], byTwist(twist), direct, "plugin")
	}
	for _, name := range []string{"link-folder-kustomization"} {
		add(byLayout[name], byTwist("source-prefix"), direct, "none")
	}
	add(byLayout["decryptor"], byTwist("own-plugin"), direct, "none")
	for i, tw := range argoTwists[1:] {
		switch {
		case strings.HasPrefix(tw.name, "ignores-") || strings.HasPrefix(tw.name, "own-") && tw.extra == "" || strings.HasPrefix(tw.name, "empty-"):
			add(byLayout["directory"], tw, direct, "plugin")
			if !strings.HasPrefix(tw.name, "ignores-") {
				add(byLayout["nested"], tw, direct, "none")
				add(byLayout["kustomization"], tw, direct, "none")
			}
		case strings.HasPrefix(tw.name, "plain-"):
			add(byLayout["directory"], tw, direct, "none")
			add(byLayout["kustomization"], tw, direct, "none")
		case strings.HasPrefix(tw.name, "paths-"):
			add(byLayout["directory"], tw, direct, "plugin")
			add(byLayout["overlay"], tw, direct, "plugin")
		case i >= firstTwists && tw.extra == "" && !strings.Contains(tw.spec, "directory:"):
			add(byLayout["directory"], tw, direct, "plugin")
			if strings.HasPrefix(tw.name, "option") {
				add(byLayout["kustomization"], tw, argoCarriers[1], "none")
			}
		case strings.Contains(tw.spec, "directory:"):
			for _, name := range []string{"directory", "nested", "json"} {
				add(byLayout[name], tw, direct, "none")
			}
		case strings.Contains(tw.spec, "kustomize:"):
			add(byLayout["kustomization"], tw, direct, "none")
			add(byLayout["decryptor"], tw, direct, "none")
		case tw.extra != "":
			add(byLayout["kustomization"], tw, direct, "plugin")
			add(byLayout["overlay"], tw, direct, "none")
		default:
			add(byLayout["directory"], tw, direct, "plugin")
			add(byLayout["kustomization"], tw, argoCarriers[1], "none")
			if strings.HasPrefix(tw.name, "hook") && i < firstTwists {
				add(byLayout["overlay"], tw, argoCarriers[6], "plugin")
			}
		}
	}
	for i, c := range argoCarriers[1:] {
		switch {
		case strings.HasPrefix(c.name, "hydrator"): // which has no field for a plugin in this release
			add(byLayout["directory"], none, c, "none")
			add(byLayout["decryptor"], none, c, "none")
			continue
		case slices.Contains(untold, c.name):
			add(byLayout["directory"], none, c, "plugin")
			continue
		case i >= firstCarriers:
			add(byLayout["directory"], none, c, "plugin")
			add(byLayout["kustomization"], none, c, "none")
			continue
		}
		for _, name := range []string{"directory", "kustomization"} {
			add(byLayout[name], none, c, "none")
			add(byLayout[name], none, c, "plugin")
		}
		add(byLayout["decryptor"], none, c, "none")
	}
	add(byLayout["directory"], none, direct, "versioned")
	add(byLayout["kustomization"], none, argoCarriers[1], "versioned")
	return all
}

func argoCombination(l layout, tw twist, c carrier, decryption string) (*combination, error) {
	made := &combination{
		name:  strings.Join([]string{l.name, tw.name, c.name, decryption}, "/"),
		parts: []part{{"argo layout", l.name}, {"argo twist", tw.name}, {"argo carrier", c.name}, {"argo decryption", decryption}},
		files: make(map[string]string),
		root:  "root.yaml",
	}
	spec, annotations := map[string]any{}, map[string]any{}
	text, isAnnotation := strings.CutPrefix(tw.spec, "ANNOTATION ")
	if isAnnotation {
		key, value, _ := strings.Cut(text, ": ")
		annotations[key], text = value, ""
	}
	for _, text := range []string{"project: default\ndestination: {server: https://kubernetes.default.svc, namespace: NS}\nsyncPolicy: {automated: {prune: true}}\nsource: {repoURL: REPO, targetRevision: main, path: " + l.path + "}", text, argoDecryptions[decryption]} {
		var more map[string]any
		if err := yaml.Unmarshal([]byte(text), &more); err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		mergeInto(spec, more)
	}
	made.add(strings.TrimLeft(l.archive, "\n"))
	var carried strings.Builder
	for line := range strings.Lines(c.archive) {
		text, err := application(line, spec, annotations)
		if err != nil {
			return nil, err
		}
		carried.WriteString(strings.ReplaceAll(text, "PATH", strings.Trim(l.path, "./")))
	}
	made.add(strings.TrimLeft(carried.String(), "\n"))
	tw.archive = strings.ReplaceAll(tw.archive, "FOLDER", path.Clean("./"+l.path))
	made.twist(tw)
	return made, nil
}

// application is a line of a carrier with the object in its place.
func application(line string, spec, annotations map[string]any) (string, error) {
	how, more, _ := strings.Cut(strings.TrimSpace(line), " ")
	metadata := map[string]any{"name": "NS", "namespace": "argocd"}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	object := map[string]any{"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": metadata}
	own := map[string]any{}
	mergeInto(own, spec)
	source := own["source"].(map[string]any)
	var other map[string]any
	if more != "" && strings.ToUpper(how) == how && how[0] != '-' && how[0] != '#' {
		if err := yaml.Unmarshal([]byte(more), &other); err != nil {
			return "", err
		}
	}
	object["spec"] = own
	switch how {
	case "APPLICATION":
		mergeInto(source, other)
	case "ANNOTATED":
		metadata["annotations"] = other
	case "SKIPPED":
		metadata["annotations"] = map[string]any{"argocd.argoproj.io/skip-reconcile": "true"}
	case "SOURCES":
		first := map[string]any{"repoURL": "OTHER", "targetRevision": "main", "path": "pairs"}
		if other != nil {
			other["targetRevision"], first = "main", other
		}
		delete(own, "source")
		own["sources"] = []any{first, source}
	case "MANUAL":
		delete(own["syncPolicy"].(map[string]any), "automated")
		object["operation"] = map[string]any{"sync": map[string]any{"prune": true}}
	case "HYDRATOR":
		hydrator := map[string]any{"drySource": source, "syncSource": map[string]any{"targetBranch": "hydrated", "path": "hydrated"}}
		mergeInto(hydrator, other)
		delete(own, "source")
		own["sourceHydrator"] = hydrator
	case "TEMPLATE":
		mergeInto(source, other)
		object = map[string]any{"metadata": map[string]any{"name": "NS"}, "spec": own}
	default:
		return line, nil
	}
	data, err := yaml.Marshal(object)
	indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
	return indent + strings.ReplaceAll(strings.TrimSuffix(string(data), "\n"), "\n", "\n"+indent) + "\n", err
}

// mergeInto puts values into a mapping, those of mappings in it one by one.
func mergeInto(into, values map[string]any) {
	for key, value := range values {
		more, isMap := value.(map[string]any)
		if !isMap {
			into[key] = value
			continue
		}
		below, _ := into[key].(map[string]any)
		copied := map[string]any{}
		mergeInto(copied, below)
		mergeInto(copied, more)
		into[key] = copied
	}
}

// argoPlugins are those of the repo-server: one with a name, and one with a version, too.
func argoPlugins() []string {
	const plugin = "apiVersion: argoproj.io/v1alpha1\nkind: ConfigManagementPlugin\nmetadata: {name: %s}\nspec:\n  %s\n  generate: {command: [%s, build, --decrypt, .]}\n"
	program := filepath.Join(built, "clusterpair")
	return []string{fmt.Sprintf(plugin, "clusterpair", "", program), fmt.Sprintf(plugin, "clusterpair", "version: v1.0", program)}
}

// argoTruths has the real Argo CD apply each repository.
func argoTruths(t *testing.T, chosen []*combination, p pairs) map[string]form {
	c, err := startCluster("verdicts-argo", "verdicts-argo.test", built, tools)
	t.Cleanup(c.stop)
	if err != nil {
		t.Fatal(err)
	}
	w := &argoWorld{t: t, cluster: c, dir: t.TempDir(), heads: make(map[string]string)}
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	return truths(t, w, c, chosen, p)
}

// argoWorld is a cluster with Argo CD.
type argoWorld struct {
	t       *testing.T
	cluster *cluster
	dir     string
	heads   map[string]string // commits, by URL
}

func (w *argoWorld) start() error {
	install := filepath.Join(w.dir, "install")
	if err := os.MkdirAll(install, 0o700); err != nil {
		return err
	}
	kustomization := "namespace: argocd\nresources: [base/config, base/repo-server]\nconfigMapGenerator:\n- name: argocd-cm\n  behavior: merge\n  options: {disableNameSuffixHash: true}\n  literals: [kustomize.buildOptions=--enable-alpha-plugins --enable-exec]\n"
	if err := os.WriteFile(filepath.Join(install, "kustomization.yaml"), []byte(kustomization), 0o600); err != nil {
		return err
	}
	if err := w.cluster.installArgoCD(install); err != nil {
		return err
	}
	key, err := filepath.Abs("../fixtures/keys/demo.agekey")
	if err != nil {
		return err
	}
	const host = "argocd-verdicts.test"
	dir := filepath.Join(w.dir, "argocd")
	address, err := w.cluster.startArgoCD(host, dir, argoPlugins(), "PATH="+built+":"+tools+":"+os.Getenv("PATH"), "SOPS_AGE_KEY_FILE="+key,
		"ARGOCD_APPLICATION_CONTROLLER_STATUS_PROCESSORS=10", "ARGOCD_APPLICATION_CONTROLLER_OPERATION_PROCESSORS=10", "ARGOCD_K8S_CLIENT_QPS=500", "ARGOCD_K8S_CLIENT_BURST=1000",
		// The hydrator takes a revision from the cache, unlike a refresh.
		"ARGOCD_HYDRATOR_ENABLED=true", "ARGOCD_APPLICATION_CONTROLLER_COMMIT_SERVER="+host+":8086", "ARGOCD_RECONCILIATION_TIMEOUT=1s")
	if err != nil {
		return err
	}
	w.t.Cleanup(func() { // the commit-server's own, whatever TMPDIR says
		os.RemoveAll("/tmp/_commit-service")
		os.Remove("/tmp/commit-server-ask-pass.sock")
	})
	_, err = w.cluster.runArgoCD(dir, "argocd-commit-server", append(os.Environ(), "HOME="+filepath.Join(dir, "home")), "--address="+address, "--metrics-address="+address)
	return err
}

func (w *argoWorld) enter(c *combination) error {
	return w.cluster.request(http.MethodPost, "/api/v1/namespaces", "metadata: {name: "+c.ns+"}")
}

// url is where a repository is.
func (w *argoWorld) url(name string) string { return "file://" + filepath.Join(w.dir, "git", name) }

// commit commits the files of each combination, with a pair.
func (w *argoWorld) commit(chosen []*combination, pair map[string]any) error {
	other := &combination{ns: "other", files: map[string]string{"pairs/none.txt": "COMMIT"}}
	for _, c := range append(slices.Clone(chosen), other) {
		dir := filepath.Join(w.dir, "git", c.ns)
		c.repo, c.other = w.url(c.ns), w.url(other.ns)
		err := c.write(dir, pair)
		c.repo, c.other = "", ""
		if err != nil {
			return err
		}
		out, err := exec.Command("sh", "-euc", `cd "$0"; git checkout -q -B main; git add -A; git -c user.name=e2e -c user.email=e2e@example.com commit -q --allow-empty -m change; git rev-parse HEAD`, dir).Output()
		if err != nil {
			return said(err)
		}
		w.heads[w.url(c.ns)] = strings.TrimSpace(string(out))
	}
	return nil
}

const argoAPI = "/apis/argoproj.io/v1alpha1/namespaces/argocd/"

// apply does what somebody does by hand, once.
func (w *argoWorld) apply(c *combination) error {
	c.repo, c.other = w.url(c.ns), w.url("other")
	text, err := c.filled(c.files[c.root], nil)
	c.repo, c.other = "", ""
	if err != nil {
		return err
	}
	var object struct {
		Kind     string
		Metadata struct{ Name string }
	}
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		return err
	}
	err = w.cluster.request(http.MethodPatch, argoAPI+strings.ToLower(object.Kind)+"s/"+object.Metadata.Name+"?force=true&fieldManager=kubectl", text)
	if err != nil && strings.Contains(err.Error(), "422") {
		w.t.Logf("%s: %v", c.name, err)
		return nil
	}
	return err
}

type argoApplication struct {
	Metadata struct {
		Name        string
		Annotations map[string]string
	}
	Spec struct {
		Source         struct{ RepoURL string }
		Sources        []struct{ RepoURL string }
		SourceHydrator struct {
			DrySource struct{ RepoURL string }
		}
		SyncPolicy struct{ Automated json.RawMessage }
	}
	Operation json.RawMessage
	Status    struct {
		Sync struct {
			Status, Revision string
			Revisions        []string
		}
		SourceHydrator struct {
			CurrentOperation struct{ Phase, DrySHA, HydratedSHA, Message string }
		}
		Conditions     []struct{ Type, Message string }
		OperationState struct {
			Phase, Message string
			SyncResult     struct {
				Revision  string
				Revisions []string
			}
		}
	}
}

func (w *argoWorld) applications() (items []argoApplication, err error) {
	var list struct{ Items []argoApplication }
	err = w.cluster.get(argoAPI+"applications", &list)
	return list.Items, err
}

// refresh has Argo CD look at Git again.
func (w *argoWorld) refresh() error {
	apps, err := w.applications()
	if err != nil {
		return err
	}
	for _, a := range apps {
		// As the CLI of Argo CD does.
		annotations, more := "argocd.argoproj.io/refresh: normal", ""
		if a.Spec.SourceHydrator.DrySource.RepoURL != "" {
			annotations = "argocd.argoproj.io/hydrate: normal"
		} else if a.Spec.SyncPolicy.Automated == nil {
			more = "operation: {sync: {prune: true}}\n"
		}
		if err := w.cluster.request(http.MethodPatch, argoAPI+"applications/"+a.Metadata.Name+"?force=true&fieldManager=refresh",
			"apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: "+a.Metadata.Name+", annotations: {"+annotations+"}}\n"+more); err != nil {
			return err
		}
	}
	return nil
}

// done tells whether Argo CD has done with an Application what it can.
func (w *argoWorld) done(a *argoApplication) bool {
	if a.Metadata.Annotations["argocd.argoproj.io/skip-reconcile"] == "true" {
		return true
	}
	head, at, synced := w.heads[a.Spec.Source.RepoURL], a.Status.Sync.Revision, a.Status.OperationState.SyncResult.Revision
	if len(a.Spec.Sources) > 0 {
		var heads []string
		for _, s := range a.Spec.Sources {
			heads = append(heads, w.heads[s.RepoURL])
		}
		head, at, synced = strings.Join(heads, " "), strings.Join(a.Status.Sync.Revisions, " "), strings.Join(a.Status.OperationState.SyncResult.Revisions, " ")
	}
	if dry := a.Spec.SourceHydrator.DrySource.RepoURL; dry != "" {
		o := a.Status.SourceHydrator.CurrentOperation
		if a.Metadata.Annotations["argocd.argoproj.io/hydrate"] != "" || o.Phase == "Hydrated" && o.DrySHA != w.heads[dry] || o.Phase != "Hydrated" && o.Phase != "Failed" {
			return false
		}
		head = o.HydratedSHA
	}
	phase := a.Status.OperationState.Phase
	if phase == "Running" && strings.Contains(a.Status.OperationState.Message, "Retrying attempt") {
		return true // which fails again, as nothing changes meanwhile
	}
	if a.Metadata.Annotations["argocd.argoproj.io/refresh"] != "" || a.Operation != nil || phase == "Running" {
		return false
	}
	for _, c := range a.Status.Conditions {
		if strings.HasSuffix(c.Type, "Error") {
			return true
		}
	}
	return at == head && (a.Status.Sync.Status == "Synced" || phase != "" && synced == head)
}

// settle waits until Argo CD has done with all what it can.
func (w *argoWorld) settle() error {
	quiet := 0
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(500 * time.Millisecond) {
		var sets struct {
			Items []struct {
				Metadata struct{ Name string }
				Status   struct {
					Conditions []struct{ Type, Status, Message string }
				}
			}
		}
		if err := w.cluster.get(argoAPI+"applicationsets", &sets); err != nil {
			return err
		}
		apps, err := w.applications()
		if err != nil {
			return err
		}
		var waiting []string
		for _, s := range sets.Items {
			if !slices.ContainsFunc(s.Status.Conditions, func(c struct{ Type, Status, Message string }) bool {
				return (c.Type == "ResourcesUpToDate" || c.Type == "ErrorOccurred") && c.Status == "True"
			}) {
				waiting = append(waiting, s.Metadata.Name)
			}
		}
		for i := range apps {
			if !w.done(&apps[i]) {
				waiting = append(waiting, apps[i].Metadata.Name)
			}
		}
		if quiet++; len(waiting) > 0 {
			quiet = 0
		}
		if quiet > 4 { // one that is in sync may be found not to be, with its next look
			w.tell(apps)
			return nil
		}
		if time.Now().After(deadline) {
			w.tell(apps)
			return fmt.Errorf("Argo CD is not done with %d objects: %v", len(waiting), waiting)
		}
	}
}

// tell says what Argo CD is not content with, to who looks at one combination.
func (w *argoWorld) tell(apps []argoApplication) {
	if os.Getenv("KEEP") == "" {
		return
	}
	for _, a := range apps {
		w.t.Logf("%s: %s %s %s %v %v", a.Metadata.Name, a.Status.Sync.Status, a.Status.OperationState.Phase, a.Status.OperationState.Message, a.Status.Conditions, a.Status.SourceHydrator.CurrentOperation)
	}
}
