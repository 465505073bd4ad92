package render

import (
	"bytes"
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// Restyled tells whether what is rendered differs from what a file holds in its layout
// alone, as after a formatter, or line ends of Windows.
func Restyled(before, after []byte) bool {
	if before == nil || after == nil || bytes.Equal(before, after) {
		return false
	}
	one, err := manifest.Values(before, "")
	other, bad := manifest.Values(after, "")
	if err != nil || bad != nil || len(one) != 1 || len(other) != 1 {
		return false
	}
	for _, doc := range []*yaml.Node{one[0], other[0]} {
		for _, key := range []string{"mac", "lastmodified"} { // which are written anew with any file
			if n := manifest.Field(doc, "sops", key); n != nil {
				n.Value = ""
			}
		}
		if n := manifest.Field(doc, "metadata", "annotations", generator.AnnotationSource); n != nil {
			n.Value = "" // which takes in the layout
		}
	}
	return sameValue(one[0], other[0])
}

// sameValue tells whether two values are the same, however they are written. The order of
// keys does not count.
func sameValue(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || len(a.Content) != len(b.Content) {
		return false
	}
	switch a.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(a.Content); i += 2 {
			value := manifest.Field(b, a.Content[i].Value)
			if value == nil || !sameValue(a.Content[i+1], value) {
				return false
			}
		}
		return true
	case yaml.ScalarNode:
		return a.Value == b.Value && a.ShortTag() == b.ShortTag()
	}
	for i := range a.Content {
		if !sameValue(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

// Differs says that files are not what the config says, as sum has it: restyled of them in
// their layout alone. Its hint writes them anew: from paths, with open by --open.
func Differs(sum worktree.Summary, restyled int, open bool, paths []string) error {
	hint := "clusterpair generate"
	if open {
		hint += " --open"
	}
	hint += " -f " + strings.Join(report.TypedAll(paths), " -f ")
	err := errors.New("the rendered files are not what the config says")
	if sum.Created+sum.Removed == 0 && sum.Changed == restyled {
		err = errors.New("the rendered files say what the config says, in another layout: a formatter has changed them, or Git their line ends")
		hint = "leave them out of formatters, and in .gitattributes mark them as -text; then write them again: " + hint
	}
	return report.WithHint(err, "%s", hint)
}
