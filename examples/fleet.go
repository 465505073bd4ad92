package examples

import (
	"embed"
	"errors"
	"fmt"
	"path"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/util/validation"

	"clusterpair.dev/internal/report"
)

// many are the files of a fleet, each with .tmpl at its end: text/template makes them of a
// [member], of each cluster those below clusters/NAME. next.txt is what to type then.
//
//go:embed all:many
var many embed.FS

// member is a cluster as the texts of a fleet see it.
type member struct {
	*fleetView
	Name, Key string
}

// fleetView is a fleet as its texts see it.
type fleetView struct {
	*Layout
	Fleet   []member
	HubName string // of the key that reads all pairs; empty for none
	// Dir is the directory of the layout, from the root of its repository, empty or with a
	// slash at its end; Keys is the one with the keys, Hooks the file with hooks behind a
	// space.
	Dir, Keys, Hooks string
}

func (l *Layout) view(dir string) *fleetView {
	v := &fleetView{Layout: l}
	if l.Hub != "" {
		v.HubName = "Argo CD"
	}
	if dir != "." {
		v.Dir = dir + "/"
	}
	for _, c := range l.fleet {
		v.Fleet = append(v.Fleet, member{v, c.name, c.key})
	}
	return v
}

// fill fills in a file of a fleet.
func fill(name string, with any) (string, error) {
	data, err := many.ReadFile("many/" + name + ".tmpl")
	if err != nil {
		return "", err
	}
	t, err := template.New(name).Funcs(template.FuncMap{"yaml": plain}).Parse(string(data))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, with)
	return b.String(), err
}

// layFleet are the files of a fleet with the user's names.
func (l *Layout) layFleet(dir string) (map[string]string, error) {
	v := l.view(dir)
	files := make(map[string]string)
	lay := func(name string, m member) (err error) {
		files[strings.Replace(name, "NAME", m.Name, 1)], err = fill(name, m)
		return err
	}
	names := []string{".sops.yaml", "fleet.yaml"}
	if l.Hub != "" {
		names = append(names, "clusterpairs.yaml")
	}
	for _, name := range names {
		if err := lay(name, member{fleetView: v}); err != nil {
			return nil, err
		}
	}
	for _, m := range v.Fleet {
		for _, name := range []string{"clusters/NAME/clusterpairs.yaml", "clusters/NAME/namespace.yaml"} {
			if l.Hub != "" {
				break
			}
			if err := lay(name, m); err != nil {
				return nil, err
			}
		}
	}
	hooks, err := read(Flux, HooksFile)
	files[HooksFile] = strings.Replace(hooks, "-f dr/east -f dr/west", "-f "+path.Join(dir, "fleet.yaml"), 1)
	return files, err
}

// checkFleet splits --cluster of a fleet.
func (l *Layout) checkFleet() error {
	hint := "--cluster east=age1... --cluster west=age1..."
	if l.Hub != "" {
		hint = "--cluster east --cluster west"
	}
	seen := make(map[string]bool)
	for _, c := range l.Clusters {
		name, key, _ := strings.Cut(c, "=")
		switch {
		case strings.Contains(strings.ToUpper(name), agePrivate):
			return privateKeyError("--cluster")
		case len(validation.IsDNS1123Label(name)) > 0:
			return report.WithHint(errors.New("--cluster: a name has lower-case letters, digits and '-', at most 63"), "%s", hint)
		case seen[name]:
			return report.WithHint(fmt.Errorf("--cluster: two clusters are called %s", name), "%s", hint)
		case l.Hub != "" && key != "":
			return report.WithHint(fmt.Errorf("--cluster: Argo CD decrypts for %s, so that it takes no recipient", name), "%s", hint)
		}
		seen[name] = true
		l.fleet = append(l.fleet, cluster{name, key})
	}
	if len(l.fleet) < 2 {
		return report.WithHint(errors.New("--cluster: a fleet has two clusters or more"), "%s", hint)
	}
	return nil
}
