package render

import (
	"encoding/base64"
	"errors"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// one are the options for a pair in clear, from the kubeconfig dest.yaml.
func one() *One {
	return &One{Name: "remotecluster", Namespace: "dr", Kubeconfig: "dest.yaml", StorkVersion: "24.3", Plaintext: true}
}

// kubeconfigThere works in a directory with a kubeconfig, and no keys.
func kubeconfigThere(t *testing.T) {
	t.Helper()
	key(t, "")
	t.Setenv("KUBECONFIG", "")
	t.Chdir(t.TempDir())
	write(t, "dest.yaml", shared(t, "dest.yaml"))
}

// TestOneConfig: which options are wrong use, and which are findings about a flag.
func TestOneConfig(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(o *One)
		err    string // with its hint
		found  string
	}{
		{"nothing but a name", func(o *One) {}, "", ""},
		{"an option that Stork does not read", func(o *One) { o.StorageOptions = []string{"prot=9001"} }, `--storage-options: Stork reads no option "prot"; did you mean port?`, ""},
		{"an option without a value", func(o *One) { o.StorageOptions = []string{"ip"} }, "--storage-options takes KEY=VALUE", ""},
		{"an option twice", func(o *One) { o.StorageOptions = []string{"ip=a,ip=b"} }, "--storage-options gives ip twice; keep one of the two", ""},
		{"a rule that there is not", func(o *One) { o.Allow = []string{"insecure-tsl=test"} }, "--allow: ", ""},
		{"a mapping without a destination", func(o *One) { o.ProjectMappings = []string{"a"} }, "--project-mappings takes SOURCE=DESTINATION", ""},
		{"a bad name", func(o *One) { o.Name = "Remote_Cluster" }, "", "NAME"},
		{"a bad namespace", func(o *One) { o.Namespace = "nope_bad" }, "", "--namespace"},
		{"a bad version", func(o *One) { o.StorkVersion = "24.3.garbage" }, "", "--stork-version"},
		{"a server that is no URL", func(o *One) { o.Server = "west" }, "", "--server"},
		{"a bad port", func(o *One) { o.StorageOptions = []string{"ip=10.0.0.9,port=none,token=t"} }, "", "--storage-options port"},
		{"no token beside the address", func(o *One) { o.StorageOptions = []string{"ip=10.0.0.9"} }, "", "--storage-options token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := one()
			c.change(o)
			config, findings, err := o.Config()
			if got := report.Told(err); !strings.HasPrefix(got, c.err) || (got == "") != (c.err == "") {
				t.Errorf("got %q, want %q", got, c.err)
			}
			var paths []string
			for _, f := range findings {
				paths = append(paths, f.Path)
			}
			if got := strings.Join(paths, " "); got != c.found {
				t.Errorf("found %v, want %s", findings, c.found)
			}
			if (config == nil) != (c.err+c.found != "") {
				t.Errorf("there is a config: %t", config != nil)
			}
		})
	}
}

// TestSplitCommas splits as storkctl does, but for values that hold commas themselves.
func TestSplitCommas(t *testing.T) {
	known := []string{"ip", "token"}
	for value, want := range map[string]string{
		"ip=a,token=b": "ip=a|token=b", "token=YQ==,x=y": "token=YQ==,x=y", "ip=a,tokn=b": "ip=a|tokn=b", "token=a,b": "token=a,b", "ip=a": "ip=a",
	} {
		if got := strings.Join(splitCommas([]string{value}, known), "|"); got != want {
			t.Errorf("%s: got %s, want %s", value, got, want)
		}
	}
	if got := strings.Join(splitCommas([]string{"a=b,c=d"}, nil), "|"); got != "a=b|c=d" {
		t.Errorf("got %s", got)
	}
}

