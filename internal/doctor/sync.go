package doctor

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/engine"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/validate"
)

// verdicts adds the findings of a rule as checks, and tells whether there are any.
func (e *examination) verdicts(p *Part, rule, name string) bool {
	for _, f := range e.findings[rule] {
		status := report.Failed
		if f.Severity != report.Error {
			status = report.Warned
		}
		if f.Waived != "" {
			p.add(report.Skipped, name, "", "%s: %s: waived, %s", f.Position, f.Object, f.Waived).Rule = rule
			continue
		}
		p.add(status, name, f.Hint, "%s: %s: %s", f.Position, f.Object, f.Message).Rule = rule
	}
	return len(e.findings[rule]) > 0
}

// syncs are those of an engine.
func (e *examination) syncs(of engine.Engine) []engine.Applied {
	return slices.DeleteFunc(slices.Clone(e.graph.Syncs), func(s engine.Applied) bool { return s.Engine != of })
}

// unknown says of which objects of an engine nobody can tell what they apply, and tells
// whether there are any.
func (e *examination) unknown(p *Part, of engine.Engine) bool {
	found := false
	for _, u := range e.graph.Unknown {
		if u.Engine == of {
			found = true
			p.add(report.Skipped, "unknown", "", "%s: %s: cannot tell what it applies: %s", u.At, u.Object, u.Why)
		}
	}
	return found
}

func (e *examination) hasUnknown(of engine.Engine) bool {
	return slices.ContainsFunc(e.graph.Unknown, func(u engine.Unknown) bool { return u.Engine == of })
}

// encryptedPairs is how many encrypted ClusterPairs some syncs apply.
func encryptedPairs(syncs []engine.Applied) int {
	paths := make(map[string]bool)
	for _, s := range syncs {
		for _, path := range s.Pairs {
			paths[path] = true
		}
	}
	return len(paths)
}

func (e *examination) usesFlux() bool {
	return len(e.syncs(engine.Flux)) > 0 || e.hasUnknown(engine.Flux)
}

// flux looks at the Kustomizations of Flux.
func (e *examination) flux(p *Part) {
	syncs := e.syncs(engine.Flux)
	if unknown := e.unknown(p, engine.Flux); len(syncs) == 0 {
		if unknown {
			return
		}
		p.add(report.Skipped, "kustomization", "", "there is no Kustomization of Flux")
		return
	}
	pairs := encryptedPairs(syncs)
	if !e.verdicts(p, "flux-function", "function") {
		p.ok("function", "no Kustomization of Flux builds a folder with a function: Flux would not run it")
	}
	sealed := slices.DeleteFunc(e.broken(func(rule report.Rule) bool { return rule.Seal }), func(line string) bool {
		return strings.Contains(line, ": another document in the file of an encrypted ClusterPair") // which Flux decrypts by itself
	})
	if len(sealed) > 0 {
		p.add(report.Failed, "decryption", "clusterpair validate "+report.Typed(e.dir), "Flux decrypts no such thing, and says nothing").Details = report.Few(sealed)
	}
	if bad := e.verdicts(p, "flux-decryption", "decryption") || len(sealed) > 0; !bad && pairs > 0 {
		p.ok("decryption", "%s by Flux", report.Count(pairs, "encrypted ClusterPair is decrypted", "encrypted ClusterPairs are decrypted"))
	} else if !bad {
		p.add(report.Skipped, "decryption", "", "no Kustomization of Flux here applies an encrypted ClusterPair of these files")
	}
	if bad := e.verdicts(p, "flux-health", "health"); !bad && pairs > 0 {
		p.ok("health", "Flux waits until Stork calls the pairs Ready")
	}
	var secrets []string
	for _, s := range syncs {
		if len(s.Pairs) > 0 && s.Decrypts && s.Secret == "" {
			p.add(report.Skipped, "key", "spec: {decryption: {provider: sops, secretRef: {name: sops-age}}}", "%s: %s names no Secret with a key: cannot tell whether kustomize-controller has one of its own", s.At, s.Object)
		}
		if len(s.Pairs) > 0 && s.Secret != "" && !slices.Contains(secrets, s.Secret) {
			secrets = append(secrets, s.Secret)
		}
	}
	for _, secret := range secrets {
		namespace, name, _ := strings.Cut(secret, "/")
		if namespace == "" {
			namespace = "flux-system"
		}
		p.add(report.Skipped, "key", fmt.Sprintf("kubectl -n %s describe secret %s", report.Typed(namespace), report.Typed(name)), "only the clusters tell whether Secret %s/%s holds the key, in an entry named *.agekey", namespace, name)
	}
}

