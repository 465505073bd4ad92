package corpus

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Harmless is the state of files that look like credentials and are none.
const Harmless = "looks alike"

// harmless are such files: what repositories are full of.
func (d Dice) harmless() []File {
	files := d.ofClusters()
	maps.Copy(files, d.ofApplications())
	maps.Copy(files, d.ofPrograms())
	var all []File
	for _, name := range slices.Sorted(maps.Keys(files)) {
		all = append(all, File{Path: "looks-alike/" + strings.ReplaceAll(name, "kustomization.yaml", "k/kustomization.yaml"), Place: "others", State: Harmless, Data: []byte(files[name])})
	}
	return all
}

// ofClusters are kubeconfigs that hold no credential, and certificates.
func (d Dice) ofClusters() map[string]string {
	cert := string(certificate())
	encoded := base64.StdEncoding.EncodeToString([]byte(cert))
	return map[string]string{
		"exec.yaml": string(asYAML(kubeconfig(field{"certificate-authority-data", encoded}, object{"exec": object{
			"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "aws", "args": []any{"eks", "get-token", "--cluster-name", "west"}, "env": []any{object{"name": "AWS_PROFILE", "value": "dr"}}}}))),
		"exec-azure.yaml": string(asYAML(kubeconfig(field{"certificate-authority-data", encoded}, object{"exec": object{
			"apiVersion": "client.authentication.k8s.io/v1", "command": "kubelogin", "args": []any{"get-token", "--server-id", d.uuid(), "--client-id", d.uuid(), "--tenant-id=" + d.uuid(), "--token-cache-dir", "/home/dr/.kube/cache", "--oidc-use-access-token", "--client-secret=$(CLIENT_SECRET)"},
			"env": []any{object{"name": "AZURE_FEDERATED_TOKEN_FILE", "value": "/var/run/secrets/azure/token"}, object{"name": "AWS_ACCESS_KEY_ID", "value": "AKIA" + d.letters(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")},
				object{"name": "AZURE_CLIENT_SECRET", "value": "op://fleet/west/secret"}, object{"name": "CLIENT_SECRET", "value": "REDACTED"}}}}))),
		"keyvault.yaml":  "clusters: []\nusers:\n- name: west\n  user:\n    token: \"@Microsoft.KeyVault(SecretUri=https://west.vault.azure.net/secrets/token/)\"\n",
		"setup.sh":       "#!/bin/sh\ndocker run -u 1000:1000 west\ncurl -u \"admin:${PASSWORD}\" https://west.example.com\ncat > kc <<EOF\nclusters: []\nusers:\n- name: west\n  user: {token: \"$TOKEN\", username: admin, password: $PASSWORD}\nEOF\n",
		"files.yaml":     string(asYAML(kubeconfig(field{"certificate-authority-data", encoded}, object{"client-key": "/etc/kubernetes/admin.key", "tokenFile": "/var/run/secrets/token"}))),
		"nobody.yaml":    string(asYAML(kubeconfig(field{"certificate-authority-data", encoded}, object{}))),
		"ca.yaml":        string(asYAML(object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("kube-root-ca.crt"), "data": object{"ca.crt": cert}})),
		"ca-secret.yaml": string(asYAML(secretOf("data", object{"ca.crt": encoded}))),
		"bundle.md":      "# Trust this\n\n```\n" + cert + "```\n",
		"webhook.yaml": string(asYAML(object{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": object{"name": "west"},
			"webhooks": []any{object{"name": "a.example.com", "clientConfig": object{"caBundle": encoded}}}})),
	}
}

// ofApplications are the manifests of what runs on a cluster.
func (d Dice) ofApplications() map[string]string {
	bcrypt := "$2y$10$" + d.letters(53, letter+"./")
	return map[string]string{
		"deployment.yaml": d.deployment(),
		"externalsecret.yaml": `apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: west, namespace: dr}
spec:
  secretStoreRef: {name: vault, kind: ClusterSecretStore}
  target:
    template:
      data:
        config: |
          {"bearerToken": "{{ .token }}", "tlsClientConfig": {"caData": "{{ .ca }}"}}
  data:
  - secretKey: token
    remoteRef: {key: clusters/west, property: token}
  - secretKey: password
    remoteRef: {key: ` + d.uuid() + `, property: password}
`,
		"sealedsecret.yaml": string(asYAML(object{"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": meta("west"),
			"spec": object{"encryptedData": object{"token": "Ag" + base64.StdEncoding.EncodeToString(d.random(500)), "password": "Ag" + base64.StdEncoding.EncodeToString(d.random(400))}, "template": object{"metadata": meta("west")}}})),
		"htpasswd":      "admin:" + bcrypt + "\n",
		"htpasswd.yaml": string(asYAML(secretOf("stringData", object{"htpasswd": "admin:" + bcrypt}))),
		"argocd.yaml":   string(asYAML(secretOf("stringData", object{"admin.password": bcrypt, "admin.passwordMtime": "2026-01-01T00:00:00Z"}))),
		"crd.yaml": `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: clusters.example.com}
spec:
  versions:
  - name: v1
    schema:
      openAPIV3Schema:
        properties:
          token: {type: string, description: the bearer token of the cluster}
          password: {type: string, format: password, default: ""}
          users: {type: array, items: {type: object}}
`,
		"grafana.yaml":       "apiVersion: grafana.integreatly.org/v1beta1\nkind: Grafana\nmetadata: {name: grafana}\nspec:\n  config:\n    log: {mode: console}\n    users: {auto_assign_org_role: Viewer}\n    security: {admin_user: root, admin_password: $__file{/etc/secrets/password}}\n",
		"values.yaml":        "auth:\n  username: app\n  existingSecret: app-credentials-" + d.letters(10, small) + "\n  password: \"\"\n  tokenSecretName: west-token-" + d.letters(5, small) + "\ntoken: west-dr-token-" + d.letters(5, small) + "\nserviceAccount: {automountToken: false}\ndigest: sha256:" + d.hexes(32) + "\ncommit: " + d.hexes(20) + "\n",
		"sa.yaml":            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: stork, namespace: dr}\nsecrets:\n- name: stork-token-" + d.letters(5, small) + "\n",
		"kustomization.yaml": "resources: [west.yaml]\nsecretGenerator:\n- name: west\n  files: [token=secrets/west.token]\n  literals: [\"token=${TOKEN}\"]\nimages:\n- name: west\n  digest: sha256:" + d.hexes(32) + "\n",
	}
}

// deployment names tokens and passwords, each of which stands elsewhere.
func (d Dice) deployment() string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: west
  labels: {pod-template-hash: %s}
  annotations:
    deployment.kubernetes.io/revision: "4"
    checksum/config: %s
spec:
  template:
    spec:
      serviceAccountName: west
      containers:
      - name: west
        image: registry.example.com/west@sha256:%s
        args: [--token-ttl=24h, --oidc-issuer-url=https://login.example.com, "--password-file=/etc/west/password", --bearer-token-file, /var/run/secrets/token]
        env:
        - name: API_TOKEN
          valueFrom:
            secretKeyRef: {name: west, key: token}
        - {name: POD_UID, value: %s}
        - {name: TOKEN_AUDIENCE, value: https://kubernetes.default.svc}
        - {name: DB_PASSWORD, value: $(PASSWORD_FROM_SECRET)}
        - {name: NEXT_PAGE_TOKEN, value: %s}
      volumes:
      - name: token
        projected: {sources: [{serviceAccountToken: {path: token, expirationSeconds: 3600}}]}
`, d.letters(9, small), d.hexes(32), d.hexes(32), d.uuid(), d.hexes(16))
}

// ofPrograms are sources, scripts and what stands beside them.
func (d Dice) ofPrograms() map[string]string {
	return map[string]string{
		"go.sum":            "example.com/west v1.2.3 h1:" + base64.StdEncoding.EncodeToString(d.random(32)) + "\n",
		"package-lock.json": `{"packages": {"node_modules/token": {"version": "1.0.0", "integrity": "sha512-` + base64.StdEncoding.EncodeToString(d.random(64)) + `"}}}`,
		"main.go":           "package main\n\nfunc main() {\n\ttoken := os.Getenv(\"WEST_TOKEN\")\n\tpassword := readPassword(token, \"password\")\n\treq.Header.Set(\"Authorization\", \"Bearer \"+token)\n\tlog.Printf(\"token=%s password=%q\", mask(token), mask(password))\n}\n",
		"client.py":         "token = get_token(client_id)\npassword = getpass.getpass(\"password: \")\nheaders = {\"Authorization\": f\"Bearer {token}\"}\nuser, password = parse(url)\nsession.auth = (user, config.password)\n",
		"main.tf":           "variable \"token\" {\n  type      = string\n  sensitive = true\n}\nprovider \"kubernetes\" {\n  token    = data.aws_eks_cluster_auth.west.token\n  password = var.west_password\n  username = var.west_username\n}\n",
		"login.sh":          "#!/bin/sh\noc login --token=\"$TOKEN\" --server=https://api.west.example.com:6443\nkubectl --token \"$(cat token)\" get nodes\ncurl -u \"$USER:$PASSWORD\" https://west.example.com\ncurl -H \"Authorization: Bearer ${TOKEN}\" https://west.example.com\nPASSWORD=$(pwgen 20 1)\n",
		"README.md":         "# Tokens\n\nThe `token:` field holds the bearer token. A private key begins with `-----BEGIN PRIVATE KEY-----` and ends with\n`-----END PRIVATE KEY-----`. An age identity looks like `AGE-SECRET-KEY-1...`.\n\n```yaml\ntoken: eyJhbGciOi...\npassword: <password>\nclient-key-data: LS0tLS1CRUdJTi...\n```\n\nhttps://user:password@example.com is no good idea.\n",
		"commit.txt":        "token: refresh after commit " + d.hexes(20) + "\nbuild-id: " + d.uuid() + "\n",
		"renovate.json":     `{"hostRules": [{"hostType": "docker", "username": "bot", "encrypted": {"password": "` + base64.StdEncoding.EncodeToString(d.random(200)) + `"}}]}`,
		"ansible.yaml":      "west_token: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  " + d.hexes(40) + "\n  " + d.hexes(40) + "\n",
	}
}

func (d Dice) uuid() string {
	h := d.hexes(16)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
