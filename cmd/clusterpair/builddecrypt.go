package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/resmap"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/schema"
)

// decrypter decrypts Kubernetes objects that SOPS has encrypted, their MAC
// verified.
type decrypter struct {
	ctx  context.Context
	safe *sopsfile.Safe
	kept *kept // nil leaves everything in its place
}

// object is a document of a file.
type object struct {
	node *yaml.Node // where the values stand in the file
	text []byte     // in clear, begins with a line ---
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
		more, err = d.decrypt(sealed, file)
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

// decrypt decrypts the documents of one SOPS file.
func (d *decrypter) decrypt(docs []manifest.Document, file string) ([]object, error) {
	text := bytes.Repeat([]byte("\n"), docs[0].Line-1) // messages count from the top of the file
	for _, doc := range docs {
		if err := checkSelected(doc.Node, file); err != nil {
			return nil, err
		}
		text = append(text, doc.Text...)
	}
	plain, err := d.safe.Decrypt(d.ctx, text, file)
	if err != nil {
		return nil, sopsError(err, file)
	}
	objects := make([]object, len(plain))
	for i, doc := range plain {
		d.kept.keep(manifest.Contents(plain[i : i+1])[0])
		text, err := sopsfile.Marshal([]*yaml.Node{doc}, 2)
		if err != nil {
			return nil, sopsError(err, file)
		}
		objects[i] = object{node: manifest.Contents(plain[i : i+1])[0], text: append([]byte("---\n"), text...)}
	}
	return objects, nil
}

// kept is what kustomize does not get to see of a ClusterPair: who can write to
// Git and has no key could let it send the credential to another server, or copy
// it into another object. It works on a pair with marks in the places of
// spec.config and options.token, which nobody can have foreseen.
type kept struct {
	mark   string
	values []*yaml.Node
}

func newKept() *kept { return &kept{mark: "kept-" + rand.Text() + "-"} }

// places are what a pair keeps, and where.
func places(pair *yaml.Node) []**yaml.Node {
	if manifest.Text(pair, "kind") != generator.ClusterPairKind {
		return nil
	}
	var all []**yaml.Node
	for _, path := range [][]string{{"spec", "config"}, {"spec", "options", "token"}} {
		last := len(path) - 1
		parent := manifest.Field(pair, path[:last]...)
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

// namesKept tells whether a message of kustomize is of what it does not find.
func namesKept(message string) bool {
	return strings.Contains(message, "spec.config") || strings.Contains(message, "/spec/config")
}

// keep takes the values out of a pair. Each mark has the kind of its value, so
// that kustomize merges into the one what it would have merged into the other.
func (k *kept) keep(pair *yaml.Node) {
	if k == nil {
		return
	}
	for _, at := range places(pair) {
		mark := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: fmt.Sprint(k.mark, len(k.values))}
		k.values = append(k.values, *at)
		if (*at).Kind == yaml.MappingNode {
			mark = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{mark, {Kind: yaml.ScalarNode, Tag: "!!str", Value: "kept"}}}
		}
		*at = mark
	}
}

// giveBack puts the values of a pair back. It tells whether there were any; not
// one place may be other than it was left.
func (k *kept) giveBack(pair *yaml.Node, text []byte) (bool, error) {
	marks := bytes.Count(text, []byte(k.mark))
	if marks == 0 {
		return false, nil
	}
	for _, at := range places(pair) {
		mark := *at
		if mark.Kind == yaml.MappingNode && len(mark.Content) == 2 {
			mark = mark.Content[0]
		}
		number, ours := strings.CutPrefix(mark.Value, k.mark)
		i, err := strconv.Atoi(number)
		if ours && err == nil && i < len(k.values) && k.values[i].Kind == (*at).Kind {
			*at = k.values[i]
			marks--
		}
	}
	if marks != 0 {
		return false, errors.New("the kustomization changes, moves or copies what is encrypted")
	}
	return true, nil
}

// checkSelected refuses an encrypted ClusterPair with a value in clear below
// spec.config. The MAC covers encrypted values alone, so that who has no key
// could have narrowed the selector and put it there.
func checkSelected(pair *yaml.Node, file string) error {
	if manifest.Text(pair, "kind") != generator.ClusterPairKind {
		return nil
	}
	var clear *yaml.Node
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		for i, c := range n.Content {
			switch {
			case clear != nil || n.Kind == yaml.MappingNode && i%2 == 0:
			case c.Kind == yaml.ScalarNode && c.Value != "" && c.ShortTag() != "!!null" && !strings.HasPrefix(c.Value, "ENC["):
				clear = c
			default:
				walk(c)
			}
		}
	}
	if config := manifest.Field(pair, "spec", "config"); config != nil {
		walk(config)
	}
	if clear == nil {
		return nil
	}
	return report.Finding{Rule: "leaf-not-encrypted", Severity: report.Error, Position: report.Position{File: file, Line: clear.Line, Column: clear.Column},
		Message: "a value below spec.config is in clear: without a key anybody could have written it",
		Hint:    "restore the file from Git history, or render it anew: clusterpair generate"}
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
func (d *decrypter) directory(t *tree) ([]byte, []report.Finding, error) {
	files, err := t.expand(".", "")
	if err != nil {
		return nil, nil, failed(err)
	}
	var out bytes.Buffer
	var findings []report.Finding
	for _, path := range files {
		if strings.HasPrefix(filepath.Base(path), ".") {
			continue // .sops.yaml
		}
		data, err := t.readFile(path)
		if err != nil {
			return nil, nil, failed(err)
		}
		file := t.show(path)
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
				return nil, nil, failed(err)
			case applied:
				findings = append(findings, checkPair(o.node, file)...)
				out.Write(o.text)
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
		return false, withHint(fmt.Errorf("%s: a kustomization below a directory that has none: nobody would run it", file),
			"build %s, or list it in a kustomization.yaml above", filepath.Dir(file))
	case apiVersion == "" || manifest.Text(doc, "kind") == "":
		return false, withHint(fmt.Errorf("%s:%d: no Kubernetes object: apiVersion or kind is missing", file, doc.Line),
			"move the file to another directory, or list the manifests in a kustomization.yaml")
	}
	return true, nil
}

// resources gives the result of a kustomization, with what functions have
// encrypted decrypted, and what was kept back from kustomize in its place.
func (d *decrypter) resources(all resmap.ResMap) ([]byte, []report.Finding, error) {
	after := &decrypter{ctx: d.ctx, safe: d.safe}
	var out bytes.Buffer
	var findings []report.Finding
	for _, r := range all.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			return nil, nil, failed(errors.New("kustomize cannot write its result as YAML"))
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
			if had {
				text, err := sopsfile.Marshal([]*yaml.Node{{Kind: yaml.DocumentNode, Content: []*yaml.Node{o.node}}}, 2)
				if err != nil {
					return nil, nil, sopsError(err, name)
				}
				o.text = append([]byte("---\n"), text...)
			}
			out.Write(o.text)
		}
	}
	return out.Bytes(), findings, nil
}
