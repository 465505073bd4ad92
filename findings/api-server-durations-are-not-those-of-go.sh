#!/usr/bin/env bash
# An API server takes durations that no controller in Go can read.
#
# Package:   k8s.io/apiextensions-apiserver 0.37.2 (Go), by which an API server judges the
#            objects of a CustomResourceDefinition
# Input:     texts for a field with format: duration, such as the interval of a schedule
# Guess:     the texts of time.ParseDuration, as metav1.Duration writes and reads them
# Behaviour: words, spaces, days and weeks, capitals and durations of ISO 8601 pass, too, but
#            not months, and no number without a unit. A controller that decodes the field
#            into metav1.Duration cannot read such an object, and the API server has said that
#            it is valid.
# Output:    "1h30m": API server true, metav1.Duration true
#            "2 weeks": API server true, metav1.Duration false
#            "1 hour 30 minutes": API server true, metav1.Duration false
#            "1d": API server true, metav1.Duration false
#            "1H": API server true, metav1.Duration false
#            "PT1H": API server true, metav1.Duration false
#            "2 months": API server false, metav1.Duration false
#            "90": API server false, metav1.Duration false
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
cat > main.go <<'END'
package main

import (
	"encoding/json"
	"fmt"
	"log"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func main() {
	validator, _, err := validation.NewSchemaValidator(&apiextensions.JSONSchemaProps{Type: "string", Format: "duration"})
	if err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"1h30m", "2 weeks", "1 hour 30 minutes", "1d", "1H", "PT1H", "2 months", "90"} {
		quoted, err := json.Marshal(text)
		if err != nil {
			log.Fatal(err)
		}
		valid := len(validation.ValidateCustomResource(nil, text, validator)) == 0
		fmt.Printf("%s: API server %t, metav1.Duration %t\n", quoted, valid, json.Unmarshal(quoted, new(metav1.Duration)) == nil)
	}
}
END
{ go mod init finding; go get k8s.io/apiextensions-apiserver@v0.37.2 k8s.io/apimachinery@v0.37.2; go mod tidy; } > log 2>&1 || { cat log; exit 1; }
go run . | tee got
diff got - <<'END'
"1h30m": API server true, metav1.Duration true
"2 weeks": API server true, metav1.Duration false
"1 hour 30 minutes": API server true, metav1.Duration false
"1d": API server true, metav1.Duration false
"1H": API server true, metav1.Duration false
"PT1H": API server true, metav1.Duration false
"2 months": API server false, metav1.Duration false
"90": API server false, metav1.Duration false
END
