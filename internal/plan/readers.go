package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"clusterpair.dev/internal/report"
)

// Readers are who can decrypt pairs after a run that could not before, and the other way
// around. The zero value is nobody.
type Readers struct{ joined, left map[string]*reading }

// reading are the pairs of a recipient, and the files of the Secrets with their
// credentials.
type reading struct {
	pairs   int
	secrets map[string]bool
}

// Change takes in a pair, by its recipients before and after. What has left can read the
// credential in the history of Git, unless the pair is to have another one: renewed.
func (r *Readers) Change(before, after []string, secret string, renewed bool) {
	for _, recipient := range after {
		if !slices.Contains(before, recipient) {
			note(&r.joined, recipient, secret)
		}
	}
	for _, recipient := range before {
		if !slices.Contains(after, recipient) && !renewed {
			note(&r.left, recipient, secret)
		}
	}
}

func note(to *map[string]*reading, recipient, secret string) {
	if *to == nil {
		*to = make(map[string]*reading)
	}
	if (*to)[recipient] == nil {
		(*to)[recipient] = &reading{secrets: make(map[string]bool)}
	}
	(*to)[recipient].pairs++
	if secret != "" {
		(*to)[recipient].secrets[secret] = true
	}
}

// Merge takes in those of another config.
func (r *Readers) Merge(o *Readers) {
	for to, from := range map[*map[string]*reading]map[string]*reading{&r.joined: o.joined, &r.left: o.left} {
		for recipient, more := range from {
			note(to, recipient, "")
			(*to)[recipient].pairs += more.pairs - 1
			maps.Copy((*to)[recipient].secrets, more.secrets)
		}
	}
}

// renewal is the command that renews the credential of a Secret.
func renewal(secret string) string {
	return "clusterpair credential rotate --fleet --now " + report.Typed(secret)
}

// lines say it, sorted.
func (r *Readers) lines() (lines []string) {
	for _, recipient := range slices.Sorted(maps.Keys(r.joined)) {
		lines = append(lines, fmt.Sprintf("%s can decrypt %s from now on", recipient, pairs(r.joined[recipient].pairs)))
	}
	for _, recipient := range slices.Sorted(maps.Keys(r.left)) {
		left := r.left[recipient]
		line := fmt.Sprintf("%s can decrypt %s no more, and still what is in the history of Git: renew ", recipient, pairs(left.pairs))
		switch secrets := slices.Sorted(maps.Keys(left.secrets)); len(secrets) {
		case 0:
			line += "the credentials"
		case 1:
			line += "the credential: " + renewal(secrets[0])
		default:
			line += fmt.Sprintf("the credentials of %s, beginning with: %s", strings.Join(report.Few(secrets), ", "), renewal(secrets[0]))
		}
		lines = append(lines, line)
	}
	return lines
}

// Lines are the plan in text: a line for each config whose pairs change, and for each
// recipient that joins or leaves.
func Lines(configs []Config) (lines []string) {
	var all Readers
	for i := range configs {
		if configs[i].Changes() {
			lines = append(lines, configs[i].String())
		}
		all.Merge(&configs[i].Readers)
	}
	return append(lines, all.lines()...)
}
