package validate_test

import (
	"fmt"
	"strings"
	"testing"

	"clusterpair.dev/internal/validate"
)

// TestWaiverPlaces: a waiver counts behind its value, in lines above it, and in front of its
// document.
func TestWaiverPlaces(t *testing.T) {
	const (
		pair = `apiVersion: stork.libopenstorage.org/v1alpha1
kind: ClusterPair
metadata:
  name: west
  namespace: apps
spec:
  config:
    clusters:
      west:
        insecure-skip-tls-verify: true
        server: https://west.example.com:6443
    contexts:
      west:
        cluster: west
        user: stork
    current-context: west
    users:
      stork:
        token: hunter2hunter2hunter2
  options: {}
`
		waiver = "# clusterpair:ignore tls-skipped the tunnel ends in the pod"
		value  = "        insecure-skip-tls-verify: true\n"
	)
	put := func(text string) string { return strings.Replace(pair, value, text, 1) }
	behind, above := put(strings.TrimSuffix(value, "\n")+" "+waiver+"\n"), put("        "+waiver+"\n\n        # and more about it\n"+value)
	head := "# The pair of the west.\n#clusterpair:ignore   tls-skipped  the tunnel ends in the pod\n" + pair
	other := strings.Replace(pair, "name: west\n", "name: north\n", 1)
	for name, c := range map[string]struct{ text, want string }{
		"none":                      {pair, "error"},
		"behind":                    {behind, "waived"},
		"above":                     {above, "waived"},
		"in front of the document":  {head, "waived"},
		"line ends of Windows":      {strings.ReplaceAll(behind, "\n", "\r\n"), "waived"},
		"a head of Windows":         {strings.ReplaceAll(head, "\n", "\r\n"), "waived"},
		"of the first document":     {head + "---\n" + other, "waived, error"},
		"of the second document":    {other + "---\n" + head, "error, waived"},
		"behind another value":      {strings.Replace(pair, "hunter2\n", "hunter2 "+waiver+"\n", 1), "error, waives nothing"},
		"at the end of the file":    {pair + waiver + "\n", "error, waives nothing"},
		"in a text that looks like": {put(value + "        tls-server-name: \"" + waiver + "\"\n"), "error"},
	} {
		t.Run(name, func(t *testing.T) {
			v := validate.New(validate.Options{Plaintext: true})
			if err := v.File(t.Context(), validate.File{Name: "pair.yaml", Path: "pair.yaml", Data: []byte(c.text)}); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range v.Findings() {
				switch {
				case f.Rule == "waiver":
					got = append(got, "waives nothing")
				case f.Rule != "tls-skipped":
				case f.Waived != "":
					got = append(got, "waived")
				default:
					got = append(got, fmt.Sprint(f.Severity))
				}
			}
			if got := strings.Join(got, ", "); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
