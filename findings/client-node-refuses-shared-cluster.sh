#!/usr/bin/env bash
# Two kubeconfig files that name the same cluster cannot be used together.
#
# Package:   @kubernetes/client-node 1.4.0 (npm), the JavaScript client of Kubernetes
# Input:     KUBECONFIG=admin.yaml:viewer.yaml, two files with one context and one user
#            each; the cluster "west" stands in both, with the same server
# Guess:     the files are merged and the first one wins, as kubectl and client-go do it
# Behaviour: loading fails, although both say the same of the cluster. Any two contexts
#            of one cluster that were exported to files of their own end so.
# Output:    error: Duplicate cluster: west
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
npm init -y > /dev/null
npm install --silent --no-audit --no-fund @kubernetes/client-node@1.4.0 > /dev/null

for who in admin viewer; do
  cat > $who.yaml <<EOF
apiVersion: v1
kind: Config
current-context: $who
clusters:
- name: west
  cluster: {server: 'https://west.example.com:6443'}
contexts:
- name: $who
  context: {cluster: west, user: $who}
users:
- name: $who
  user: {token: $who}
EOF
done
cat > contexts.mjs <<'EOF'
import { KubeConfig } from '@kubernetes/client-node';
const config = new KubeConfig();
try {
  config.loadFromDefault();
  console.log(config.getContexts().map((c) => c.name).join());
} catch (e) {
  console.log('error: ' + e.message);
}
EOF
got=$(KUBECONFIG=admin.yaml:viewer.yaml node contexts.mjs)
want='error: Duplicate cluster: west'
echo "$got"
[ "$got" = "$want" ] || { echo "changed: expected $want" >&2; exit 1; }
