package generator

import (
	"fmt"

	"sigs.k8s.io/kustomize/kyaml/kio"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"

	"clusterpair.dev/internal/report"
)

// ResourceList is what kustomize hands to a function, and gets back. It is that of
// kyaml/fn/framework, which brings a validator of OpenAPI that takes a tenth of the
// start-up of clusterpair.
// https://github.com/kubernetes-sigs/kustomize/blob/master/cmd/config/docs/api-conventions/functions-spec.md
type ResourceList struct {
	// Items are the objects of the build.
	Items []*kyaml.RNode
	// FunctionConfig is the config of the function; nil if the list has none.
	FunctionConfig *kyaml.RNode
	// Results are the findings as tools other than kustomize read them.
	Results []ListResult
}

// ListResult is a finding in a ResourceList.
type ListResult struct {
	Message  string     `yaml:"message,omitempty"`
	Severity string     `yaml:"severity,omitempty"`
	Field    *ListPlace `yaml:"field,omitempty"`
	File     *ListPlace `yaml:"file,omitempty"`
}

// ListPlace is the field of an object, or the file, that a ListResult is about.
type ListPlace struct {
	Path string `yaml:"path,omitempty"`
}

// Execute reads a ResourceList, has it processed, and writes it again, even after an
// error of process. read says whether there was one to process.
func Execute(stream *kio.ByteReadWriter, process func(*ResourceList) error) (read bool, err error) {
	var rl ResourceList
	if rl.Items, err = stream.Read(); err != nil {
		return false, err
	}
	rl.FunctionConfig = stream.FunctionConfig
	// kustomize knows paths and indexes by annotations of two spellings.
	annotations, err := kio.PreprocessResourcesForInternalAnnotationMigration(rl.Items)
	if err != nil {
		return false, err
	}
	failure := process(&rl)
	if err := kio.ReconcileInternalAnnotations(rl.Items, annotations); err != nil {
		return true, err
	}
	if len(rl.Results) > 0 {
		text, err := kyaml.Marshal(rl.Results)
		if err != nil {
			return true, err
		}
		if stream.Results, err = kyaml.Parse(string(text)); err != nil {
			return true, err
		}
	}
	if err := stream.Write(rl.Items); err != nil {
		return true, err
	}
	return true, failure
}

// results are findings in the form of the function specification.
func results(findings []report.Finding) []ListResult {
	var rs []ListResult
	for _, f := range findings {
		r := ListResult{Message: fmt.Sprintf("%s [%s]", f.Message, f.Rule), Severity: "info"}
		switch f.Severity {
		case report.Error:
			r.Severity = "error"
		case report.Warning:
			r.Severity = "warning"
		}
		if f.Path != "" {
			r.Field = &ListPlace{Path: f.Path}
		}
		if f.Position.File != "" {
			r.File = &ListPlace{Path: f.Position.File}
		}
		rs = append(rs, r)
	}
	return rs
}
