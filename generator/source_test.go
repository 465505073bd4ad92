package generator

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/kubeconfig"
)

// sample is what a pair is rendered from.
type sample struct {
	Config, StorkVersion, SpecMode string
	Pair                           Pair
	Secret, Namespace, Label       string
	Token                          string // in the kubeconfig
	StorageToken                   string // in another Secret
}

func newSample() sample {
	s := sample{Config: "east", StorkVersion: "24.3", Secret: "west-kubeconfig", Namespace: "fleet", Token: "abc", StorageToken: "def"}
	s.Pair.Name, s.Pair.Namespace = "west", "apps"
	s.Pair.Destination.Secret = &SecretReference{Name: "west-kubeconfig"}
	s.Pair.Options.IP = "10.0.0.9"
	s.Pair.Options.TokenFrom = &struct {
		Secret SecretReference `yaml:"secret"`
	}{SecretReference{Name: "storage"}}
	s.Pair.Labels = map[string]string{"a": "b"}
	s.Pair.Annotations = map[string]string{"a": "b"}
	s.Pair.ProjectMappings = map[string]string{"a": "b"}
	s.Pair.Allow = []Allowance{{Rule: "a", Reason: "b"}}
	return s
}

// secret is a Secret as it stands in a file. Each value has a ciphertext of its own.
func (s *sample) secret(name, value string, sealed bool) *yaml.Node {
	if sealed {
		value = "ENC[AES256_GCM,data:" + hex.EncodeToString([]byte(value)) + "]"
	}
	return mapping("kind", text("Secret"),
		"metadata", mapping("name", text(name), "namespace", text(s.Namespace), "labels", mapping("app", text(s.Label))),
		"stringData", mapping("kubeconfig", text(value), "config", text("")))
}

