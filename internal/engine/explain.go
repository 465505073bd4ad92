package engine

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"clusterpair.dev/internal/report"
)

// Explanation is how engines apply the file of a ClusterPair.
type Explanation struct {
	File string `json:"file"`
	// Pair is NAMESPACE/NAME.
	Pair      string `json:"clusterPair"`
	Encrypted bool   `json:"encrypted"`
	// PatchOf are the folders of the kustomizations that take the file for a patch, and
	// for nothing else.
	PatchOf []string `json:"patchOf"`
	// AppliedBy has each object that applies the file, in each of its forms.
	AppliedBy []Chain `json:"appliedBy"`
	// Unknown are the objects of which nobody can tell what they apply, Elsewhere those
	// that apply another repository.
	Unknown   []Doubt `json:"unknown"`
	Elsewhere []Doubt `json:"elsewhere"`
}

// Chain is the way from an object of an engine to a file.
type Chain struct {
	Engine Engine `json:"engine"`
	Object string `json:"object"`
	At     Place  `json:"at"`
	Folder string `json:"folder"`
	// Unsure is why nobody can tell whether the object applies the folder; empty if it does.
	Unsure string `json:"unsure"`
	// Chart says that the folder is a Helm chart, Kustomizations are the folders of those
	// that take the file in, the outermost first.
	Chart          bool     `json:"chart"`
	Kustomizations []string `json:"kustomizations"`
	// Form is clear, ciphertext or unknown; DecryptedBy is who decrypts, KeySecret the
	// Secret with the key, Why what leaves it encrypted although the engine decrypts others.
	Form        string `json:"form"`
	DecryptedBy string `json:"decryptedBy"`
	KeySecret   string `json:"keySecret"`
	Why         string `json:"why"`
	WhyAt       *Place `json:"whyAt"`
	// Committed says that the engine commits what it has decrypted to Git.
	Committed bool `json:"committed"`
	// Patch says that it is a patch of the last kustomization.
	Patch bool `json:"patch"`
	// Dropped says that the pair never reaches the cluster, LeftAlone what keeps it, or a
	// change of it, away. Ignores is a setting that keeps a changed credential away.
	Dropped     bool   `json:"dropped"`
	LeftAlone   string `json:"leftAlone"`
	LeftAloneAt *Place `json:"leftAloneAt"`
	Ignores     string `json:"ignores"`
	IgnoresAt   *Place `json:"ignoresAt"`
	// Perhaps is why nobody can tell whether it does; empty if it does.
	Perhaps string `json:"perhaps"`
	// Waits says that the engine waits for the status of the pair.
	Waits     bool `json:"waits"`
	Suspended bool `json:"suspended"`
	// Idle is why the object itself does not get into the cluster; empty if it does.
	Idle string `json:"idle"`
	// Unlisted is the file of the object if no kustomization beside it takes that in.
	Unlisted string `json:"unlisted"`
	Prunes   bool   `json:"prunes"`
}

// Doubt is an object that says nothing certain about a file.
type Doubt struct {
	Engine Engine `json:"engine"`
	Object string `json:"object"`
	At     Place  `json:"at"`
	Why    string `json:"why"`
}

// Place is a place in a file.
type Place struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

func (p Place) String() string { return report.Position(p).String() }

// placeOf is a place, nil if there is none.
func placeOf(at report.Position) *Place {
	if at.File == "" {
		return nil
	}
	p := Place(at)
	return &p
}

// Explain tells how engines apply a ClusterPair in a file: each object that does, with the
// steps and the form, then those of which nobody can tell.
func (m *Model) Explain(p Pair) Explanation {
	e := Explanation{File: p.File, Pair: p.ID, Encrypted: p.Encrypted, PatchOf: []string{}, AppliedBy: []Chain{}, Unknown: []Doubt{}, Elsewhere: []Doubt{}}
	if m.patchesOnly == nil {
		m.patchesOnly = m.PatchesOnly()
	}
	if _, isPatch := m.patchesOnly[p.Path]; isPatch {
		for _, dir := range m.sorted {
			if slices.ContainsFunc(m.dirs[dir].Patches, func(patch PatchFile) bool { return patch.Path == p.Path }) {
				e.PatchOf = append(e.PatchOf, dir)
			}
		}
	}
	type doubt struct{ at, why string }
	said := make(map[doubt]bool)
	add := func(c Chain) {
		e.AppliedBy = append(e.AppliedBy, c)
		said[doubt{c.At.String(), c.Unsure}] = true
	}
	for _, dir := range e.PatchOf {
		for _, s := range m.Syncs {
			if s.Dirs[dir] {
				add(s.patching(dir))
			}
		}
	}
	syncs := m.Applying(p.Path)
	slices.SortStableFunc(syncs, func(a, b *Sync) int { return Compare(a.At, b.At) })
	for _, s := range syncs {
		if a, ok := m.Application(s, p.Path); ok {
			add(a.chain())
		}
	}
	for _, u := range m.Unknown {
		if !said[doubt{u.At.String(), u.Why}] {
			e.Unknown = append(e.Unknown, Doubt{u.Engine, u.Object, Place(u.At), u.Why})
		}
	}
	for _, u := range m.Foreign {
		e.Elsewhere = append(e.Elsewhere, Doubt{u.Engine, u.Object, Place(u.At), u.Why})
	}
	return e
}

