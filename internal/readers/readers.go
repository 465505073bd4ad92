// Package readers tells who can decrypt a file by its recipients alone.
//
// [Find] finds source clusters that can decrypt the ClusterPairs of another one;
// [Indispensable] a key with which a file is lost. [Downgraded] and [ForFlux] judge what
// kinds of keys there are. None needs a key.
// A pair is decrypted on its source cluster, so that among the recipients of all of a
// source's pairs there is its own reader. Recipients that many sources have in common,
// as those of CI or of recovery, are nobody's own, and a key that several clusters
// share is theirs by intention.
package readers

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Source is a source cluster, with the recipients of each of its pairs; equal lists
// need not be repeated.
type Source struct {
	Pairs [][]string
}

// Breach is a source that can decrypt a pair of another one.
type Breach struct {
	// Source has the pair, whose recipients are Source.Pairs[Pair]; Other reads it.
	Source, Pair, Other int
	// Recipients are those through which Other reads.
	Recipients []string
	// Certain says that Recipients is the one that is Other's own; else Other has none
	// that is more its own than the others.
	Certain bool
}

// Find finds the breaches. Pairs of a source that has no reader of its own apart from
// Other's are none: the two share a key.
func Find(sources []Source) []Breach {
	common := make([][]string, len(sources)) // to all pairs of a source
	counts := make(map[string]int)           // in how many sources a recipient is common
	type place struct{ source, pair int }
	places := make(map[string][]place)
	for i, s := range sources {
		for k, recipients := range s.Pairs {
			for _, r := range recipients {
				places[r] = append(places[r], place{i, k})
			}
			if k == 0 {
				common[i] = slices.Clone(recipients)
			} else {
				common[i] = slices.DeleteFunc(common[i], func(r string) bool { return !slices.Contains(recipients, r) })
			}
		}
		for _, r := range common[i] {
			counts[r]++
		}
	}
	own := make([][]string, len(sources))
	for i := range sources {
		own[i] = rarest(common[i], counts)
	}
	var breaches []Breach
	for other := range sources {
		through, certain := own[other], len(own[other]) == 1
		if !certain {
			through = common[other]
		}
		if len(through) == 0 {
			continue
		}
		for _, at := range places[slices.MinFunc(through, func(a, b string) int { return len(places[a]) - len(places[b]) })] {
			recipients := sources[at.source].Pairs[at.pair]
			has := func(r string) bool { return !slices.Contains(recipients, r) }
			foreign := func(r string) bool { return !slices.Contains(common[other], r) }
			if at.source == other || slices.ContainsFunc(through, has) || !slices.ContainsFunc(own[at.source], foreign) {
				continue
			}
			breaches = append(breaches, Breach{Source: at.source, Pair: at.pair, Other: other, Recipients: through, Certain: certain})
		}
	}
	return breaches
}

// Group are sources whose pairs have Recipients in common, several.
type Group struct {
	Sources    []int
	Recipients []string
}

// Together finds sources with the same recipients of which several are not among
// render, the keys of those who render, CI and recovery: one key that clusters share is
// an intention, but several may be one of each cluster. apart tells whether two sources
// are two clusters. The sources of a group are all apart from its first. Without render
// nothing is known.
func Together(sources []Source, render []string, apart func(a, b int) bool) []Group {
	if len(render) == 0 {
		return nil
	}
	byKeys := make(map[string][]int)
	var order []string
	for i, s := range sources {
		var keys []string
		for k, recipients := range s.Pairs {
			if k == 0 {
				keys = slices.Clone(recipients)
			}
			keys = slices.DeleteFunc(keys, func(r string) bool { return !slices.Contains(recipients, r) || slices.Contains(render, r) })
		}
		if len(keys) < 2 {
			continue
		}
		slices.Sort(keys)
		key := strings.Join(keys, "\n")
		if byKeys[key] == nil {
			order = append(order, key)
		}
		byKeys[key] = append(byKeys[key], i)
	}
	var groups []Group
	for _, key := range order {
		first := byKeys[key][0]
		others := slices.DeleteFunc(slices.Clone(byKeys[key][1:]), func(i int) bool { return !apart(first, i) })
		if len(others) > 0 {
			groups = append(groups, Group{append([]int{first}, others...), strings.Split(key, "\n")})
		}
	}
	return groups
}

// rarest are the recipients that are common to the fewest sources.
func rarest(recipients []string, counts map[string]int) []string {
	var all []string
	for _, r := range recipients {
		switch {
		case len(all) == 0 || counts[r] < counts[all[0]]:
			all = []string{r}
		case counts[r] == counts[all[0]]:
			all = append(all, r)
		}
	}
	return all
}