func (s *sample) kubeconfig() string {
	doc, _ := yaml.Marshal(mapping("kind", text("Config"), "apiVersion", text("v1"), "current-context", text("a"),
		"clusters", list(mapping("name", text("a"), "cluster", mapping("server", text("https://a.example.com"), "insecure-skip-tls-verify", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"}))),
		"contexts", list(mapping("name", text("a"), "context", mapping("cluster", text("a"), "user", text("a")))),
		"users", list(mapping("name", text("a"), "user", mapping("token", text(s.Token))))))
	return string(doc)
}

func list(item *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: []*yaml.Node{item}}
}

// source is the digest of a sample, and the pair that is rendered from it. The pair is
// nil if there is none.
func (s *sample) source() (source []byte, pair []byte) {
	c := new(Config)
	c.Metadata.Name, c.Spec.StorkVersion, c.Spec.Mode = s.Config, s.StorkVersion, s.SpecMode
	c.complete()
	p := s.Pair
	r := &run{config: c}
	document := func(name, value string) *document {
		sealed := Seal(s.secret(name, value, true), "f.yaml", true)[0]
		return &document{header: sealed.header, digest: sealed.digest}
	}
	source = r.source(&job{pair: &p, destination: document(s.Secret, s.kubeconfig()), token: document("storage", s.StorageToken)})
	secret, _ := kubeconfig.ParseSecret(s.secret(s.Secret, s.kubeconfig(), false), "f.yaml")
	o := r.options(&p)
	o.Now, o.Allow = time.Unix(0, 0), map[string]bool{"tls-skipped": true}
	d, _ := kubeconfig.FromSecret(secret, o)
	if d == nil {
		return source, nil
	}
	pair, _ = yaml.Marshal(c.render(&p, d, s.StorageToken, nil))
	return source, pair
}

// TestSourceTellsEachField changes each field of what the config says of a pair, so
// that none is forgotten which a later version adds.
func TestSourceTellsEachField(t *testing.T) {
	base := newSample()
	before, _ := base.source()
	harmless := map[string]bool{".Pair.Destination.File": true, ".Pair.Destination.Secret.Name": true, ".Pair.Destination.Secret.Namespace": true,
		".Pair.Position.File": true, ".Pair.Position.Line": true, ".Pair.Position.Column": true} // where, not what
	var leaves int
	var walk func(path string, v func(*sample) reflect.Value)
	walk = func(path string, v func(*sample) reflect.Value) {
		changed := newSample()
		field := v(&changed)
		switch field.Kind() {
		case reflect.Struct:
			for i := range field.NumField() {
				if f := field.Type().Field(i); f.IsExported() {
					walk(path+"."+f.Name, func(s *sample) reflect.Value { return v(s).Field(i) })
				}
			}
			return
		case reflect.Pointer:
			walk(path, func(s *sample) reflect.Value { return v(s).Elem() })
			return
		case reflect.Slice:
			walk(path, func(s *sample) reflect.Value { return v(s).Index(0) })
			return
		case reflect.Map:
			field.SetMapIndex(reflect.ValueOf("a"), reflect.ValueOf("c"))
		case reflect.String:
			field.SetString(field.String() + "x")
		case reflect.Int:
			field.SetInt(field.Int() + 1)
		default:
			t.Fatalf("%s is of kind %v: teach the test", path, field.Kind())
		}
		leaves++
		if after, _ := changed.source(); bytes.Equal(before, after) != harmless[path] {
			t.Errorf("%s: the digest is the same: %t, want %t", path, bytes.Equal(before, after), harmless[path])
		}
	}
	walk("", func(s *sample) reflect.Value { return reflect.ValueOf(s).Elem() })
	if leaves < 25 {
		t.Errorf("only %d fields were found", leaves)
	}
}

// TestSourceOfClear: a digest of what stands in clear would let others guess it.
func TestSourceOfClear(t *testing.T) {
	s := newSample()
	for name, doc := range map[string]*yaml.Node{
		"a Secret in clear":     s.secret("a", "password", false),
		"one of its values":     mapping("kind", text("Secret"), "data", mapping("a", text("ENC[x]"), "b", text("cGFzcw=="))),
		"a kubeconfig in clear": mapping("kind", text("Config"), "users", text("a")),
	} {
		if got := Seal(doc, "f.yaml", true)[0].digest; got != nil {
			t.Errorf("%s has a digest", name)
		}
	}
	if Seal(s.secret("a", "password", true), "f.yaml", false)[0].digest != nil {
		t.Error("a Secret without a sops section has a digest")
	}
	a, b := s.secret("a", "x", true), s.secret("a", "x", true)
	b.Content[3].Content = append(b.Content[3].Content, text("annotations"), mapping("c", text("d")))
	data := b.Content[5].Content
	b.Content[5].Content = append(data[2:4:4], data[:2]...)
	if !bytes.Equal(Seal(a, "f.yaml", true)[0].digest, Seal(b, "f.yaml", true)[0].digest) {
		t.Error("an annotation, or the order of keys, changes the digest")
	}
}

// FuzzSource: what changes the rendered pair changes the digest.
func FuzzSource(f *testing.F) {
	for field := range uint(17) {
		f.Add(field, "west", "x")
	}
	f.Fuzz(func(t *testing.T, field uint, from, to string) {
		a, b := newSample(), newSample()
		*a.field(field), *b.field(field) = from, to
		sourceA, pairA := a.source()
		sourceB, pairB := b.source()
		if from == to && !bytes.Equal(sourceA, sourceB) {
			t.Error("the same input has two digests")
		}
		if !bytes.Equal(pairA, pairB) && bytes.Equal(sourceA, sourceB) && strings.ToValidUTF8(from, "") == from && strings.ToValidUTF8(to, "") == to {
			t.Errorf("field %d: %q and %q render different pairs with one digest", field%17, from, to)
		}
	})
}

// field is one of the inputs.
func (s *sample) field(i uint) *string {
	p := &s.Pair
	if i%17 == 16 {
		p.Allow = []Allowance{{}}
		return &p.Allow[0].Reason
	}
	return []*string{&s.Config, &s.StorkVersion, &s.SpecMode, &s.Secret, &s.Namespace, &s.Label, &s.Token, &s.StorageToken, &p.Name, &p.Namespace, &p.Mode,
		&p.Destination.Server, &p.Destination.TLSServerName, &p.Destination.Context, &p.Options.Port, &p.Options.BackupLocation}[i%17]
}
