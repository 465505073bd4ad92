#!/usr/bin/env bash
# kustomize cannot add a label whose key is a number, a date, a boolean or null.
#
# Package:   sigs.k8s.io/kustomize/kustomize/v5 5.8.2 (Go)
# Input:     a kustomization with labels: [{pairs: {"1000": dr}}]. The key is a string, in
#            quotes, and a valid label of Kubernetes.
# Guess:     the key is quoted again in the result, as it is where the resource itself has it
# Behaviour: the transformer writes the key without quotes, reads it back as YAML, and fails
#            with Go's view of the object. Keys that are booleans in YAML 1.1 alone, such as
#            "on", are right. So are values, and keys in the resource itself.
# Output:    resource "1000": 1000
#            labels "on": on
#            labels "1000", "1_000", "2026-11-30", "true", "null": unsupported type
set -euo pipefail
dir=$(mktemp -d); trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT; cd "$dir"
GOBIN="$dir" GOFLAGS= CGO_ENABLED=0 go install sigs.k8s.io/kustomize/kustomize/v5@v5.8.2

configmap() { printf 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: west\n%s' "$1" > cm.yaml; }
build() { # KEY: what becomes of it as a label
	if text=$(./kustomize build . 2>&1); then
		sed -n "s/^    \"\{0,1\}\([^\"]*\)\"\{0,1\}: dr$/\1/p" <<< "$text"
	else
		grep -o 'unsupported type' <<< "$text" | head -n 1
	fi
}
configmap $'  labels: {"1000": dr}\n'
echo 'resources: [cm.yaml]' > kustomization.yaml
got="resource \"1000\": $(build)"$'\n'
configmap ''
for key in on 1000 1_000 2026-11-30 true null; do
	printf 'resources: [cm.yaml]\nlabels:\n- pairs: {"%s": dr}\n' "$key" > kustomization.yaml
	got+="labels \"$key\": $(build)"$'\n'
done
want='resource "1000": 1000
labels "on": on
labels "1000": unsupported type
labels "1_000": unsupported type
labels "2026-11-30": unsupported type
labels "true": unsupported type
labels "null": unsupported type
'
printf '%s' "$got"
[ "$got" = "$want" ] || { echo "changed: expected $want" >&2; exit 1; }
