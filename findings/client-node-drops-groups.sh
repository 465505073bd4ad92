#!/usr/bin/env bash
# A kubeconfig that impersonates a user with groups acts without the groups.
#
# Package:   @kubernetes/client-node 1.4.0 (npm), the JavaScript client of Kubernetes
# Input:     a kubeconfig whose user has as, as-uid, as-groups and as-user-extra,
#            as kubectl and client-go read them
# Guess:     impersonation is left out as a whole, without a word
# Behaviour: Impersonate-User is sent; Impersonate-Uid, Impersonate-Group and
#            Impersonate-Extra-* are not. So the same file is two subjects: kubectl
#            is alice with her groups, the client is alice in no group at all.
# Output:    {"Impersonate-User":"alice","Authorization":"Bearer t"}
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
npm init -y > /dev/null
npm install --silent --no-audit --no-fund @kubernetes/client-node@1.4.0 > /dev/null

cat > kubeconfig.yaml <<'EOF'
apiVersion: v1
kind: Config
current-context: west
clusters:
- name: west
  cluster: {server: 'https://west.example.com:6443'}
contexts:
- name: west
  context: {cluster: west, user: operator}
users:
- name: operator
  user:
    token: t
    as: alice
    as-uid: "1234"
    as-groups: [disaster-recovery]
    as-user-extra: {reason: [drill]}
EOF
cat > headers.mjs <<'EOF'
import { KubeConfig } from '@kubernetes/client-node';
const config = new KubeConfig();
config.loadFromFile('kubeconfig.yaml');
const request = { headers: {} };
await config.applyToHTTPSOptions(request);
console.log(JSON.stringify(request.headers));
EOF
got=$(node headers.mjs)
want='{"Impersonate-User":"alice","Authorization":"Bearer t"}'
echo "$got"
[ "$got" = "$want" ] || { echo "changed: expected $want" >&2; exit 1; }
