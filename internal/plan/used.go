package plan

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"clusterpair.dev/internal/report"
)

// Name is one that an object has in a cluster.
type Name struct{ Namespace, Name string }

func (n Name) String() string { return n.Namespace + "/" + n.Name }

// Pair is a rendered pair.
type Pair struct {
	// Names are those by which objects can mean it: its own, and those that kustomizations
	// give to it.
	Names []Name
	// Path is that of its file from the root of the repository, File as the user types it.
	Path, File string
}

// Use is where an object of Stork names a pair.
type Use struct {
	// Object is what names it, as in "Migration apps/move".
	Object string
	// Name is that of the pair, Namespaces those in which it can be: all if there are
	// none. With a Pattern the name is not known, but for its form.
	Name       string
	Pattern    *regexp.Regexp
	Namespaces []string
	// Path is that of the object's file from the root of the repository.
	Path     string
	Position report.Position
}

// Means tells whether an object can mean what has the names.
func (u *Use) Means(names []Name) bool {
	_, means := u.name(names)
	return means
}

// name is the first by which an object can mean what has the names.
func (u *Use) name(names []Name) (Name, bool) {
	i := slices.IndexFunc(names, func(n Name) bool {
		return (u.Pattern == nil && n.Name == u.Name || u.Pattern != nil && u.Pattern.MatchString(n.Name)) && (len(u.Namespaces) == 0 || n.Namespace == "" || slices.Contains(u.Namespaces, n.Namespace))
	})
	if i < 0 {
		return Name{}, false
	}
	return names[i], true
}

// InUse refuses to remove pairs that an object names. The pairs of several clusters may
// have one name: the object means those nearest to it, by the folders that their files
// have in common. Where one of these stays it is a warning, as the files do not tell
// which is meant.
func InUse(removed, kept []Pair, uses []Use) []report.Finding {
	var findings []report.Finding
	for i := range uses {
		u := &uses[i]
		gone, depth := nearest(u, removed)
		_, other := nearest(u, kept)
		if len(gone) == 0 || other > depth {
			continue
		}
		name, _ := u.name(gone[0].Names)
		f := report.Finding{Rule: "pair-in-use", Severity: report.Error, Position: u.Position, Object: u.Object,
			Message: fmt.Sprintf("%s names ClusterPair %s, and %s would be removed: what migrates over it fails", u.Object, name, few(files(gone))),
			Hint:    "list the pair again; or, if nothing is to migrate over it any more, take the object out of the file first, and render when the cluster has synced that"}
		if name != gone[0].Names[0] {
			f.Message += fmt.Sprintf("; its own name is %s, which is changed where it is applied", gone[0].Names[0])
		}
		if u.Pattern != nil {
			f.Severity, f.Hint = report.Warning, "look on the cluster which one it names, before the file is gone"
			f.Message = fmt.Sprintf("%s names a ClusterPair by %s, whose value is not known here: whether it is %s, and %s would be removed, cannot be told", u.Object, u.Name, name, few(files(gone)))
		} else if other == depth {
			f.Severity = report.Warning
			f.Message += ", unless another pair of the name is meant, which stays"
		}
		findings = append(findings, f)
	}
	return findings
}

// nearest are the pairs that an object can mean whose files have most folders in common
// with its own, and how many these are: -1 if it means none of the pairs.
func nearest(u *Use, pairs []Pair) (found []Pair, depth int) {
	depth = -1
	for _, p := range pairs {
		if !u.Means(p.Names) {
			continue
		}
		common := shared(u.Path, p.Path)
		if common > depth {
			found, depth = nil, common
		}
		if common == depth {
			found = append(found, p)
		}
	}
	return found, depth
}

// shared is the number of folders that two files have in common.
func shared(a, b string) (n int) {
	x, y := strings.Split(path.Dir(a), "/"), strings.Split(path.Dir(b), "/")
	for n < min(len(x), len(y)) && x[n] == y[n] {
		n++
	}
	return n
}

func files(pairs []Pair) (names []string) {
	for _, p := range pairs {
		names = append(names, p.File)
	}
	return names
}
