#!/usr/bin/env bash
# A user with token and tokenFile is two subjects, one for each client.
#
# Package:   @kubernetes/client-node 1.4.0 (npm), the JavaScript client of Kubernetes
# Input:     a kubeconfig whose user has a token and a tokenFile with another one
# Guess:     the token of the file is sent, since the API of kubeconfigs says that it
#            takes precedence (client-go, tools/clientcmd/api/v1, field tokenFile)
# Behaviour: the token that stands in the kubeconfig is sent; the file is not read.
#            kubectl sends the one of the file. A kubeconfig whose inline token was
#            left behind when its file was introduced works with one and not the other.
# Output:    {"Authorization":"Bearer inline"}
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
npm init -y > /dev/null
npm install --silent --no-audit --no-fund @kubernetes/client-node@1.4.0 > /dev/null

echo from-the-file > token
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
  user: {token: inline, tokenFile: token}
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
want='{"Authorization":"Bearer inline"}'
echo "$got"
[ "$got" = "$want" ] || { echo "changed: expected $want" >&2; exit 1; }