// TestOneKubeconfig: what becomes of a kubeconfig on its way into the pair.
func TestOneKubeconfig(t *testing.T) {
	const choose = "choose one with --context: kubectl config get-contexts --kubeconfig dest.yaml"
	ca := func(t *testing.T) string {
		text, err := base64.StdEncoding.DecodeString(between(t, "dest.yaml", "certificate-authority-data: ", "\n"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	asFile := func(t *testing.T, field, file, text string) {
		t.Helper()
		data := between(t, "dest.yaml", field+"-data: ", "\n")
		edit(t, "dest.yaml", field+"-data: "+data, field+": "+file)
		if text != "" {
			write(t, file, text)
		}
	}
	for _, c := range []struct {
		name    string
		change  func(t *testing.T, o *One)
		err     string // with its hint
		finding string // rule: message; hint, or how that begins
	}{
		{"as it is", func(t *testing.T, o *One) {}, "", ""},
		{"by KUBECONFIG", func(t *testing.T, o *One) { o.Kubeconfig = ""; t.Setenv("KUBECONFIG", "missing.yaml:dest.yaml") }, "", ""},
		{"a CA in a file", func(t *testing.T, o *One) { asFile(t, "certificate-authority", "ca.crt", ca(t)) }, "", ""},
		{"a token in a file", func(t *testing.T, o *One) {
			token := between(t, "dest.yaml", "token: ", "\n")
			write(t, "token", token+"\n")
			edit(t, "dest.yaml", "token: "+token, "tokenFile: token")
		}, "", ""},
		{"another context", func(t *testing.T, o *One) {
			edit(t, "dest.yaml", "current-context: stork@west", "current-context: other")
			o.Context = "stork@west"
		}, "", ""},
		{"a CA in a file that is not there", func(t *testing.T, o *One) { asFile(t, "certificate-authority", "ca.crt", "") }, "",
			"file-reference: certificate-authority: read "},
		{"a token in a file of another machine", func(t *testing.T, o *One) {
			edit(t, "dest.yaml", "token: "+between(t, "dest.yaml", "token: ", "\n"), "tokenFile: /nowhere/token")
		}, "", "file-reference: tokenFile: read /nowhere/token: no such file or directory; a path is relative to the kubeconfig; run this where the file is, or make a service account's token, "},
		{"a CA both ways", func(t *testing.T, o *One) {
			edit(t, "dest.yaml", "certificate-authority-data:", "certificate-authority: ca.crt\n    certificate-authority-data:")
		}, "", "file-reference: certificate-authority is given both as a file and as data; remove one of the two"},
		{"a key both ways", func(t *testing.T, o *One) {
			edit(t, "dest.yaml", "token:", "client-key: c.key\n    client-key-data: YQ==\n    token:")
		}, "", "file-reference: client-key is given both as a file and as data; remove one of the two"},
		{"a context that is not there", func(t *testing.T, o *One) { o.Context = "east" }, "", `context-broken: the kubeconfig has no context "east"; ` + choose},
		{"no context", func(t *testing.T, o *One) { edit(t, "dest.yaml", "current-context: stork@west\n", "") }, "", "context-broken: the kubeconfig has no current-context; " + choose},
		{"a context without its user", func(t *testing.T, o *One) { edit(t, "dest.yaml", "- name: stork\n", "- name: other\n") }, "",
			`context-broken: context "stork@west" names a cluster or user that the kubeconfig does not have; ` + choose},
		{"no file", func(t *testing.T, o *One) { o.Kubeconfig = "none.yaml" }, "open none.yaml: no such file or directory", ""},
		{"none at all", func(t *testing.T, o *One) { o.Kubeconfig = "" }, "no kubeconfig: ", ""},
		{"no YAML", func(t *testing.T, o *One) { write(t, "dest.yaml", "users:\n- token: eyJ\n\tx") }, "", "yaml: "},
		{"a list for a text", func(t *testing.T, o *One) {
			edit(t, "dest.yaml", "current-context: stork@west", "current-context: [stork@west]")
		}, "", "value-type: "},
		{"recipients of a pair in clear", func(t *testing.T, o *One) { o.Age = []string{demo} }, "--age and --plaintext exclude each other", ""},
		{"nobody to read it", func(t *testing.T, o *One) { o.Plaintext = false }, "nobody could decrypt the pair: no recipient is given", ""},
		{"a file that is no pair", func(t *testing.T, o *One) {
			write(t, "pair.yaml", "kind: Deployment\n")
			o.Plaintext, o.Age, o.Output = false, []string{demo}, "pair.yaml"
		}, "", "output-taken: the file exists and is no encrypted ClusterPair, so that it is not overwritten; move it away, or write to another file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			kubeconfigThere(t)
			token := between(t, "dest.yaml", "token: ", "\n")
			authority := between(t, "dest.yaml", "certificate-authority-data: ", "\n")
			o := one()
			c.change(t, o)
			config, findings, err := o.Config()
			if err != nil || report.HasErrors(findings) {
				t.Fatal(findings, err)
			}
			result, findings, err := o.Render(t.Context(), config, os.ReadFile)
			if got := report.Told(err); !strings.HasPrefix(got, c.err) || (got == "") != (c.err == "") {
				t.Errorf("got %q, want %q", got, c.err)
			}
			got := ""
			for _, f := range findings {
				if f.Severity == report.Error && got == "" {
					got = f.Rule + ": " + f.Message + "; " + f.Hint
				}
			}
			if got != c.finding && !(strings.HasSuffix(c.finding, " ") && strings.HasPrefix(got, c.finding)) {
				t.Errorf("found %q, want %q", got, c.finding)
			}
			if strings.Contains(got+report.Told(err), token) {
				t.Error("the token is shown")
			}
			if c.err+c.finding != "" {
				return
			}
			docs, err := manifest.Values(result.Document, "pair")
			if err != nil {
				t.Fatal(err)
			}
			config1 := manifest.Field(docs[0], "spec", "config")
			if got := manifest.Text(config1, "users", "stork", "token"); got != token {
				t.Errorf("the pair has another token:\n%s", result.Document)
			}
			if got := manifest.Text(config1, "clusters", "west", "certificate-authority-data"); got != authority {
				t.Errorf("the pair has another CA:\n%s", result.Document)
			}
		})
	}
}

// TestOneAgain: a pair for a file keeps its bytes without a key, too.
func TestOneAgain(t *testing.T) {
	kubeconfigThere(t)
	for _, name := range []string{"pair.yaml", "pair.json"} {
		o := one()
		o.Plaintext, o.Age, o.Output = false, []string{demo}, name
		var documents [2]string
		for i := range documents {
			config, _, err := o.Config()
			if err != nil {
				t.Fatal(err)
			}
			result, findings, err := o.Render(t.Context(), config, os.ReadFile)
			if err != nil || report.HasErrors(findings) {
				t.Fatal(findings, err)
			}
			documents[i] = string(result.Document)
			write(t, name, documents[i])
		}
		if documents[0] != documents[1] {
			t.Errorf("%s has changed:\n%s\n%s", name, documents[0], documents[1])
		}
		opened(t, []byte(documents[0]))
		key(t, "")
	}
}

// TestEnvironment: what the kustomize function finds where it runs.
func TestEnvironment(t *testing.T) {
	config(t)
	render(t, Options{})
	tree, err := worktree.Open(".")
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	e := NewEnvironment(tree)
	if doc, file := e.Locate("ClusterPairGenerator", "east"); doc == nil || file != "clusterpair.yaml" {
		t.Errorf("located in %q", file)
	}
	if doc, file := e.Locate("ClusterPairGenerator", "west"); doc != nil || file != "" {
		t.Errorf("west is located in %q", file)
	}
	decrypt := func(e *Environment, patterns ...string) (files []string, err error) {
		err = e.Decrypt(t.Context(), patterns, func(file string, doc *yaml.Node) error {
			files = append(files, file+" "+manifest.Text(doc, "spec", "config", "current-context"))
			return nil
		})
		return files, err
	}
	if files, err := decrypt(e, "rendered/**/*.yaml"); err != nil || strings.Join(files, ", ") != pairFile+" stork-west" {
		t.Errorf("decrypted %q, %v", files, err)
	}
	edit(t, pairFile, "mac: ENC[AES256_GCM,data:", "mac: ENC[AES256_GCM,data:AAAA")
	var f report.Finding
	if files, err := decrypt(e, pairFile); !errors.As(err, &f) || f.Rule != "mac-mismatch" || len(files) > 0 {
		t.Errorf("changed without SOPS: decrypted %q, %v", files, err)
	}
	key(t, "east.agekey")
	if files, err := decrypt(NewEnvironment(tree), pairFile); err == nil || len(files) > 0 || strings.Contains(err.Error(), "AGE-SECRET-KEY") {
		t.Errorf("with the key of somebody else: decrypted %q, %v", files, err)
	}
}

// TestOrigins finds the config and the creation rule behind a rendered file.
func TestOrigins(t *testing.T) {
	rule := func(regex, reader string) string { return "- path_regex: " + regex + "\n  age: " + reader + "\n" }
	for _, c := range []struct {
		name, rules, config string
		inline              bool
		source, err         string
		rendered            bool
	}{
		{"a rule", rule("^rendered/", demo), "", false, ".sops.yaml:2", "", false},
		{"the first rule that matches", rule("^secrets/", recovery) + rule("^rendered/", demo), "", false, ".sops.yaml:4", "", false},
		{"no rule that matches", rule("^secrets/", demo), "", false, "", "no-creation-rule", false},
		{"a rule that is broken", rule("(", demo), "", false, "", "path_regex", false},
		{"a config with recipients", rule("^rendered/", demo), "east", true, "config east", "", true},
		{"a config without recipients", rule("^rendered/", demo), "east", false, ".sops.yaml:2", "", true},
		{"a config that there is not", rule("^rendered/", demo), "north", true, ".sops.yaml:2", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			config(t)
			if !c.inline {
				text := shared(t, "clusterpair.yaml")
				write(t, "clusterpair.yaml", text[:strings.Index(text, "  encryption:")])
			}
			write(t, ".sops.yaml", "creation_rules:\n"+c.rules)
			repo, err := gitfiles.Open(".")
			if err != nil {
				t.Fatal(err)
			}
			origin, err := NewOrigins(repo).Of(pairFile, c.config)
			if got := report.Told(err); !strings.Contains(got, c.err) && !isRule(err, c.err) || (err == nil) != (c.err == "") {
				t.Errorf("got %v, want %s", err, c.err)
			}
			source := ""
			if origin.Policy != nil {
				source = origin.Policy.Source
			}
			if source != c.source || origin.Rendered != c.rendered {
				t.Errorf("from %q, rendered %t; want %q, %t", source, origin.Rendered, c.source, c.rendered)
			}
			if c.rendered && (origin.Render != "clusterpair generate" || origin.StorkVersion != "24.3") {
				t.Errorf("rendered by %q for Stork %q", origin.Render, origin.StorkVersion)
			}
		})
	}
}

// isRule tells whether an error is a finding of a rule.
func isRule(err error, rule string) bool {
	var f report.Finding
	return errors.As(err, &f) && f.Rule == rule
}
