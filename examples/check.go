package examples

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/stork"
)

// agePrivate is how private keys of age begin.
const agePrivate = "AGE-SECRET-KEY"

// privateKeyError refuses a private key without showing it.
func privateKeyError(flag string) error {
	return report.WithHint(fmt.Errorf("%s: a private key stands where a recipient belongs", flag),
		"the history of your shell has this key now; make another, whose recipient is what this prints: age-keygen -o KEYFILE")
}

// checkClusters splits --cluster.
func (l *Layout) checkClusters() error {
	if l.Example == Fleet {
		return l.checkFleet()
	}
	hint := "--cluster east=age1... --cluster west=age1..."
	if l.Example == ArgoCD {
		hint = "--cluster east=age1... --cluster west"
	}
	if len(l.Clusters) > 2 {
		return report.WithHint(errors.New("--cluster: the repository is one of two clusters"), "lay out another directory for others")
	}
	for i, c := range l.Clusters {
		name, key, _ := strings.Cut(c, "=")
		switch {
		case strings.Contains(strings.ToUpper(name), agePrivate):
			return privateKeyError("--cluster")
		case len(validation.IsDNS1123Label(name)) > 0:
			return report.WithHint(errors.New("--cluster: a name has lower-case letters, digits and '-', at most 63"), "%s", hint)
		case name == l.source.name:
			return report.WithHint(fmt.Errorf("--cluster: both clusters are called %s", name), "%s", hint)
		case i == 0:
			l.source.name, l.source.key = name, key
		default:
			l.destination.name, l.destination.key = name, key
		}
	}
	if l.Example == ArgoCD && l.destination.key != "" {
		return report.WithHint(fmt.Errorf("--cluster: %s reads nothing of this repository, so that it takes no recipient", l.destination.name), "%s; lay out the way back in another directory", hint)
	}
	if l.Example == ArgoCD && len(l.Clusters) < 2 {
		return report.WithHint(errors.New("--cluster: two clusters are needed"), "%s", hint)
	}
	l.source.name = cmp.Or(l.source.name, "east")
	if l.destination.name == "" && l.source.name == "west" {
		l.destination.name = "east"
	}
	l.destination.name = cmp.Or(l.destination.name, "west")
	return nil
}

// checkNames checks the names and the release that the manifests hold.
func (l *Layout) checkNames() error {
	_, isRelease := stork.Parse(l.StorkVersion)
	switch {
	case len(validation.IsDNS1123Label(l.Namespace)) > 0:
		return report.WithHint(errors.New("--namespace: a name has lower-case letters, digits and '-', at most 63"), "-n migrationnamespace")
	case len(validation.IsDNS1123Subdomain(l.Pair)) > 0:
		return report.WithHint(errors.New("--pair: a name has lower-case letters, digits, '-' and '.', at most 253"), "--pair remotecluster")
	case l.Example == ArgoCD && slices.Contains([]string{"kustomization", "schedule"}, l.Pair):
		return report.WithHint(fmt.Errorf("--pair: apps/%s/%s.yaml is another file", l.Namespace, l.Pair), "--pair remotecluster")
	case !isRelease:
		return report.WithHint(errors.New("--stork-version: what is given is no release of Stork"), "--stork-version 24.3")
	}
	return nil
}

// role is a key: the flag of its recipient, the recipient, and the name of its file.
type role struct{ flag, key, file string }

// roles are the keys of a layout.
func (l *Layout) roles() (roles []role) {
	clusters := []cluster{l.source, l.destination}
	switch {
	case l.Example == ArgoCD:
		clusters = clusters[:1]
	case l.Hub != "":
		clusters, roles = nil, []role{{"--argocd", l.Hub, "argocd"}}
	case l.Example == Fleet:
		clusters = l.fleet
	}
	for _, c := range clusters {
		roles = append(roles, role{"--cluster " + c.name, c.key, c.name})
	}
	return append(roles, role{"--ci", l.CI, "ci"}, role{"--recovery", l.Recovery, "recovery"})
}