// argoSettings is what files say about the installation of Argo CD.
type argoSettings struct {
	options []argoOptions
	plugins []argoPlugin
	// health are the kinds of Stork that have a health script, mounts the files
	// that mount clusterpair into a container of the repo-server.
	health map[string]bool
	mounts []string
}

// argoOptions are the buildOptions for kustomize.
type argoOptions struct {
	at    report.Position
	flags string
}

// argoPlugin is a config management plugin.
// https://argo-cd.readthedocs.io/en/stable/operator-manual/config-management-plugins/
type argoPlugin struct {
	at      report.Position
	name    string
	command []string
}

func (a *argoSettings) sort() {
	slices.SortFunc(a.options, func(x, y argoOptions) int { return comparePlaces(x.at, y.at) })
	slices.SortFunc(a.plugins, func(x, y argoPlugin) int { return comparePlaces(x.at, y.at) })
	slices.Sort(a.mounts)
}

var (
	argoHealth     = pattern.Later(`customizations\.health\.stork\.libopenstorage\.org_(\w+)|stork\.libopenstorage\.org/(\w+):[ \t]*\|?\s*\n\s+health\.lua|group:[ \t]*["']?stork\.libopenstorage\.org["']?[ \t]*\n\s+kind:[ \t]*["']?(\w+)["']?[ \t]*\n\s+check:`)
	argoRepoServer = pattern.Later(`argocd-repo-server|(?m)^kind: ["']?ArgoCD\b|^\s*repoServer:`) // its Deployment, the operator's object, the values of the chart
	argoMount      = pattern.Later(`mountPath:\s*["']?/[\w./-]*/clusterpair["']?\s*[,}\n]`)
)

