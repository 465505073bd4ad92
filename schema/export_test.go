package schema

import (
	"bytes"
	"errors"
	"testing"

	"clusterpair.dev/internal/report"
)

// TestExport gives each format the definitions that go with it, and refuses the others.
func TestExport(t *testing.T) {
	for _, c := range []struct {
		format, name string
		want         []byte
		err, hint    string
	}{
		{"cue", "", CUE(), "", ""},
		{"cue", "Encrypted", nil, "-o cue prints all definitions", "clusterpair schema -o cue"},
		{"jsonschema", "", JSONSchema(""), "", ""},
		{"jsonschema", "Encrypted", JSONSchema("#Encrypted"), "", ""},
		{"jsonschema", "#Encrypted", JSONSchema("#Encrypted"), "", ""},
		{"crd", "", CRD("#ClusterPair"), "", ""},
		{"crd", "ClusterPairWithMode", CRD("#ClusterPairWithMode"), "", ""},
		{"crd", "Encrypted", nil, "the cluster holds ClusterPairs in clear, no Encrypted", "clusterpair schema -o crd ClusterPair"},
		{"admission", "", Admission("#ClusterPair"), "", ""},
		{"admission", "ClusterPairWithMode", Admission("#ClusterPairWithMode"), "", ""},
		{"admission", "Encrypted", nil, "the cluster holds ClusterPairs in clear, no Encrypted", "clusterpair schema -o admission ClusterPair"},
		{"yaml", "", nil, `no output "yaml"`, "-o cue, -o jsonschema, -o crd or -o admission"},
		{"jsonschema", "Pair", nil, `there is no definition "Pair"`, "one of ClusterPair, "},
	} {
		got, err := Export(c.format, c.name)
		var usage *report.UsageError
		var hinted *report.HintedError
		switch {
		case c.err == "" && (err != nil || !bytes.Equal(got, c.want)):
			t.Errorf("-o %s %s: %v, %d bytes", c.format, c.name, err, len(got))
		case c.err != "" && (!errors.As(err, &usage) || !errors.As(err, &hinted) || err.Error() != c.err || !bytes.HasPrefix([]byte(hinted.Hint), []byte(c.hint))):
			t.Errorf("-o %s %s: %v", c.format, c.name, err)
		}
	}
}
