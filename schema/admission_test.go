package schema

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/report"
)

// TestAdmission: each message names the place, the rule and what to do, and the first policy
// has each rule of the catalogue by which a pair in the cluster stops Stork. What the policies
// judge is tested in e2e/guard, with the library of the API server.
func TestAdmission(t *testing.T) {
	seen := make(map[string]map[string]bool) // rules by policy
	decoder := yaml.NewDecoder(bytes.NewReader(Admission("#ClusterPair")))
	for {
		var document struct {
			Kind     string
			Metadata struct{ Name string }
			Spec     struct {
				PolicyName        string   `yaml:"policyName"`
				ValidationActions []string `yaml:"validationActions"`
				Validations       []struct{ Message string }
			}
		}
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := document.Metadata.Name
		if document.Kind == "ValidatingAdmissionPolicyBinding" {
			want := map[string]string{DecodePolicy: "Deny", MisusePolicy: "Warn Audit", SchedulesPolicy: "Deny", PoliciesPolicy: "Deny"}[name]
			if got := strings.Join(document.Spec.ValidationActions, " "); got != want || document.Spec.PolicyName != name || seen[name] == nil {
				t.Errorf("%s: %s of %s", name, got, document.Spec.PolicyName)
			}
			continue
		}
		seen[name] = make(map[string]bool)
		for _, v := range document.Spec.Validations {
			message, hint, ok := strings.Cut(v.Message, "]; ")
			place, text, _ := strings.Cut(message, ": ")
			text, rule, _ := strings.Cut(text, " [")
			if _, known := report.RuleOf(rule); !known || !ok || hint == "" || text == "" || !strings.HasPrefix(place, "sp") && !strings.HasPrefix(place, "status") && !strings.HasPrefix(place, "policy") && place != "sops" {
				t.Errorf("%s: %s", name, v.Message)
			}
			seen[name][rule] = true
		}
	}
	for _, r := range report.Rules() {
		if seen[DecodePolicy][r.ID] != (r.Undecodable || r.ID == "still-encrypted" || r.ID == "rancher-mapping") {
			t.Errorf("%s is in the policy: %v", r.ID, seen[DecodePolicy][r.ID])
		}
		// Of a reference in place of the kubeconfig Stork decodes nothing, and does not mind.
		if seen[MisusePolicy][r.ID] && (r.Undecodable && r.ID != "config-not-object" || r.Severity != report.Error) {
			t.Errorf("%s is a misuse", r.ID)
		}
	}
}
