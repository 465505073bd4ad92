// Package stork knows how the releases of Stork differ in what they make of a ClusterPair.
//
// [Parse] reads a release. Its methods answer each question that depends on it; of a
// release that is not known they say no.
package stork

import (
	"cmp"
	"fmt"
	"strings"
)

// Version is the part of a release that decides what a pair means: year and month, or
// before 23.2 the major and the minor number. The zero Version is not known.
type Version struct{ Major, Minor int }

// Parse reads a release as Stork's tags and images are called: MAJOR.MINOR, with v
// before it or not, and with a patch, a number for a fix of that, and a release candidate
// behind it or not: 24.3, v24.3.2, v2.8.1.1, v2.11.2-rc1. A candidate counts as the release
// that it is for. All else, 24.3.x among them, is no release: ok is false. It is
// #StorkVersion of the schema.
//
// Of apimachinery's util/version, ParseGeneric takes 24.3.garbage and 24.3.1.2.3 for
// releases, and ParseSemantic refuses 24.3 and v2.8.1.1.
func Parse(release string) (v Version, ok bool) {
	release = strings.TrimPrefix(release, "v")
	if numbers, candidate, found := strings.Cut(release, "-rc"); found {
		if _, ok := number(candidate); !ok {
			return Version{}, false
		}
		release = numbers
	}
	parts := strings.Split(release, ".")
	if len(parts) < 2 || len(parts) > 4 {
		return Version{}, false
	}
	var numbers [4]int
	for i, part := range parts {
		if numbers[i], ok = number(part); !ok {
			return Version{}, false
		}
	}
	return Version{numbers[0], numbers[1]}, true
}

// number reads a number of one to four digits.
func number(s string) (n int, ok bool) {
	if len(s) < 1 || len(s) > 4 {
		return 0, false
	}
	for _, digit := range []byte(s) {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		n = 10*n + int(digit-'0')
	}
	return n, true
}

// Known tells whether the version is one.
func (v Version) Known() bool { return v != Version{} }

// String is the version as configs have it, such as 24.3.
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// before tells whether v is known and earlier than major.minor.
func (v Version) before(major, minor int) bool {
	return v.Known() && cmp.Or(cmp.Compare(v.Major, major), cmp.Compare(v.Minor, minor)) < 0
}

// since tells whether v is known and major.minor or later.
func (v Version) since(major, minor int) bool { return v.Known() && !v.before(major, minor) }

// PairsStorage tells whether this Stork tries to pair storage as soon as a pair has any
// option, so that a mode on a pair over one fabric makes it fail: before 2.9.
func (v Version) PairsStorage() bool { return v.before(2, 9) }

// ModeIsAsynchronous tells whether this Stork takes a pair with a mode for one over two
// fabrics: storkctl from 23.11, failover from 24.2.
func (v Version) ModeIsAsynchronous() bool { return v.since(23, 11) }

// TakesMode tells whether a pair over one fabric may have a mode: from 2.9 to 23.10.
func (v Version) TakesMode() bool {
	return v.Known() && !v.PairsStorage() && !v.ModeIsAsynchronous()
}

// AdminPairSuffices tells whether in this Stork an adminClusterPair is all that a
// Migration needs, and is taken for its volumes, too: from 25.5. Earlier ones take it for
// resources of the cluster alone, and never run a Migration without a clusterPair.
// https://docs.portworx.com/portworx-enterprise/operations/migration/cluster-admin-namespace
func (v Version) AdminPairSuffices() bool { return v.since(25, 5) }

// HasOldClient tells whether this Stork has a client-go before 0.22, which knows neither
// v1 of exec credentials, nor interactive modes, nor a UID to impersonate.
func (v Version) HasOldClient() bool { return v.before(23, 2) }

// SpellsInteractiveMode tells whether this Stork has a client-go before 0.28, which calls
// the interactive mode of an exec user InteractiveMode in a pair: up to 24.3, which has
// 0.25. What later ones have is not public.
func (v Version) SpellsInteractiveMode() bool { return v.before(24, 4) }
