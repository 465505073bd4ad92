package kustomize

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/resmap"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
	"clusterpair.dev/schema"
)

// decrypter decrypts Kubernetes objects that SOPS has encrypted, their MAC
// verified.
type decrypter struct {
	ctx     context.Context
	decrypt func(ctx context.Context, data []byte, file string) ([]*yaml.Node, error)
	kept    *kept // nil leaves everything in its place
}

// object is a document of a file.
type object struct {
	node   *yaml.Node // where the values stand in the file
	text   []byte     // in clear, begins with a line ---
	opened bool       // it was encrypted
}

// open gives the documents of a file, Kubernetes objects decrypted, and tells
// whether any was. What is no object, such as a file for a ConfigMap, is left as it is.
func (d *decrypter) open(data []byte, file string) (objects []object, decrypted bool, err error) {
	var sealed []manifest.Document // those of one SOPS file
	flush := func() {
		if len(sealed) == 0 || err != nil {
			return
		}
		var more []object
		more, err = d.unseal(sealed, file)
		objects, sealed, decrypted = append(objects, more...), nil, true
	}
	manifest.Scan(data, file, func(doc manifest.Document, broken *report.Finding) {
		if broken != nil && err == nil {
			err = *broken
		}
		if err != nil {
			return
		}
		if sopsfile.IsEncrypted(doc.Node) && manifest.Field(doc.Node, "apiVersion") != nil && manifest.Field(doc.Node, "kind") != nil {
			// sops seals the documents of a file together, by one MAC.
			if len(sealed) > 0 && mac(sealed[0]) != mac(doc) {
				flush()
			}
			sealed = append(sealed, doc)
			return
		}
		flush()
		text := doc.Text
		if !bytes.HasPrefix(text, []byte("---")) {
			text = append([]byte("---\n"), text...)
		}
		if !bytes.HasSuffix(text, []byte("\n")) {
			text = append(text[:len(text):len(text)], '\n')
		}
		objects = append(objects, object{node: doc.Node, text: text})
	})
	flush()
	return objects, decrypted, err
}

func mac(doc manifest.Document) string { return manifest.Text(doc.Node, "sops", "mac") }

// unseal decrypts the documents of one SOPS file.
func (d *decrypter) unseal(docs []manifest.Document, file string) ([]object, error) {
	text := bytes.Repeat([]byte("\n"), docs[0].Line-1) // messages count from the top of the file
	for _, doc := range docs {
		if err := checkSealedPlaces(doc.Node, file); err != nil {
			return nil, err
		}
		if err := seal.CheckSelected(doc.Node, file); err != nil {
			return nil, err
		}
		text = append(text, doc.Text...)
	}
	plain, err := d.decrypt(d.ctx, text, file)
	if err != nil {
		return nil, seal.Explain(err, file)
	}
	objects := make([]object, len(plain))
	for i, doc := range plain {
		d.kept.keep(manifest.Contents(plain[i : i+1])[0], fmt.Sprintf("%s:%d", file, docs[min(i, len(docs)-1)].Line))
		text, err := sopsfile.Marshal([]*yaml.Node{doc}, 2)
		if err != nil {
			return nil, seal.Explain(err, file)
		}
		objects[i] = object{node: manifest.Contents(plain[i : i+1])[0], text: append([]byte("---\n"), text...), opened: true}
	}
	return objects, nil
}

// kept is what kustomize does not get to see of a ClusterPair or a Secret: who can
// write to Git and has no key could let it send the credential to another server,
// or copy it into another object. It works on objects with marks in the places of
// what was encrypted, which nobody can have foreseen.
type kept struct {
	mark    string
	objects []keptObject
}

// keptObject is what was taken out of one object.
type keptObject struct {
	at       string // file and line
	pair     bool
	values   []*yaml.Node
	returned bool
}

func newKept() *kept { return &kept{mark: "kept-" + rand.Text() + "-"} }

// sealedPaths are where an object may be encrypted, by its kind.
func sealedPaths(n *yaml.Node) [][]string {
	apiVersion, kind := manifest.Text(n, "apiVersion"), manifest.Text(n, "kind")
	switch {
	case kind == generator.ClusterPairKind && strings.HasPrefix(apiVersion, "stork.libopenstorage.org/"):
		return [][]string{{"spec", "config"}, {"spec", "options", "token"}}
	case kind == "Secret" && apiVersion == "v1":
		return [][]string{{"data"}, {"stringData"}}
	}
	return nil
}

// places are what an object keeps, and where.
func places(n *yaml.Node) []**yaml.Node {
	var all []**yaml.Node
	for _, path := range sealedPaths(n) {
		last := len(path) - 1
		parent := manifest.Field(n, path[:last]...)
		if parent == nil || parent.Kind != yaml.MappingNode {
			continue
		}
		for i := 0; i+1 < len(parent.Content); i += 2 {
			if parent.Content[i].Value == path[last] {
				all = append(all, &parent.Content[i+1])
			}
		}
	}
	return all
}

