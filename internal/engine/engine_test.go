package engine

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

var update = flag.Bool("update", false, "write what is explained into the archives")

// TestExplain explains each file of a ClusterPair in the repositories of testdata, and
// compares with what their last file says.
func TestExplain(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no archives", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var notes Notes
			var pairs []Pair
			var remotes []string
			for line := range strings.Lines(string(archive.Comment)) {
				if remote, ok := strings.CutPrefix(line, "remote "); ok {
					remotes = append(remotes, strings.TrimSpace(remote))
				}
				if words := strings.Fields(line); len(words) == 3 && words[0] == "link" {
					notes.AddLink(words[1], words[1], words[2], false)
				}
			}
			files := archive.Files[:len(archive.Files)-1]
			for _, file := range files {
				if notes.Saw(file.Name, file.Name, file.Data); filepath.Base(file.Name) == IgnoreFile {
					continue
				}
				manifest.Scan(file.Data, file.Name, func(d manifest.Document, broken *report.Finding) {
					if broken != nil {
						t.Fatal(*broken)
					}
					doc := Document{Path: file.Name, Name: file.Name, Node: d.Node}
					if manifest.Text(d.Node, "kind") == "ClusterPair" {
						notes.AddPair(doc, strings.Contains(string(archive.Comment), "link "+file.Name))
						pairs = append(pairs, Pair{ID: manifest.Text(d.Node, "metadata", "namespace") + "/" + manifest.Text(d.Node, "metadata", "name"), Path: file.Name, Encrypted: true})
						return
					}
					notes.Add(doc)
				})
			}
			m := notes.Model(pairs, func() []string { return remotes })
			patches := m.PatchesOnly()
			var got strings.Builder
			for _, p := range pairs {
				if _, isPatch := patches[p.Path]; !isPatch {
					got.WriteString(p.Path + "\n  " + strings.Join(m.Explain(p).Lines(), "\n  ") + "\n")
				}
			}
			last := &archive.Files[len(archive.Files)-1]
			if *update {
				last.Data = []byte(got.String())
				if err := os.WriteFile(name, txtar.Format(archive), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if last.Name != "explained" || got.String() != string(last.Data) {
				t.Errorf("got\n%swant\n%s", &got, last.Data)
			}
		})
	}
}