// checkRecipients wants each recipient, and each to have a key of its own. What is
// given may be a private key with a slip in it, so that no value is shown.
func (l *Layout) checkRecipients() error {
	roles := l.roles()
	recipient := regexp.MustCompile(`^age1[a-z0-9]+$`) // and no list of them
	ssh := regexp.MustCompile(`^ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( [\w.@-]+)?$`)
	var missing, lines []string
	owners := make(map[string]string)
	for _, r := range roles {
		_, err := sopsfile.Recipients{Age: []string{r.key}}.Policy()
		owner, twice := owners[r.key]
		switch {
		case r.key == "":
			missing, lines = append(missing, r.flag), append(lines, "\n    age-keygen -o "+r.file+".agekey")
		case strings.Contains(strings.ToUpper(r.key), agePrivate):
			return privateKeyError(r.flag)
		case ssh.MatchString(r.key) && strings.HasPrefix(r.flag, "--cluster"):
			return report.WithHint(fmt.Errorf("%s: an SSH key: what decrypts in a cluster reads age keys alone", r.flag), "make an age key, whose recipient is what this prints: age-keygen -o %s.agekey", r.file)
		case err != nil || !recipient.MatchString(r.key) && !ssh.MatchString(r.key):
			return report.WithHint(fmt.Errorf("%s: what is given is no age recipient", r.flag), "the recipient of a key, age1..., is what this prints: age-keygen -y KEYFILE")
		case twice && l.Example == ArgoCD && r.flag == "--ci": // the pair tells no more than its Secret
		case twice:
			return report.WithHint(fmt.Errorf("%s and %s have the same recipient: one would read what is for the other, and both lose it at once", owner, r.flag), "age-keygen -o %s.agekey", r.file)
		default:
			owners[r.key] = r.flag
		}
	}
	if missing == nil {
		return nil
	}
	return report.WithHint(fmt.Errorf("no recipient for %s", strings.Join(missing, ", ")),
		"each of these prints one; the files are the keys, and stay out of Git%s", strings.Join(lines, ""))
}

// checkRepo wants the URL of a repository for the engine that is to read it.
func (l *Layout) checkRepo() error {
	scp := regexp.MustCompile(`^[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[A-Za-z0-9._~/-]+$`) // git's address for SSH that is no URL
	if l.Example == Flux || scp.MatchString(l.Repo) && (l.Example == ArgoCD || l.Hub != "") {
		return nil
	}
	engine := "Argo CD"
	if l.Example == Fleet && l.Hub == "" {
		engine = "Flux"
	}
	if l.Repo == "" {
		return report.WithHint(fmt.Errorf("no URL by which %s reads the repository", engine), `--repo "$(git remote get-url origin)"`)
	}
	if scp.MatchString(l.Repo) {
		return report.WithHint(errors.New("--repo: Flux takes no address of this form"), "write it as a URL, with ssh:// in front of it and / in place of the colon")
	}
	return checkURL(l.Repo, engine)
}

// checkURL wants the URL of a repository for an engine, without a credential.
func checkURL(repo, engine string) error {
	u, err := url.Parse(repo)
	if err != nil || !slices.Contains([]string{"https", "http", "ssh", "file"}, u.Scheme) || u.Path == "" || u.Host == "" && u.Scheme != "file" || strings.ContainsFunc(repo, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return report.WithHint(errors.New("--repo: what is given is no URL of a repository"), "--repo https://git.example.com/fleet.git")
	}
	if _, password := u.User.Password(); password || u.User != nil && u.Scheme != "ssh" || u.RawQuery != "" || u.Fragment != "" {
		return report.WithHint(errors.New("--repo: the URL has more than host and path, which may be a credential and would be in Git"),
			"leave it out: %s takes credentials from a Secret", engine)
	}
	return nil
}