// checkSealedPlaces refuses an encrypted object that is neither a ClusterPair nor a
// Secret, or that has ciphertext elsewhere than those have it. The kind stands in
// clear, and SOPS takes spec.config, a key named spec:config and what is in a list
// below spec for the same place: who has no key could have made of a pair something
// that is not kept from kustomize.
func checkSealedPlaces(n *yaml.Node, file string) error {
	f := report.Finding{Severity: report.Error, Position: manifest.Position(n, file),
		Hint: "restore the file from Git history, or render it anew: clusterpair generate -f CONFIG"}
	paths := sealedPaths(n)
	if paths == nil {
		f.Rule, f.Message = "pair-kind", "an encrypted object that is neither a ClusterPair nor a Secret: build --decrypt opens no other, as nobody without a key could tell whether it was one of them"
		f.Hint = "restore the file from Git history; what is meant to be of another kind has no place here"
		return f
	}
	var stray *yaml.Node
	var walk func(n *yaml.Node, path []string)
	walk = func(n *yaml.Node, path []string) {
		for _, allowed := range paths {
			if slices.Equal(path, allowed) {
				return
			}
		}
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				if key := n.Content[i].Value; len(path) > 0 || key != "sops" {
					walk(n.Content[i+1], append(path[:len(path):len(path)], key))
				}
			}
		case yaml.SequenceNode:
			for _, c := range n.Content {
				walk(c, append(path[:len(path):len(path)], "[]"))
			}
		case yaml.AliasNode:
			stray = n
		default:
			if strings.HasPrefix(n.Value, "ENC[") {
				stray = n
			}
		}
	}
	walk(n, nil)
	if stray == nil {
		return nil
	}
	f.Rule, f.Position.Line, f.Position.Column = "ambiguous-path", stray.Line, stray.Column
	f.Message = "ciphertext in a place where a " + manifest.Text(n, "kind") + " has none: without a key anybody could have put it there"
	return f
}

// namesKept tells whether a message of kustomize is of what it does not find.
func namesKept(message string) bool {
	return strings.Contains(message, "spec.config") || strings.Contains(message, "/spec/config")
}

// keep takes the values out of an object, which stands at a place in a file. Each
// mark has the kind of its value, so that kustomize merges into the one what it
// would have merged into the other.
func (k *kept) keep(n *yaml.Node, at string) {
	if k == nil {
		return
	}
	o := keptObject{at: at, pair: manifest.Text(n, "kind") == generator.ClusterPairKind}
	for _, at := range places(n) {
		mark := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: fmt.Sprintf("%s%d-%d", k.mark, len(k.objects), len(o.values))}
		o.values = append(o.values, *at)
		if (*at).Kind == yaml.MappingNode {
			mark = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{mark, {Kind: yaml.ScalarNode, Tag: "!!str", Value: "kept"}}}
		}
		*at = mark
	}
	k.objects = append(k.objects, o)
}

// giveBack puts the values of an object back. It tells whether there were any: all
// that were taken out of one object, each in its place, and once.
func (k *kept) giveBack(n *yaml.Node, text []byte) (bool, error) {
	marks := bytes.Count(text, []byte(k.mark))
	if marks == 0 {
		return false, nil
	}
	refused := errors.New("the kustomization changes, moves or copies what is encrypted")
	all := places(n)
	if len(all) != marks {
		return false, refused
	}
	var whose *keptObject
	for i, at := range all {
		mark := *at
		if mark.Kind == yaml.MappingNode && len(mark.Content) == 2 {
			mark = mark.Content[0]
		}
		var object, value int
		if _, err := fmt.Sscanf(mark.Value, k.mark+"%d-%d", &object, &value); err != nil || object < 0 || object >= len(k.objects) || mark.Value != fmt.Sprintf("%s%d-%d", k.mark, object, value) {
			return false, refused
		}
		if o := &k.objects[object]; whose == nil && !o.returned && len(o.values) == len(all) {
			whose = o
		}
		if whose != &k.objects[object] || value != i || whose.values[i].Kind != (*at).Kind {
			return false, refused
		}
	}
	for i, at := range all {
		*at = whose.values[i]
	}
	whose.returned = true
	return true, nil
}

// lost is where a ClusterPair stands that was opened and is not in the result.
func (k *kept) lost() string {
	returned := make(map[string]bool)
	for _, o := range k.objects {
		returned[o.at] = returned[o.at] || o.returned
	}
	for _, o := range k.objects {
		if o.pair && len(o.values) > 0 && !returned[o.at] {
			return o.at
		}
	}
	return ""
}

// errLost says that a ClusterPair is missing from the result.
func errLost(at string) error {
	return report.WithHint(fmt.Errorf("%s: the ClusterPair is not in the result: Argo CD would delete it, and Stork forget the destination", at),
		"look for the annotation config.kubernetes.io/local-config, for $patch: delete, and for generators that read the file; who wants no pair removes it from resources")
}

