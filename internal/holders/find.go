package holders

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// commits are where to look: first in the work tree.
var commits = []string{"", "HEAD", "@{upstream}"}

// Find finds what holds credentials in the work tree of a repository, and
// what does in HEAD and in the upstream branch, from which clusters are synced,
// where that is another file.
func Find(ctx context.Context, repo gitfiles.Repository) ([]Holder, error) {
	s := search{safe: sopsfile.New(nil)}
	work := &gitfiles.WorkTree{Repository: repo}
	unread, err := gitfiles.Each(ctx, work, func(ctx context.Context, hand func(gitfiles.File)) error {
		return work.Walk(ctx, repo.Shown("."), gitfiles.IsManifest, hand)
	}, s.visit(""))
	for _, commit := range commits[1:] {
		if err != nil || len(unread) > 0 {
			break
		}
		g := &gitfiles.Index{Repository: repo}
		unread, err = gitfiles.Each(ctx, g, g.Other(commit), s.visit(commit))
		g.Close()
	}
	switch {
	case err != nil:
		return nil, err
	case len(unread) > 0:
		return nil, report.Errors(unread)
	case len(s.broken) > 0:
		report.Sort(s.broken)
		first := s.broken[0]
		return nil, report.WithHint(fmt.Errorf("%s: what it holds is not known, as it cannot be read: %s", first.Position, first.Message), "clusterpair validate %s", report.Typed(first.Position.File))
	}
	slices.SortFunc(s.all, func(a, b Holder) int {
		return cmp.Or(slices.Index(commits, a.Commit)-slices.Index(commits, b.Commit), strings.Compare(a.File, b.File), strings.Compare(a.Object, b.Object))
	})
	return s.all, nil
}

// search is what one run of [Find] has found.
type search struct {
	safe   *sopsfile.Safe
	mu     sync.Mutex // guards what follows
	all    []Holder
	broken []report.Finding // documents of the work tree that may be ClusterPairs
}

// visit gives what is called for each file of a commit.
func (s *search) visit(commit string) func(context.Context, gitfiles.File, []byte) error {
	return func(ctx context.Context, file gitfiles.File, data []byte) error {
		if !bytes.Contains(data, []byte(generator.ClusterPairKind)) && !bytes.Contains(data, []byte(generator.AnnotationCredentialID)) &&
			!bytes.Contains(data, []byte(AnnotationTokenSecret)) {
			return nil
		}
		found, broken := within(data, file.Name)
		if i := slices.IndexFunc(found, func(h Holder) bool { return h.IDs == nil }); i >= 0 && len(found) == 1 {
			if docs, err := s.safe.Decrypt(ctx, data, file.Name); err == nil && len(docs) == 1 {
				found[i].IDs = Plain(manifest.Contents(docs)[0])
			}
		}
		for i := range found {
			found[i].File, found[i].Commit = file.Name, commit
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.all = append(s.all, found...); broken != nil && commit == "" {
			s.broken = append(s.broken, *broken)
		}
		return nil
	}
}

// within finds the holders among the documents of a file. broken is a document that
// may be a ClusterPair and cannot be read.
func within(data []byte, file string) (found []Holder, broken *report.Finding) {
	manifest.Scan(data, file, func(d manifest.Document, unread *report.Finding) {
		if unread != nil {
			if MayBePair(d.Text) {
				broken = unread
			}
			return
		}
		manifest.EachItem(d.Node, func(doc *yaml.Node) {
			h, ok := Of(doc)
			if !ok {
				return
			}
			if h.IDs == nil && !sopsfile.IsEncrypted(d.Node) {
				h.IDs = Plain(doc)
			}
			found = append(found, h)
		})
	})
	return found, broken
}

// Each visits the documents of files that are ClusterPairs or say when a credential
// ends, on all cores. paths are what a user has named of the source. What a document
// holds is the visitor's only while it runs. broken are the documents that may be
// ClusterPairs and cannot be read; templates are not among them.
func Each(ctx context.Context, source gitfiles.Source, paths []string, visit func(file string, doc *yaml.Node)) (broken []report.Finding, err error) {
	files, err := source.List(ctx, paths)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex // guards broken
	unread, err := gitfiles.Each(ctx, source, files.Each, func(_ context.Context, file gitfiles.File, data []byte) error {
		if !bytes.Contains(data, []byte(generator.ClusterPairKind)) && !bytes.Contains(data, []byte(generator.AnnotationExpires)) {
			return nil
		}
		manifest.Scan(data, file.Name, func(d manifest.Document, unread *report.Finding) {
			switch {
			case unread == nil:
				manifest.EachItem(d.Node, func(doc *yaml.Node) {
					if manifest.Text(doc, "kind") == generator.ClusterPairKind || manifest.Text(doc, "metadata", "annotations", generator.AnnotationExpires) != "" {
						visit(file.Name, doc)
					}
				})
			case MayBePair(d.Text) && !manifest.IsTemplate(d.Text):
				mu.Lock()
				defer mu.Unlock()
				broken = append(broken, *unread)
			}
		})
		return nil
	})
	if err == nil && len(unread) > 0 {
		err = report.Errors(unread)
	}
	report.Sort(broken)
	return broken, err
}

// MayBePair tells whether a document that cannot be read may be a ClusterPair.
func MayBePair(text []byte) bool { return pairKind().Match(text) }

var pairKind = pattern.Later(`(?m)\bkind["']?[ \t]*:[ \t]*["']?` + generator.ClusterPairKind + `["']?[ \t\r]*(?:$|[,}#])`)