// patching is the chain to a patch of a kustomization that a sync builds.
func (s *Sync) patching(dir string) Chain {
	a := Application{Sync: s, Form: Ciphertext, Steps: []string{dir}}
	if s.Decrypts {
		a.Form, a.By = Clear, strings.TrimSpace(string(s.Engine)+" "+s.Plugin)
	}
	c := a.chain()
	c.Patch = true
	return c
}

func (a *Application) chain() Chain {
	s := a.Sync
	c := Chain{Engine: s.Engine, Object: s.Object, At: Place(s.At), Folder: s.Path, Unsure: s.Unsure,
		Chart: s.chart, Kustomizations: append([]string{}, a.Steps...), DecryptedBy: a.By, Why: a.Why, WhyAt: placeOf(a.WhyAt),
		Dropped: a.Never(), LeftAlone: a.Keeps, LeftAloneAt: placeOf(a.KeepsAt), Ignores: a.Ignores.Name, IgnoresAt: placeOf(a.Ignores.At), Perhaps: a.Perhaps,
		Waits: s.Healthy, Suspended: s.Suspended, Idle: s.Idle, Prunes: s.Prunes,
		Form: map[Form]string{Clear: "clear", Ciphertext: "ciphertext", Untold: "unknown"}[a.Form]}
	if a.Form == Clear {
		c.KeySecret, c.Committed = s.Secret, s.Hydrates
	}
	if s.Unlisted {
		c.Unlisted = s.File
	}
	return c
}

// Lines is an explanation for a person, without the name of the file.
func (e Explanation) Lines() (lines []string) {
	if len(e.PatchOf) > 0 {
		lines = append(lines, "a patch of "+strings.Join(e.PatchOf, ", ")+": no engine applies it by itself")
	}
	for i := range e.AppliedBy {
		lines = append(lines, e.AppliedBy[i].lines()...)
	}
	if len(e.AppliedBy)+len(e.PatchOf) == 0 {
		lines = append(lines, "none of the objects here applies it")
		for _, u := range e.Elsewhere {
			lines = append(lines, fmt.Sprintf("%s: %s of %s: %s", u.At, u.Object, u.Engine, u.Why))
		}
	}
	for _, u := range e.Unknown {
		lines = append(lines, fmt.Sprintf("%s: %s of %s: cannot tell what it applies: %s", u.At, u.Object, u.Engine, u.Why))
	}
	return lines
}

func (c *Chain) lines() []string {
	lines := []string{fmt.Sprintf("%s: %s: %s applies folder %s", c.At, c.Object, c.Engine, c.Folder)}
	say := func(format string, args ...any) { lines = append(lines, "  "+fmt.Sprintf(format, args...)) }
	if c.Unsure != "" {
		say("nobody can tell whether that is so: %s", c.Unsure)
	}
	switch {
	case c.Chart:
		say("as a template of the Helm chart there")
	case c.Patch:
		say("as a patch of the kustomization %s", c.Kustomizations[0])
	case len(c.Kustomizations) > 0:
		say("by the kustomizations %s", strings.Join(c.Kustomizations, ", "))
	default:
		say("as a file by itself")
	}
	if c.Dropped {
		say("it never reaches the cluster: %s%s", c.LeftAlone, placed(c.LeftAloneAt))
	} else {
		c.sayForm(say)
	}
	if c.Suspended {
		say("not now: it is suspended")
	}
	if c.Idle != "" {
		say("not at all: %s", c.Idle)
	}
	if c.Unlisted != "" {
		say("not at all, as long as the kustomization beside it does not list %s", c.Unlisted)
	}
	if c.Prunes && !c.Dropped {
		say("removed from the cluster once the file is gone")
	}
	return lines
}

// sayForm says in what form a pair is applied, and what the engine does with it then.
func (c *Chain) sayForm(say func(format string, args ...any)) {
	switch {
	case c.Committed:
		say("decrypted by %s, and committed to Git in clear", c.DecryptedBy)
	case c.KeySecret != "":
		say("decrypted by %s, with the key in Secret %s", c.DecryptedBy, c.KeySecret)
	case c.Form == "clear":
		say("decrypted by %s", c.DecryptedBy)
	case c.Form == "unknown":
		say("nobody can tell whether it is decrypted")
	case c.Why != "":
		say("as ciphertext: %s%s", c.Why, placed(c.WhyAt))
	default:
		say("as ciphertext: nothing decrypts it")
	}
	if c.LeftAlone != "" {
		say("left alone: %s%s", c.LeftAlone, placed(c.LeftAloneAt))
	}
	if c.Ignores != "" {
		never := "never changed"
		if c.Perhaps != "" {
			never = "nobody can tell whether it is ever changed, as " + c.Perhaps
		}
		say("%s: it ignores %s%s", never, c.Ignores, placed(c.IgnoresAt))
	}
	switch {
	case c.Engine != Flux:
	case c.Waits:
		say("Flux waits until Stork calls it Ready")
	default:
		say("Flux does not look at its status")
	}
}

func placed(at *Place) string {
	if at == nil {
		return ""
	}
	return ", in " + at.String()
}

// Formats are the names of the formats that [Write] knows.
func Formats() []string { return []string{"text", "json"} }

// Write writes explanations in one of the [Formats]; nothing if there are none.
func Write(w io.Writer, format string, all []Explanation) error {
	if len(all) == 0 {
		return nil
	}
	if format == "json" {
		text, err := report.JSON(all, "  ")
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	}
	for _, e := range all {
		report.Say(w, "%s\n", e.File)
		for _, line := range e.Lines() {
			report.Say(w, "  %s\n", line)
		}
	}
	return nil
}