// checkPair judges a ClusterPair that Stork is to decode: ciphertext that was
// left in it, for one, stops Stork.
func checkPair(doc *yaml.Node, file string) []report.Finding {
	if manifest.Text(doc, "kind") != generator.ClusterPairKind || !strings.HasPrefix(manifest.Text(doc, "apiVersion"), "stork.libopenstorage.org/") {
		return nil
	}
	var findings []report.Finding
	for _, f := range schema.Validate("#"+generator.ClusterPairKind, doc, file, schema.Options{}) {
		if f.Severity == report.Error {
			findings = append(findings, f)
		}
	}
	return findings
}

// directory gives the objects of a directory without a kustomization: those of
// every YAML and JSON file below it that is not hidden, in the order of their
// paths.
func (d *decrypter) directory(t *worktree.Tree) ([]byte, []report.Finding, error) {
	files, err := t.Expand(".", "")
	if err != nil {
		return nil, nil, err
	}
	var out bytes.Buffer
	var findings []report.Finding
	for _, path := range files {
		if strings.HasPrefix(filepath.Base(path), ".") {
			continue // .sops.yaml
		}
		data, err := t.ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		file := t.Show(path)
		objects, _, err := d.open(data, file)
		var finding report.Finding
		if errors.As(err, &finding) {
			findings = append(findings, finding)
		} else if err != nil {
			return nil, nil, err
		}
		for _, o := range objects {
			applied, err := isForCluster(o.node, file)
			switch {
			case err != nil:
				return nil, nil, err
			case applied:
				findings = append(findings, checkPair(o.node, file)...)
				findings = append(findings, checkOpen(o, file)...)
				out.Write(o.text)
			case o.opened && manifest.Text(o.node, "kind") == generator.ClusterPairKind:
				return nil, nil, errLost(fmt.Sprintf("%s:%d", file, o.node.Line))
			}
		}
	}
	return out.Bytes(), findings, nil
}

// isForCluster tells whether a document of a directory is for the cluster. What is
// neither that nor for clusterpair alone is an error: it is there by mistake, or
// it says that the directory is meant otherwise.
func isForCluster(doc *yaml.Node, file string) (bool, error) {
	apiVersion := manifest.Text(doc, "apiVersion")
	switch {
	case apiVersion == generator.APIVersion || manifest.Text(doc, "metadata", "annotations", "config.kubernetes.io/local-config") == "true":
		return false, nil
	case strings.HasPrefix(apiVersion, "kustomize.config.k8s.io/"):
		return false, report.WithHint(fmt.Errorf("%s: a kustomization below a directory that has none: nobody would run it", file),
			"build %s, or list it in a kustomization.yaml above", filepath.Dir(file))
	case apiVersion == "" || manifest.Text(doc, "kind") == "":
		return false, report.WithHint(fmt.Errorf("%s:%d: no Kubernetes object: apiVersion or kind is missing", file, doc.Line),
			"move the file to another directory, or list the manifests in a kustomization.yaml")
	}
	return true, nil
}

// resources gives the result of a kustomization, with what functions have
// encrypted decrypted, and what was kept back from kustomize in its place.
func (d *decrypter) resources(dir string, all resmap.ResMap) ([]byte, []report.Finding, error) {
	after := &decrypter{ctx: d.ctx, decrypt: d.decrypt}
	var out bytes.Buffer
	var findings []report.Finding
	for _, r := range all.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			return nil, nil, unwritable(dir, all)
		}
		name := r.GetKind() + "/" + r.GetName()
		if namespace := r.GetNamespace(); namespace != "" {
			name = r.GetKind() + "/" + namespace + "/" + r.GetName()
		}
		objects, _, err := after.open(text, name)
		if err != nil {
			return nil, nil, err
		}
		for _, o := range objects {
			had, err := d.kept.giveBack(o.node, o.text)
			if err != nil {
				findings = append(findings, report.Finding{Rule: "leaf-not-encrypted", Severity: report.Error, Position: report.Position{File: name},
					Message: err.Error() + ": without a key anybody could have written that",
					Hint:    "say it in the config of clusterpair generate instead, such as destination.server"})
				continue
			}
			for _, f := range checkPair(o.node, name) {
				f.Position = report.Position{File: name} // lines of a stream mean nothing
				findings = append(findings, f)
			}
			findings = append(findings, checkOpen(o, name)...)
			if had {
				text, err := sopsfile.Marshal([]*yaml.Node{{Kind: yaml.DocumentNode, Content: []*yaml.Node{o.node}}}, 2)
				if err != nil {
					return nil, nil, seal.Explain(err, name)
				}
				o.text = append([]byte("---\n"), text...)
			}
			out.Write(o.text)
		}
	}
	if at := d.kept.lost(); at != "" && len(findings) == 0 {
		return nil, nil, errLost(at)
	}
	return out.Bytes(), findings, nil
}

// checkOpen refuses what still holds ciphertext, such as an item of a List.
func checkOpen(o object, file string) []report.Finding {
	if !bytes.Contains(o.text, []byte("ENC[AES256_GCM,data:")) {
		return nil
	}
	return []report.Finding{{Rule: "still-encrypted", Severity: report.Error, Position: report.Position{File: file},
		Message: "ciphertext is left in it, which would be applied as it is",
		Hint:    "a file that sops has encrypted as a whole, one object a document, is decrypted; a List is not"}}
}
