package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"clusterpair.dev/internal/report"
)

// Formats are those of [Export].
func Formats() []string { return []string{"cue", "jsonschema", "crd"} }

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
	switch {
	case format == "cue" && def != "":
		return refuse(errors.New("-o cue prints all definitions"), "clusterpair schema -o cue")
	case format == "cue":
		return CUE(), nil
	case format == "jsonschema":
		return JSONSchema(def), nil
	case format == "crd" && def == "":
		return CRD("#ClusterPair"), nil
	case format == "crd" && (def == "#ClusterPair" || def == "#ClusterPairWithMode" || def == "#ClusterPairWithoutMode"):
		return CRD(def), nil
	case format == "crd":
		return refuse(fmt.Errorf("the cluster holds ClusterPairs in clear, no %s", name), "clusterpair schema -o crd ClusterPair")
	}
	return refuse(fmt.Errorf("no output %q", format), "-o cue, -o jsonschema or -o crd")
}
