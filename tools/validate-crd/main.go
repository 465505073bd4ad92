// Command validate-crd does with a CustomResourceDefinition what the API
// server does: it checks the definition itself, then the objects of the other
// files against it, strictly as kubectl has them checked.
//
//	validate-crd CRD.yaml OBJECTS.yaml...
//
// It prints a line for each document: its file, its number from 1, and ok or
// what is wrong. The exit code is 1 if the definition is wrong.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	sigsyaml "sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("usage: validate-crd CRD OBJECTS")
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	structural, validator, err := load(data)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	for _, file := range args[1:] {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
		for i := 1; ; i++ {
			text, err := reader.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			fmt.Printf("%s %d %s\n", file, i, judge(text, structural, validator))
		}
	}
	return nil
}

func load(data []byte) (*schema.Structural, validation.SchemaValidator, error) {
	var external v1.CustomResourceDefinition
	if err := sigsyaml.UnmarshalStrict(data, &external); err != nil {
		return nil, nil, err
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	scheme.Default(&external)
	var crd apiextensions.CustomResourceDefinition
	if err := scheme.Convert(&external, &crd, nil); err != nil {
		return nil, nil, err
	}
	crd.Status.StoredVersions = []string{crd.Spec.Versions[0].Name}
	if errs := crdvalidation.ValidateCustomResourceDefinition(context.Background(), &crd); len(errs) > 0 {
		return nil, nil, errs.ToAggregate()
	}
	props := crd.Spec.Validation
	if props == nil {
		props = crd.Spec.Versions[0].Schema
	}
	structural, err := schema.NewStructural(props.OpenAPIV3Schema)
	if err != nil {
		return nil, nil, err
	}
	validator, _, err := validation.NewSchemaValidator(props.OpenAPIV3Schema)
	return structural, validator, err
}

func judge(text []byte, structural *schema.Structural, validator validation.SchemaValidator) string {
	var object map[string]any
	if err := sigsyaml.UnmarshalStrict(text, &object); err != nil {
		return "not read"
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, structural)
	unknown := pruning.PruneWithOptions(object, structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	wrong := []string{}
	for _, path := range unknown {
		wrong = append(wrong, "unknown field "+path)
	}
	errs := validation.ValidateCustomResource(nil, object, validator)
	if len(errs) == 0 { // the server, too, asks for rules last
		errs, _ = cel.NewValidator(structural, true, celconfig.PerCallLimit).
			Validate(context.Background(), nil, structural, object, nil, celconfig.RuntimeCELCostBudget)
	}
	for _, err := range errs {
		wrong = append(wrong, strings.ReplaceAll(err.Error(), "\n", " "))
	}
	if len(wrong) == 0 {
		return "ok"
	}
	return strings.Join(wrong, "; ")
}