// Indispensable is a recipient among groups without whose key nobody decrypts a file of
// which threshold groups are needed, zero for all; empty if there is none. A key that
// stands in several groups is one key.
func Indispensable(groups [][]string, threshold int) string {
	needed := cmp.Or(threshold, len(groups))
	for _, key := range slices.Concat(groups...) {
		left := 0 // groups that can do without the key
		for _, group := range groups {
			if slices.ContainsFunc(group, func(r string) bool { return r != key }) {
				left++
			}
		}
		if left < needed {
			return key
		}
	}
	return ""
}

// Downgraded tells whether post-quantum recipients protect nothing: enough groups have a
// classic one, too, whose key decrypts the file alone. A threshold is zero for all groups.
func Downgraded(groups [][]string, threshold int) bool {
	classic := 0
	for _, group := range groups {
		if slices.ContainsFunc(group, isClassic) {
			classic++
		}
	}
	return slices.ContainsFunc(slices.Concat(groups...), isPostQuantum) && classic >= cmp.Or(threshold, len(groups))
}

// isPostQuantum tells whether a recipient of age withstands a quantum computer.
// https://c2sp.org/age#the-mlkem768x25519-recipient-type
func isPostQuantum(recipient string) bool {
	return strings.HasPrefix(recipient, "age1pq1") || strings.HasPrefix(recipient, "age1tagpq1")
}

// isClassic tells whether a recipient is known not to: X25519, SSH, the hardware keys of
// age plugins, and PGP.
func isClassic(recipient string) bool {
	for _, prefix := range []string{"ssh-", "age1tag1", "age1yubikey1", "age1se1", "age1tpm1"} {
		if strings.HasPrefix(recipient, prefix) {
			return true
		}
	}
	return strings.HasPrefix(recipient, "age1") && strings.LastIndexByte(recipient, '1') == 3 || strings.Trim(recipient, "0123456789abcdefABCDEF") == ""
}

// ForFlux sorts recipients by whether Flux can decrypt with their keys: ever, from
// kustomize-controller 1.9 on, or never. It reads no keys of SSH, and runs no plugins of age.
// https://github.com/fluxcd/kustomize-controller/blob/v1.9.5/internal/decryptor/decryptor.go
func ForFlux(recipients []string) (ever, later, never []string) {
	for _, r := range recipients {
		switch {
		case strings.HasPrefix(r, "age1pq1"):
			later = append(later, r)
		case strings.HasPrefix(r, "ssh-"), strings.HasPrefix(r, "age1") && strings.LastIndexByte(r, '1') > 3:
			never = append(never, r)
		default:
			ever = append(ever, r)
		}
	}
	return ever, later, never
}

// Differ tells how the recipients of a file differ from those of its creation rule: which
// are missing, and which it has besides; else whether they stand in other groups, or
// another number of groups is needed. A threshold is zero for all groups.
func Differ(held, ruled [][]string, heldThreshold, ruledThreshold int) (missing, extra []string, regrouped bool) {
	due := slices.Concat(ruled...)
	held = anyVersion(held, due)
	all := slices.Concat(held...)
	missing, extra = without(due, all), without(all, due)
	regrouped = len(missing)+len(extra) == 0 && (!slices.EqualFunc(sortedGroups(held), sortedGroups(ruled), slices.Equal) ||
		len(ruled) > 1 && cmp.Or(heldThreshold, len(ruled)) != cmp.Or(ruledThreshold, len(ruled)))
	return missing, extra, regrouped
}

// anyVersion are the recipients of a file with the names that rules give them: a
// rule may name a key of Azure without its version, and sops writes the version of
// the day into the file.
// https://github.com/getsops/sops/blob/v3.13.3/azkv/keysource.go
func anyVersion(recipients [][]string, ruled []string) [][]string {
	held := make([][]string, len(recipients))
	for i, group := range recipients {
		held[i] = slices.Clone(group)
		for j, name := range group {
			key := name[:strings.LastIndexByte(name, '/')+1]
			if strings.HasPrefix(name, "https://") && strings.Contains(key, "/keys/") && !slices.Contains(ruled, name) && slices.Contains(ruled, key) {
				held[i][j] = key
			}
		}
	}
	return held
}

// without are the members of a that b does not have, sorted.
func without(a, b []string) []string {
	set := make(map[string]bool)
	for _, s := range a {
		if !slices.Contains(b, s) {
			set[s] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func sortedGroups(groups [][]string) [][]string {
	sorted := make([][]string, len(groups))
	for i, group := range groups {
		sorted[i] = slices.Compact(slices.Sorted(slices.Values(group)))
	}
	slices.SortFunc(sorted, slices.Compare)
	return sorted
}
