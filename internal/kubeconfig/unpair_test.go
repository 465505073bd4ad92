package kubeconfig

import (
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestPairAndBack turns the config of a ClusterPair into a kubeconfig, from which the same
// config is rendered, but for what storkctl and Stork have added.
func TestPairAndBack(t *testing.T) {
	for name, user := range map[string]string{
		"token":           "{LocationOfOrigin: /root/.kube/config, token: " + opaque + "}",
		"acts as another": "{token: " + opaque + ", act-as: migrator, act-as-uid: \"7\", act-as-groups: [dr], act-as-user-extra: {reason: [failover]}}",
		"exec": "{exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [eks, get-token], env: [{name: AWS_PROFILE, value: dr}], " +
			"InteractiveMode: Never, interactiveMode: Never}}",
	} {
		t.Run(name, func(t *testing.T) {
			text := "clusters: {west: {LocationOfOrigin: /root/.kube/config, certificate-authority-data: " + authority.data() + ", server: \"https://west.example.com:6443\"}}\n" +
				"contexts: {dr-west: {LocationOfOrigin: /root/.kube/config, cluster: west, user: dr}}\ncurrent-context: dr-west\npreferences: {}\nusers: {dr: " + user + "}\n"
			var config yaml.Node
			if err := yaml.Unmarshal([]byte(text), &config); err != nil {
				t.Fatal(err)
			}
			d, findings := FromDocument(OfPair(&config), "kubeconfig", Options{Now: now, StorkVersion: "24.4", Allow: AllowAll()})
			if d == nil {
				t.Fatal(findings)
			}
			var got, want map[string]any
			if err := d.Config("24.4").Decode(&got); err != nil {
				t.Fatal(err)
			}
			text = strings.ReplaceAll(strings.Replace(text, "preferences: {}\n", "", 1), "LocationOfOrigin: /root/.kube/config, ", "")
			if err := yaml.Unmarshal([]byte(text), &want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got\n%v\nwant\n%v", got, want)
			}
		})
	}
}
