package render

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/engine"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/migration"
	"clusterpair.dev/internal/overlay"
	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/plan"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// uses are the objects of Stork in a repository that name pairs.
type uses struct {
	named     []plan.Use // by clusterPair
	admin     []plan.Use // by adminClusterPair
	actions   []plan.Use // of a MigrationSchedule: Name is that of the schedule
	schedules []schedule
	admins    []string // the admin namespaces
	renamers  renamers
}

// schedule is a MigrationSchedule, and where it names a pair.
type schedule struct {
	plan.Name
	pair  plan.Use
	admin bool
}

// read notes what the objects of a file name, and what gives them other names.
func (u *uses) read(file gitfiles.File, data []byte) {
	kustomization := engine.IsKustomization(file.Path)
	if !kustomization && !slices.ContainsFunc(telling, func(text string) bool { return bytes.Contains(data, []byte(text)) }) {
		return
	}
	manifest.Scan(bytes.Clone(data), file.Name, func(d manifest.Document, unread *report.Finding) {
		if unread != nil {
			u.unread(d, file)
			return
		}
		if kustomization {
			n, _ := overlay.Folded(d.Node)
			u.renamers.kustomization(path.Dir(file.Path), n)
			u.patches(n, file)
			u.operations(manifest.Field(n, "replacements"), file)
			return
		}
		u.document(d.Node, file)
	})
}

// pairKey is where an object names a pair, as far as a text tells.
var pairKey = pattern.Later(`(?m)(?:^|[ \t{,"'])(?:(adminC)|c)lusterPair["']?[ \t]*:[ \t]*["']?([-.a-z0-9]+)`)

// unread notes the pairs that a document names which cannot be read. What is wrong with
// it is for validate to say.
func (u *uses) unread(d manifest.Document, file gitfiles.File) {
	for _, m := range pairKey().FindAllSubmatchIndex(d.Text, -1) {
		to := &u.named
		if m[2] >= 0 {
			to = &u.admin
		}
		line := d.Line + bytes.Count(d.Text[:m[4]], []byte("\n"))
		*to = append(*to, plan.Use{Object: "a document that cannot be read", Name: string(d.Text[m[4]:m[5]]), Path: file.Path, Position: report.Position{File: file.Name, Line: line}})
	}
}

// telling are texts of which one stands in each file that matters here, for admin-ns and
// admin-namespace as well.
var telling = []string{"lusterPair", "migrationScheduleReference", "admin-n", "namePrefix", "nameSuffix", "targetNamespace", "kustomize:"}

// document reads what a file holds, or a patch that stands in a kustomization.
func (u *uses) document(n *yaml.Node, file gitfiles.File) {
	if n.Kind == yaml.SequenceNode {
		u.operations(n, file)
		return
	}
	manifest.EachItem(n, func(n *yaml.Node) {
		kind := manifest.Text(n, "kind")
		if namespaces, ok := migration.Admins(n, kind); ok {
			u.admins = append(u.admins, namespaces...)
		} else if strings.HasPrefix(manifest.Text(n, "apiVersion"), "stork.libopenstorage.org/") {
			u.object(n, kind, file)
		} else {
			u.renamers.sync(n)
		}
	})
}

// object notes what an object names.
func (u *uses) object(n *yaml.Node, kind string, file gitfiles.File) {
	o, ok := migration.Read(n, kind)
	if !ok {
		return
	}
	object := kind + " " + strings.TrimPrefix(o.Namespace+"/"+o.Name, "/")
	note := func(at *yaml.Node, to *[]plan.Use, admin bool) {
		if at == nil {
			return
		}
		use := useOf(object, o.Namespace, at, file)
		if *to = append(*to, use); kind == "MigrationSchedule" {
			u.schedules = append(u.schedules, schedule{plan.Name{Namespace: o.Namespace, Name: o.Name}, use, admin})
		}
	}
	note(o.Pair, &u.named, false)
	note(o.AdminPair, &u.admin, true)
	for _, at := range o.Schedules {
		u.actions = append(u.actions, useOf(object, o.Namespace, at, file))
	}
}

// useOf is where an object names something.
func useOf(object, namespace string, at *yaml.Node, file gitfiles.File) plan.Use {
	use := plan.Use{Object: object, Name: strings.Clone(at.Value), Pattern: form(at.Value), Path: file.Path, Position: manifest.Position(at, file.Name)}
	if namespace != "" && form(namespace) == nil { // else a kustomization gives it, or Flux
		use.Namespaces = []string{namespace}
	}
	return use
}

// all are the uses of pairs, those by way of a schedule included: where an Action runs
// Stork takes the pair of the name that the schedule has.
func (u *uses) all() []plan.Use {
	admins := u.admins
	if len(admins) == 0 {
		admins = []string{"kube-system"}
	}
	var named []plan.Use
	add := func(use plan.Use, admin bool) {
		if use.Namespaces = u.namespaces(&use); admin {
			use.Namespaces = admins
		}
		named = append(named, use)
	}
	for _, use := range u.named {
		add(use, false)
	}
	for _, use := range u.admin {
		add(use, true)
	}
	for _, use := range u.actions {
		in := use
		in.Namespaces = u.namespaces(&in)
		for i := range u.schedules {
			s := &u.schedules[i]
			if !in.Means(u.renamers.of(s.pair.Path, s.Name)) {
				continue
			}
			by := use
			by.Object, by.Name, by.Pattern = use.Object+", by MigrationSchedule "+s.Name.Name+",", s.pair.Name, s.pair.Pattern
			add(by, s.admin)
		}
	}
	return named
}

// namespaces are those in which an object can be, and what it names.
func (u *uses) namespaces(use *plan.Use) (namespaces []string) {
	for _, namespace := range use.Namespaces {
		for _, n := range u.renamers.of(use.Path, plan.Name{Namespace: namespace}) {
			namespaces = append(namespaces, n.Namespace)
		}
	}
	return namespaces
}

// inUse refuses to remove pairs that an object of Stork names.
func (r *rendering) inUse() []report.Finding {
	var removed, kept []plan.Pair
	add := func(to *[]plan.Pair, file, shown string) {
		dir, base := path.Split(file)
		own := plan.Name{Namespace: path.Base(dir), Name: strings.TrimSuffix(base, path.Ext(base))}
		*to = append(*to, plan.Pair{Names: r.uses.renamers.of(file, own), Path: file, File: shown})
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
