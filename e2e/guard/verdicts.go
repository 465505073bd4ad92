// Package guard judges the policies of clusterpair schema -o admission with the library of
// the API server: agreement with Stork's decoder, cost, and the oldest release for which they
// compile.
package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Verdict is what a Stork and validate say of a pair that an API server stores.
type Verdict struct {
	Text              string
	Unread, Undecoded string   // why not, by kubectl or the API server; by a Stork
	Found             []string // by validate
}

// Verdicts are those of all pairs of the oracle, and of thousands of mutants. A test of the module
// at root writes them into a file.
func Verdicts(file, root string) (all []Verdict, err error) {
	cmd := exec.Command("go", "test", "-count", "1", "-tags", "peers", "-run", "^TestStorkVerdicts$", "./internal/validate")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "STORK_VERDICTS="+file)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	lines, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer lines.Close()
	for decoder := json.NewDecoder(lines); ; {
		var v Verdict
		if err := decoder.Decode(&v); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if v.Unread == "" {
			all = append(all, v)
		}
	}
}

// Object is a text of YAML or JSON as an API server has it.
func Object(text string) (map[string]any, error) {
	data := []byte(text)
	if !json.Valid(data) {
		var err error
		if data, err = yaml.YAMLToJSON(data); err != nil {
			return nil, err
		}
	}
	var u unstructured.Unstructured // with its numbers
	err := u.UnmarshalJSON(data)
	return u.Object, err
}

// MayRefuse tells whether the first policy may refuse a pair although Stork decodes it: it holds
// ciphertext, or a null entry that is in no use yet.
func MayRefuse(pair map[string]any) bool { return ciphertext(pair) || nullEntry(pair) }

func ciphertext(x any) bool {
	switch x := x.(type) {
	case string:
		return strings.HasPrefix(x, "ENC[")
	case []any:
		return slices.ContainsFunc(x, ciphertext)
	case map[string]any:
		for key, value := range x {
			if key == "sops" || ciphertext(value) {
				return true
			}
		}
	}
	return false
}

func nullEntry(pair map[string]any) bool {
	for _, field := range []string{"clusters", "contexts", "users"} {
		entries, _, _ := unstructured.NestedMap(pair, "spec", "config", field)
		for _, entry := range entries {
			if entry == nil {
				return true
			}
		}
	}
	return false
}