// argoCDSettings notes what a file says about Argo CD. Its settings stand in a
// ConfigMap, in what generates or patches one, or in the values of its chart, so
// that their names are looked for in the text.
func (e *examination) argoCDSettings(file validate.File) {
	var found argoSettings
	at := func(offset int) report.Position {
		return report.Position{File: file.Name, Line: 1 + bytes.Count(file.Data[:offset], []byte("\n"))}
	}
	if bytes.Contains(file.Data, []byte("uildOptions")) {
		for _, o := range engine.BuildOptions(file.Data) {
			found.options = append(found.options, argoOptions{at(o.Offset), o.Flags})
		}
	}
	if bytes.Contains(file.Data, []byte("stork.libopenstorage.org")) && (bytes.Contains(file.Data, []byte("health")) || bytes.Contains(file.Data, []byte("check:"))) { // no plain pair
		for _, m := range argoHealth().FindAllSubmatch(file.Data, -1) {
			if found.health == nil {
				found.health = make(map[string]bool)
			}
			found.health[string(m[1])+string(m[2])+string(m[3])] = true
		}
	}
	if bytes.Contains(file.Data, []byte("clusterpair")) && argoMount().Match(file.Data) && argoRepoServer().Match(file.Data) {
		found.mounts = []string{file.Name}
	}
	if bytes.Contains(file.Data, []byte("ConfigManagementPlugin")) {
		manifest.Scan(file.Data, file.Name, func(d manifest.Document, _ *report.Finding) {
			found.plugin(d.Node, report.Position{File: file.Name, Line: d.Line})
			data := manifest.Field(d.Node, "data") // of a ConfigMap
			for i := 1; data != nil && i < len(data.Content); i += 2 {
				text := data.Content[i]
				if strings.Contains(text.Value, "ConfigManagementPlugin") {
					manifest.Scan([]byte(text.Value), file.Name, func(inner manifest.Document, _ *report.Finding) {
						found.plugin(inner.Node, report.Position{File: file.Name, Line: text.Line})
					})
				}
			}
		})
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.argo.options = append(e.argo.options, found.options...)
	e.argo.plugins = append(e.argo.plugins, found.plugins...)
	e.argo.mounts = append(e.argo.mounts, found.mounts...)
	for kind := range found.health {
		if e.argo.health == nil {
			e.argo.health = make(map[string]bool)
		}
		e.argo.health[kind] = true
	}
}

func (a *argoSettings) plugin(n *yaml.Node, at report.Position) {
	if manifest.Text(n, "kind") != "ConfigManagementPlugin" {
		return
	}
	p := argoPlugin{at: at, name: manifest.Text(n, "metadata", "name")}
	if version := manifest.Text(n, "spec", "version"); version != "" {
		p.name += "-" + version
	}
	for _, key := range []string{"command", "args"} {
		if list := manifest.Field(n, "spec", "generate", key); list != nil {
			for _, word := range list.Content {
				p.command = append(p.command, word.Value)
			}
		}
	}
	a.plugins = append(a.plugins, p)
}

// insideArgoCD tells whether this is a container of Argo CD's repo-server: its
// image has all of Argo CD's names in PATH.
func insideArgoCD() bool {
	_, err := exec.LookPath("argocd-repo-server")
	return err == nil
}

func (e *examination) usesArgoCD() bool {
	return len(e.syncs(engine.ArgoCD))+len(e.argo.plugins)+len(e.argo.options) > 0 || e.hasUnknown(engine.ArgoCD) || insideArgoCD()
}

// argoCD looks at Applications, and at how Argo CD is set up.
func (e *examination) argoCD(p *Part) {
	inside := insideArgoCD()
	syncs := e.syncs(engine.ArgoCD)
	unknown := e.unknown(p, engine.ArgoCD)
	if inside {
		e.argoCDContainer(p)
	} else if unknown && len(syncs)+len(e.argo.plugins)+len(e.argo.options) == 0 {
		return
	} else if len(syncs)+len(e.argo.plugins)+len(e.argo.options) == 0 {
		p.add(report.Skipped, "application", "", "there is no Application here, and no setting of Argo CD")
		return
	}
	e.argoCDExec(p, syncs, inside)
	e.argoCDPlugins(p, syncs, inside)
	hydrated := e.hydrated(p, syncs)
	if bad := e.verdicts(p, "argo-decryption", "decryption"); !bad && !hydrated && encryptedPairs(syncs) > 0 {
		p.ok("decryption", "no Application applies ciphertext")
	}
	applies := slices.ContainsFunc(syncs, func(s engine.Applied) bool { return len(s.Pairs)+len(s.Functions) > 0 })
	switch {
	case e.argo.health[generator.ClusterPairKind]:
		p.ok("health", "Argo CD is told by the status of Stork whether a ClusterPair is healthy")
	case applies:
		p.add(report.Warned, "health", "list examples/argocd/health of clusterpair under components; what is set elsewhere: kubectl -n "+argoNamespace(syncs)+" get configmap argocd-cm -o yaml | grep stork",
			"nothing here sets resource.customizations.health.stork.libopenstorage.org_ClusterPair: Argo CD calls a pair Healthy as soon as it is applied")
	}
}

// argoNamespace is the namespace of the Applications, in which Argo CD most likely runs.
func argoNamespace(syncs []engine.Applied) string {
	for _, s := range syncs {
		if _, object, ok := strings.Cut(s.Object, " "); ok {
			if namespace, _, ok := strings.Cut(object, "/"); ok && namespace != "" {
				return report.Typed(namespace)
			}
		}
	}
	return "argocd"
}

// hydrated says which Applications commit decrypted ClusterPairs to Git, and tells whether
// there are any.
func (e *examination) hydrated(p *Part, syncs []engine.Applied) bool {
	found := false
	for _, s := range syncs {
		if s.Hydrates && s.Decrypts && len(s.Pairs) > 0 {
			found = true
			p.add(report.Failed, "decryption", "apply the pair by an Application with spec.source, which commits nothing",
				"%s: %s commits to Git what its plugin has decrypted", s.At, s.Object).Rule = "plaintext-credential"
		}
	}
	return found
}

// argoCDExec looks at the Applications that leave decrypting to kustomize.
func (e *examination) argoCDExec(p *Part, syncs []engine.Applied, inside bool) {
	var users []engine.Applied
	for _, s := range syncs {
		if s.Decrypts {
			continue
		}
		inPath := false
		for _, f := range s.Functions {
			if inPath = inPath || f.Image == ""; f.Image != "" {
				p.add(report.Failed, "function", "exec: {path: clusterpair}", "%s: %s: %s %s runs in a container, and the repo-server has no docker", s.At, s.Object, f.Kind, f.Name)
			}
		}
		if inPath {
			users = append(users, s)
		}
	}
	if len(users) == 0 {
		return
	}
	who := fmt.Sprintf("the function of %s", users[0].Object)
	if len(users) > 1 {
		who = fmt.Sprintf("the functions of %d Applications", len(users))
	}
	const right = "kustomize.buildOptions: --enable-alpha-plugins --enable-exec"
	bad := false
	for _, o := range e.argo.options {
		if !strings.Contains(o.flags, "--enable-alpha-plugins") {
			bad = true
			p.add(report.Failed, "build-options", right, "%s: without --enable-alpha-plugins kustomize fails at %s", o.at, who)
		} else if !strings.Contains(o.flags, "--enable-exec") {
			bad = true
			p.add(report.Failed, "build-options", right, "%s: without --enable-exec kustomize leaves out %s and says nothing: Argo CD deletes the pair", o.at, who)
		}
	}
	switch {
	case len(e.argo.options) == 0:
		p.add(report.Warned, "build-options", "kubectl -n "+argoNamespace(syncs)+` get configmap argocd-cm -o 'jsonpath={.data.kustomize\.buildOptions}'`,
			"nothing here sets kustomize.buildOptions: without --enable-exec kustomize leaves out %s and says nothing", who)
	case !bad:
		p.ok("build-options", "--enable-alpha-plugins --enable-exec, for %s", who)
	}
	switch {
	case inside:
	case len(e.argo.mounts) > 0:
		p.ok("program", "%s mounts clusterpair into the repo-server", e.argo.mounts[0])
	default:
		p.add(report.Warned, "program", "kubectl -n "+argoNamespace(syncs)+" exec deploy/argocd-repo-server -c argocd-repo-server -- clusterpair doctor --argocd",
			"nothing here brings clusterpair into the PATH of the repo-server")
	}
}

// argoCDPlugins looks at config management plugins.
func (e *examination) argoCDPlugins(p *Part, syncs []engine.Applied, inside bool) {
	wanted := make(map[string]bool) // plugins that are to decrypt
	for _, s := range syncs {
		if s.Plugin != "" && len(s.Pairs)+len(s.Functions) > 0 {
			wanted[s.Plugin] = true
		}
	}
	for _, plugin := range e.argo.plugins {
		e.argoCDPlugin(p, plugin, wanted[plugin.name], inside)
		delete(wanted, plugin.name)
	}
	for _, s := range syncs {
		if wanted[s.Plugin] {
			delete(wanted, s.Plugin)
			p.add(report.Skipped, "plugin", "kubectl -n "+argoNamespace(syncs)+" get configmaps -o yaml | grep -A 12 ConfigManagementPlugin", "%s: %s: plugin %s is not described here", s.At, s.Object, s.Plugin)
		}
	}
}

// argoCDPlugin looks at the command of one plugin, which may be wanted to decrypt.
func (e *examination) argoCDPlugin(p *Part, plugin argoPlugin, wanted, inside bool) {
	const right = "command: [/custom-tools/clusterpair, build, --decrypt, .]"
	line := strings.Join(plugin.command, " ")
	ours := strings.Contains(line, "clusterpair")
	shell := len(plugin.command) > 1 && slices.Contains([]string{"sh", "bash", "ash", "dash"}, filepath.Base(plugin.command[0]))
	switch {
	case !ours && !wanted:
	case !ours && (strings.Contains(line, "sops") || strings.Contains(line, "helm-secrets")):
		p.ok("plugin", "%s: plugin %s decrypts by another program; mind that it verifies the MAC", plugin.at, plugin.name)
	case !ours:
		p.add(report.Warned, "plugin", right, "%s: plugin %s is to decrypt ClusterPairs, and its command does not look like it", plugin.at, plugin.name)
	case !strings.Contains(line, "build") || !strings.Contains(line, "--decrypt"):
		p.add(report.Failed, "plugin", right, "%s: plugin %s does not run clusterpair build --decrypt: encrypted pairs reach Stork as ciphertext", plugin.at, plugin.name)
	case shell && strings.Contains(line, "|") && !strings.Contains(line, "pipefail"):
		p.add(report.Failed, "plugin", right, "%s: plugin %s hides in a pipeline of a shell that a command failed: Argo CD takes the empty output for everything deleted", plugin.at, plugin.name)
	case !inside || e.pluginProgram(p, plugin):
		p.ok("plugin", "%s: plugin %s runs clusterpair build --decrypt", plugin.at, plugin.name)
	}
}

// pluginProgram tells whether the program of a plugin is in this container.
func (e *examination) pluginProgram(p *Part, plugin argoPlugin) bool {
	if _, err := exec.LookPath(plugin.command[0]); err != nil {
		p.add(report.Failed, "plugin", "add an init container that installs it: command [clusterpair, install, /custom-tools]", "%s: plugin %s runs %s, which this container does not have", plugin.at, plugin.name, plugin.command[0])
		return false
	}
	return true
}

// argoCDContainer looks at the container of Argo CD that this is.
func (e *examination) argoCDContainer(p *Part) {
	if len(e.argo.plugins) == 0 { // a plugin names its program, and kustomize is in it
		if _, err := exec.LookPath("clusterpair"); err == nil {
			p.ok("program", "clusterpair is in the PATH of this container of Argo CD")
		} else {
			self, _ := os.Executable() // for the hint alone
			p.add(report.Failed, "program", "mountPath: /usr/local/bin/clusterpair, for "+self, "clusterpair is not in the PATH of this container of Argo CD, so that kustomize does not find it")
		}
		e.kustomizeProgram(p)
	}
	if e.keySources(p, false) {
		p.ok("key", "there is a private key: %s", strings.Join(e.recipients(), ", "))
	} else {
		p.add(report.Failed, "key", "env: SOPS_AGE_KEY_FILE, and a volume with the key", "there is no age key in this container, without which clusterpair decrypts only by key services")
	}
}
