package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/holders"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/report"
)

// Revocation says which tokens of an account are to end.
type Revocation struct {
	*File
	// End are the tokens to end; Stay are the others.
	End, Stay []cluster.TokenSecret
	// Held are the documents that hold one of those that end.
	Held []holders.Holder

	client *cluster.Client
}

// Revocation finds the tokens to end: those that the Secret of f held before, or, with
// all, every one of its account. It refuses to end what is still held, as [File.Held]
// does.
func (f *File) Revocation(ctx context.Context, client *cluster.Client, all bool, assumeUnused []string) (*Revocation, error) {
	tokens, err := client.Tokens(ctx, f.Account)
	if err != nil {
		return nil, err
	}
	r := &Revocation{File: f, client: client}
	for _, t := range tokens {
		if all || slices.Contains(f.Previous, t.Name) {
			r.End = append(r.End, t)
		} else {
			r.Stay = append(r.Stay, t)
		}
	}
	if len(r.End) > 0 {
		r.Held, err = f.Held(ctx, r.End, all, assumeUnused)
	}
	return r, err
}

// Write says which tokens end and which stay, and what holds those that end.
func (r *Revocation) Write(w io.Writer) {
	report.Say(w, "Of ServiceAccount %s on %s end:\n", r.Account, r.client.Server())
	for _, t := range r.End {
		report.Say(w, "  %s%s\n", t.Name, r.Role(t))
	}
	for i, t := range r.Stay {
		if i == 0 {
			report.Say(w, "and stay:\n")
		}
		report.Say(w, "  %s%s\n", t.Name, r.Role(t))
	}
	for i, h := range r.Held {
		if i == 0 {
			report.Say(w, "They are held by:\n")
		}
		report.Say(w, "  %s\n", Where(h))
	}
}

// Do ends the tokens, and tells of each Secret that is gone.
func (r *Revocation) Do(ctx context.Context, gone func(secret string)) error {
	for _, t := range r.End {
		if _, err := r.client.Delete(ctx, "Secret", r.Account.Namespace, t.Name); err != nil {
			return err
		}
		gone(r.Account.Namespace + "/" + t.Name)
	}
	return nil
}

// Held are the documents of the repository that hold tokens which are to end: there may be
// some only if all says that they end whatever holds them. What does not tell what it
// holds is refused, too, unless its file is one of those that are assumed to be unused.
func (f *File) Held(ctx context.Context, end []cluster.TokenSecret, all bool, assumeUnused []string) ([]holders.Holder, error) {
	repo, err := gitfiles.Open(f.Path)
	if err != nil {
		return nil, err
	}
	known, err := holders.Find(ctx, repo)
	if err != nil {
		return nil, err
	}
	var ending []string
	for _, t := range end {
		ending = append(ending, kubeconfig.TokenSecretID(f.Account.Namespace, t.Name))
	}
	own := repo.Path(f.Path)
	known = slices.DeleteFunc(known, func(h holders.Holder) bool { // what the file itself holds is not among those of before
		return repo.Path(h.File) == own && h.Commit == "" || h.IDs == nil && slices.ContainsFunc(assumeUnused, func(name string) bool { return repo.Path(name) == repo.Path(h.File) })
	})
	held, unknown := holders.Judge(known, ending)
	switch {
	case all:
		return held, nil
	case len(held) > 0:
		h := held[0]
		text := Where(h) + " still holds one of the credentials to end"
		if n := len(held) - 1; n > 0 {
			text += fmt.Sprintf(", and so %s %s more", map[bool]string{true: "does", false: "do"}[n == 1], report.Count(n, "document", "documents"))
		}
		return nil, report.WithHint(errors.New(text), "%s", leadOut(repo, h, f))
	case len(unknown) > 0:
		h := unknown[0]
		text := Where(h) + " does not tell which credential it holds, and no key at hand opens it: it may be one of those to end"
		if n := len(unknown) - 1; n > 0 {
			text += fmt.Sprintf("; so with %s more", report.Count(n, "document", "documents"))
		}
		hint := leadOut(repo, h, f)
		if h.Commit == "" && configOf(repo, h) == "" {
			hint = "name a key that opens it: export SOPS_AGE_KEY_FILE=KEYFILE; or, if no cluster uses it: clusterpair credential revoke " + report.Typed(f.Path) + " --assume-unused " + report.Typed(h.File)
		}
		return nil, report.WithHint(errors.New(text), "%s", hint)
	}
	return nil, nil
}

// Where names a holder.
func Where(h holders.Holder) string {
	text := report.Position{File: h.File}.String() + " (" + report.Printable(h.Object) + ")"
	if h.Commit != "" {
		text += " as it is in " + h.Commit
	}
	return text
}

// leadOut is what to do so that a holder no longer holds what it does.
func leadOut(repo gitfiles.Repository, h holders.Holder, f *File) string {
	again := "; when the clusters have synced it: clusterpair credential revoke " + report.Typed(f.Path)
	switch config := configOf(repo, h); {
	case h.Commit == "HEAD":
		return "commit what is in the work tree: git add " + report.Typed(h.File) + " && git commit" + again
	case h.Commit != "":
		return "git push" + again
	case strings.HasPrefix(h.Object, "Secret "):
		return "clusterpair credential rotate " + report.Typed(h.File) + "; or, if nothing takes it: git rm " + report.Typed(h.File)
	case config != "":
		return "clusterpair generate -f " + report.Typed(config) + ", commit it" + again
	}
	return "no config here renders it: render it from another credential; or, if no cluster uses it: git rm " + report.Typed(h.File) + again
}

// configOf is the file of the config that has rendered a pair, empty if there is
// none of its name.
func configOf(repo gitfiles.Repository, h holders.Holder) string {
	if h.Config == "" {
		return ""
	}
	for _, file := range kustomize.Below(repo.Shown("."), -1) {
		file = repo.Shown(repo.Path(file)) // not by way of the top
		configs, _ := kustomize.Find(file) // what cannot be read renders nothing
		kustomize.Close(configs)
		if slices.ContainsFunc(configs, func(c kustomize.Config) bool { return c.Kind == generator.GeneratorKind && c.Name == h.Config }) {
			return file
		}
	}
	return ""
}
