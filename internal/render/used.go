package render

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/migration"
	"clusterpair.dev/internal/plan"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// uses are the objects of Stork in a repository that name pairs.
type uses struct {
	named     []plan.Use        // by clusterPair
	admin     []plan.Use        // by adminClusterPair
	actions   []plan.Use        // of a MigrationSchedule: Name is that of the schedule
	schedules map[string][]pair // what each of them names, by NAMESPACE/NAME
	admins    []string          // the admin namespaces
}

// pair is what a schedule names.
type pair struct {
	name  string
	admin bool
}

// read notes what the objects of a file name.
func (u *uses) read(file gitfiles.File, data []byte) {
	uses := bytes.Contains(data, []byte("stork.libopenstorage.org")) && (bytes.Contains(data, []byte("Migration")) || bytes.Contains(data, []byte("Action")))
	if !uses && !bytes.Contains(data, []byte("admin-n")) { // admin-ns and admin-namespace
		return
	}
	manifest.Scan(bytes.Clone(data), file.Name, func(d manifest.Document, _ *report.Finding) {
		manifest.EachItem(d.Node, func(n *yaml.Node) {
			kind := manifest.Text(n, "kind")
			if namespaces, ok := migration.Admins(n, kind); ok {
				u.admins = append(u.admins, namespaces...)
			} else if strings.HasPrefix(manifest.Text(n, "apiVersion"), "stork.libopenstorage.org/") {
				u.object(n, kind, file)
			}
		})
	})
}

// object notes what an object names.
func (u *uses) object(n *yaml.Node, kind string, file gitfiles.File) {
	o, ok := migration.Read(n, kind)
	if !ok {
		return
	}
	id := o.Namespace + "/" + o.Name
	use := func(at *yaml.Node) plan.Use {
		named := plan.Use{Object: kind + " " + strings.TrimPrefix(id, "/"), Name: at.Value, Path: file.Path, Position: manifest.Position(at, file.Name)}
		if o.Namespace != "" { // else a kustomization gives it
			named.Namespaces = []string{o.Namespace}
		}
		return named
	}
	note := func(at *yaml.Node, to *[]plan.Use, admin bool) {
		if at == nil {
			return
		}
		*to = append(*to, use(at))
		if kind == "MigrationSchedule" {
			u.schedules[id] = append(u.schedules[id], pair{at.Value, admin})
		}
	}
	note(o.Pair, &u.named, false)
	note(o.AdminPair, &u.admin, true)
	for _, at := range o.Schedules {
		u.actions = append(u.actions, use(at))
	}
}

// all are the uses of pairs, those by way of a schedule included: where an Action runs
// Stork takes the pair of the name that the schedule has.
func (u *uses) all() []plan.Use {
	admins := u.admins
	if len(admins) == 0 {
		admins = []string{"kube-system"}
	}
	named := slices.Clone(u.named)
	for _, use := range u.admin {
		use.Namespaces = admins
		named = append(named, use)
	}
	for _, use := range u.actions {
		namespace := strings.Join(use.Namespaces, "")
		for _, p := range u.schedules[namespace+"/"+use.Name] {
			by := use
			by.Object, by.Name = use.Object+", by MigrationSchedule "+use.Name+",", p.name
			if p.admin {
				by.Namespaces = admins
			}
			named = append(named, by)
		}
	}
	return named
}

// inUse refuses to remove pairs that an object of Stork names.
func (r *rendering) inUse() []report.Finding {
	var removed, kept []plan.Pair
	add := func(to *[]plan.Pair, file, shown string) {
		dir, base := path.Split(file)
		*to = append(*to, plan.Pair{Namespace: path.Base(dir), Name: strings.TrimSuffix(base, path.Ext(base)), Path: file, File: shown})
	}
	for _, w := range r.outputs {
		for _, change := range w.Changes() {
			if change.Verb == worktree.Removed {
				add(&removed, r.repo.Path(w.Show(change.Path)), w.Show(change.Path))
			}
		}
	}
	if len(removed) == 0 {
		return nil
	}
	for _, w := range r.outputs {
		for _, file := range w.Paths() {
			add(&kept, r.repo.Path(w.Show(file)), w.Show(file))
		}
	}
	for _, p := range r.pairs {
		add(&kept, p.Path, p.Position.File)
	}
	return plan.InUse(removed, kept, r.uses.all())
}
