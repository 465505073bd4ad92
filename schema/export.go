package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"clusterpair.dev/internal/report"
)

// Formats are those of [Export].
func Formats() []string { return []string{"cue", "jsonschema", "crd", "admission"} }

// Export is the schema for another tool, in one of the [Formats]: all of it, or what it
// says of one of the [DefinitionNames]. An error is wrong use.
func Export(format, name string) ([]byte, error) {
	refuse := func(err error, hint string) ([]byte, error) {
		return nil, report.Usage(report.WithHint(err, "%s", hint))
	}
	def := ""
	if name != "" {
		def = "#" + strings.TrimPrefix(name, "#")
		if !slices.Contains(definitions, def) {
			return refuse(fmt.Errorf("there is no definition %q", name), "one of "+strings.Join(DefinitionNames(), ", "))
		}
	}
	print, inCluster := map[string]func(string) []byte{"crd": CRD, "admission": Admission}[format]
	switch {
	case format == "cue" && def != "":
		return refuse(errors.New("-o cue prints all definitions"), "clusterpair schema -o cue")
	case format == "cue":
		return CUE(), nil
	case format == "jsonschema":
		return JSONSchema(def), nil
	case inCluster && def == "":
		return print("#ClusterPair"), nil
	case inCluster && (def == "#ClusterPair" || def == "#ClusterPairWithMode" || def == "#ClusterPairWithoutMode"):
		return print(def), nil
	case inCluster:
		return refuse(fmt.Errorf("the cluster holds ClusterPairs in clear, no %s", name), map[string]string{"crd": "clusterpair schema -o crd ClusterPair", "admission": "clusterpair schema -o admission ClusterPair"}[format])
	}
	return refuse(fmt.Errorf("no output %q", format), "-o cue, -o jsonschema, -o crd or -o admission")
}
