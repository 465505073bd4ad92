package engine

import (
	"fmt"
	"strings"

	"clusterpair.dev/internal/report"
)

// Explain tells a person in lines how engines apply the file of a ClusterPair: each object
// that does, with the steps and the form, then those of which nobody can tell.
func (m *Model) Explain(file string) (lines []string) {
	for _, s := range m.Syncs {
		if a, ok := m.Application(s, file); ok {
			lines = append(lines, a.lines()...)
		}
	}
	if len(lines) == 0 {
		lines = append(lines, "none of the objects here applies it")
	}
	for _, u := range m.Unknown {
		lines = append(lines, fmt.Sprintf("%s: %s of %s: cannot tell what it applies: %s", u.At, u.Object, u.Engine, u.Why))
	}
	return lines
}

func (a *Application) lines() []string {
	s := a.Sync
	lines := []string{fmt.Sprintf("%s: %s: %s applies folder %s", s.At, s.Object, s.Engine, s.Path)}
	say := func(format string, args ...any) { lines = append(lines, "  "+fmt.Sprintf(format, args...)) }
	if s.Unsure != "" {
		say("nobody can tell whether that is so: %s", s.Unsure)
	}
	switch {
	case s.chart:
		say("as a template of the Helm chart there")
	case len(a.Steps) > 0:
		say("by the kustomizations %s", strings.Join(a.Steps, ", "))
	default:
		say("as a file by itself")
	}
	switch {
	case a.Form == Clear && s.Hydrates:
		say("decrypted by %s, and committed to Git in clear", a.By)
	case a.Form == Clear && s.Secret != "":
		say("decrypted by %s, with the key in Secret %s", a.By, s.Secret)
	case a.Form == Clear:
		say("decrypted by %s", a.By)
	case a.Form == Untold:
		say("nobody can tell whether it is decrypted")
	case a.Why != "":
		say("as ciphertext: %s%s", a.Why, placed(a.WhyAt))
	default:
		say("as ciphertext: nothing decrypts it")
	}
	if a.Keeps != "" {
		say("left alone: %s%s", a.Keeps, placed(a.KeepsAt))
	}
	if s.Ignores.Name != "" {
		say("never changed: it ignores %s%s", s.Ignores.Name, placed(s.Ignores.At))
	}
	if s.Engine == Flux {
		if s.Healthy {
			say("Flux waits until Stork calls it Ready")
		} else {
			say("Flux does not look at its status")
		}
	}
	if s.Suspended {
		say("not now: it is suspended")
	}
	if s.Idle != "" {
		say("not at all: %s", s.Idle)
	}
	if s.Unlisted {
		say("not at all, as long as the kustomization beside it does not list %s", s.File)
	}
	if s.Prunes {
		say("removed from the cluster once the file is gone")
	}
	return lines
}

func placed(at report.Position) string {
	if at.File == "" {
		return ""
	}
	return ", in " + at.String()
}
