#!/usr/bin/env bash
# kubectl-validate takes a value of any type where a number or a string is to stand.
#
# Packages:  sigs.k8s.io/kubectl-validate 0.0.4; beside it k8s.io/apiextensions-apiserver
#            0.37.2, by which an API server judges the same object
# Input:     a Service with targetPort: [80], and an object of a definition with
#            x-kubernetes-int-or-string and port: true
# Guess:     both are refused, as each API server does
# Behaviour: both are OK. The schema of such a field has no type, and the extension that
#            stands for it is not looked at; rules in CEL and formats are.
# Output:    kubectl-validate service.yaml: OK
#            kubectl-validate pair.yaml: OK
#            kubectl-validate rule.yaml: Pair.example.com "a" is invalid: spec: Invalid value: "object": Sync needs a port
#            API server pair.yaml: [spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"]
set -euo pipefail
dir=$(mktemp -d); trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT; cd "$dir"
GOBIN=$dir go install sigs.k8s.io/kubectl-validate@v0.0.4
mkdir crds
cat > crds/pairs.yaml <<'END'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pairs.example.com}
spec:
  group: example.com
  names: {kind: Pair, plural: pairs, singular: pair, listKind: PairList}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              mode: {type: string}
              port: {x-kubernetes-int-or-string: true}
            x-kubernetes-validations:
            - {rule: "self.mode != 'Sync' || has(self.port)", message: Sync needs a port}
END
echo '{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80, targetPort: [80]}]}}' > service.yaml
echo '{apiVersion: example.com/v1, kind: Pair, metadata: {name: a}, spec: {mode: Async, port: true}}' > pair.yaml
echo '{apiVersion: example.com/v1, kind: Pair, metadata: {name: a}, spec: {mode: Sync}}' > rule.yaml
cat > main.go <<'END'
package main

import (
	"fmt"
	"log"
	"os"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"sigs.k8s.io/yaml"
)

func read(file string, into any) {
	data, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(data, into)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	var definition v1.CustomResourceDefinition
	read("crds/pairs.yaml", &definition)
	var schema apiextensions.JSONSchemaProps
	if err := v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(definition.Spec.Versions[0].Schema.OpenAPIV3Schema, &schema, nil); err != nil {
		log.Fatal(err)
	}
	validator, _, err := validation.NewSchemaValidator(&schema)
	if err != nil {
		log.Fatal(err)
	}
	var pair map[string]any
	read("pair.yaml", &pair)
	fmt.Println("API server pair.yaml:", validation.ValidateCustomResource(nil, pair, validator))
}
END
{ go mod init finding; go get k8s.io/apiextensions-apiserver@v0.37.2 sigs.k8s.io/yaml@v1.6.0; go mod tidy; } > log 2>&1 || { cat log; exit 1; }
{
	for file in service.yaml pair.yaml rule.yaml; do
		said=$({ ./kubectl-validate --local-crds crds "$file" 2>&1 || true; } | sed 's/\x1b\[[0-9;]*m//g' | grep -e "OK$" -e Invalid)
		echo "kubectl-validate $file: ${said#"$file..."}"
	done
	go run .
} | tee got
diff got - <<'END'
kubectl-validate service.yaml: OK
kubectl-validate pair.yaml: OK
kubectl-validate rule.yaml: Pair.example.com "a" is invalid: spec: Invalid value: "object": Sync needs a port
API server pair.yaml: [spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"]
END
