package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// bar is one promise and what became of it.
type bar struct {
	text     string
	limit    string
	measured string
	kept     bool
}

// atMost is the bar that value may not exceed limit; format prints both.
func atMost(text, format string, value, limit float64) bar {
	return bar{text, "≤ " + fmt.Sprintf(format, limit), fmt.Sprintf(format, value), value <= limit}
}

// bars judges the work for n pairs, the growth from there to ten times as
// many if that was measured, and the start-up.
func (m *measurements) bars() []bar {
	n := m.largest(1000)
	work, floor := m.work[n], m.work[n][atFloor].cpu.Seconds()
	first := work[generateFirst].cpu.Seconds()
	of := func(what string) string { return fmt.Sprintf("`generate` of %s pairs, CPU: %s", thousands(n), what) }
	bars := []bar{
		atMost(of("first time / the floor"), "%.2f", first/floor, 1.6),
		atMost(of("first time / the library of SOPS"), "%.3f", first/work[sopsLibrary].cpu.Seconds(), 1./5),
		atMost(of("first time / sops, a process per file"), "%.3f", first/m.sopsPerFile(n).Seconds(), 1./25),
		atMost(of("nothing changed, key at hand / the floor"), "%.2f", work[generateAgain].cpu.Seconds()/floor, 2),
		atMost(of("nothing changed, no key / the floor"), "%.2f", work[generateNoKey].cpu.Seconds()/floor, 2),
		atMost(of("`--check`, no key / the floor"), "%.2f", work[generateCheck].cpu.Seconds()/floor, 2),
	}
	if m.processors > 1 {
		busy := work[generateFirst].busy
		bars = append(bars, bar{of("first time / wall, best run"), "> 1.2", fmt.Sprintf("%.2f", busy), busy > 1.2})
	}
	if ten, ok := m.work[10*n]; ok {
		generate := []string{generateFirst, generateAgain, generateNoKey, generateCheck}
		bars = append(bars, m.linear(n, atFloor, generate)...)
		bars = append(bars, atMost(fmt.Sprintf("`generate` of %s pairs: largest peak, MiB", thousands(10*n)), "%.1f", largestPeak(ten, generate), 64))
	}
	bars = append(bars, m.validateBars(n)...)
	for _, name := range buildNames[:2] {
		_, what, _ := strings.Cut(name, ", ")
		bars = append(bars, atMost(fmt.Sprintf("`build --decrypt` of %d pairs, CPU: %s / kustomize on the pairs in clear; KSOPS has %.2f", m.decryptedOf, what, ksopsRatio), "%.2f",
			m.decrypted[name].cpu.Seconds()/m.decrypted[buildFloor].cpu.Seconds(), ksopsRatio))
	}
	bars = append(bars,
		atMost("`watch` of 1,000 pairs: peak, MiB", "%.1f", m.watched.peak, 48),
		atMost("`watch` of 1,000 pairs: percent of a core at the usual interval", "%.2f", m.watched.share, 0.5))
	version, sops := m.startUp[ourVersion].cpu, m.startUp[sopsVersion].cpu.Seconds()
	for _, name := range []string{ourVersion, ourFunction, ourHook} {
		bars = append(bars, atMost(fmt.Sprintf("start-up: `%s`, CPU / `sops --version`", name), "%.2f", m.startUp[name].cpu.Seconds()/sops, 0.6))
	}
	return append(bars,
		atMost("start-up: `clusterpair validate` of one file, CPU ms over `clusterpair version`", "%.1f", (m.startUp[ourValidate].cpu-version).Seconds()*1000, 4),
		atMost("the binary, MB", "%.1f", float64(m.size["clusterpair"])/1e6, 42),
	)
}

// validateBars judges validate on n encrypted files, and on ten times as many
// if that was measured.
func (m *measurements) validateBars(n int) []bar {
	of := func(n int, what string) string {
		return fmt.Sprintf("`validate` of %s files, CPU: %s", thousands(n), what)
	}
	against := func(n int, name, other string) float64 {
		return m.work[n][name].cpu.Seconds() / m.work[n][other].cpu.Seconds()
	}
	ours := []string{validateRendered, validateCommented}
	var bars []bar
	for i, floor := range []string{atParseFloor, commentedFloor} { // of the same files
		name := ours[i]
		_, how, _ := strings.Cut(name, ", ")
		if how != "" {
			how += " "
		}
		bars = append(bars,
			atMost(of(n, how+"/ the floor"), "%.2f", against(n, name, floor), 2.2),
			atMost(of(n, how+"/ kubeconform by a small schema"), "%.2f", against(n, name, kubeconformHand), 1),
		)
	}
	if m.processors > 1 {
		busy := m.work[n][validateRendered].busy
		bars = append(bars, bar{of(n, "/ wall, best run"), "> 1.2", fmt.Sprintf("%.2f", busy), busy > 1.2})
	}
	if ten, ok := m.work[10*n]; ok {
		bars = append(bars, atMost(of(10*n, "/ kubeconform by a small schema"), "%.2f", against(10*n, validateRendered, kubeconformHand), 1))
		bars = append(bars, m.linear(n, atParseFloor, ours)...)
		bars = append(bars, atMost(fmt.Sprintf("`validate` of %s files: largest peak, MiB", thousands(10*n)), "%.1f", largestPeak(ten, ours), 48))
	}
	return bars
}

// meshBars judges the meshes that were measured.
func (m *measurements) meshBars() (bars []bar) {
	sizes := slices.Sorted(maps.Keys(m.meshes))
	if len(sizes) == 0 {
		return nil
	}
	small, large := sizes[0], sizes[len(sizes)-1]
	of := func(n int, what string) string {
		return fmt.Sprintf("a mesh of %d clusters, %s pairs: %s", n, thousands(meshPairs(n)), what)
	}
	perPair := func(n int, name string) float64 {
		return m.meshes[n][name].cpu.Seconds() / float64(meshPairs(n))
	}
	bars = append(bars, atMost(of(small, "`generate`, CPU: first time / the floor"), "%.2f", perPair(small, meshFirst)/perPair(small, meshFloor), 1.15))
	for _, part := range []struct {
		name string
		most float64
	}{{meshAgain, 0.08}, {meshOne, 0.08}, {meshCheck, 0.05}} {
		bars = append(bars, atMost(of(large, "`"+part.name+"`, CPU / the first time"), "%.3f", perPair(large, part.name)/perPair(large, meshFirst), part.most))
	}
	if large > small {
		for _, name := range []string{meshFirst, meshValidate} {
			bars = append(bars, atMost(of(large, fmt.Sprintf("`%s`: CPU for a pair / for one of the mesh of %d", name, small)), "%.2f", perPair(large, name)/perPair(small, name), 1.1))
		}
	}
	graph := m.meshes[large][meshGraph]
	others := slices.DeleteFunc(slices.Clone(meshNames), func(name string) bool { return name == meshCheck })
	return append(bars,
		atMost(of(large, "`"+meshGraph+"`, CPU s over `"+meshExpiring+"`, which reads as much"), "%.2f", (graph.cpu-m.meshes[large][meshExpiring].cpu).Seconds(), 1),
		atMost(of(large, "the page of `"+meshGraph+"`, KB"), "%.0f", float64(graph.printed)/1e3, 400),
		atMost(of(large, "peak of `"+meshCheck+"`, MiB"), "%.1f", mebibytes(m.meshes[large][meshCheck].peak), 48),
		atMost(of(large, "largest peak of the others, MiB"), "%.1f", largestPeak(m.meshes[large], others), 80))
}

// linear are the bars that what is named grows no faster from n pairs to ten
// times as many than its floor does: the file system itself takes longer for a
// file in a large directory.
func (m *measurements) linear(n int, floor string, names []string) (bars []bar) {
	growth := func(name string) float64 {
		return m.work[10*n][name].cpu.Seconds() / m.work[n][name].cpu.Seconds()
	}
	for _, name := range names {
		bars = append(bars, atMost(fmt.Sprintf("`%s`: CPU for %s pairs / for %s, against 1.05 times the floor's", name, thousands(10*n), thousands(n)), "%.2f",
			growth(name), 1.05*growth(floor)))
	}
	return bars
}

// largestPeak is that of what is named, in MiB.
func largestPeak(work map[string]result, names []string) float64 {
	var peak int64
	for _, name := range names {
		peak = max(peak, work[name].peak)
	}
	return mebibytes(peak)
}

// table writes everything measured as Markdown and tells whether all bars were kept.
func (m *measurements) table(w io.Writer) (kept bool) {
	fmt.Fprintf(w, "Made by `%s` with %s on %d processors (%s/%s), against %s.\n\n",
		m.command, m.goVersion, m.processors, m.goos, m.goarch, strings.Join(m.peers, ", "))

	fmt.Fprintf(w, "Generate, CPU seconds (peak MiB) for a number of pairs, two age recipients:\n\n")
	m.workTable(w, workNames, atFloor)
	if last := m.sizes[len(m.sizes)-1]; last > m.perFileLimit {
		fmt.Fprintf(w, "\n\\* not measured but extrapolated: the CPU per file at %s, times the number of files.\n", thousands(m.largest(m.perFileLimit)))
	}

	fmt.Fprintf(w, "\nValidate, CPU seconds (peak MiB) for a number of files with a pair each:\n\n")
	m.workTable(w, validateNames, atParseFloor)

	fmt.Fprintf(w, "\nA repository of %s files, of which %d are pairs and half are no YAML:\n\n| | CPU s | wall s | peak MiB |\n|---|---|---|---|\n", thousands(m.repositoryOf), mattering)
	for _, name := range []string{validateRepository, readRepository} {
		r := m.repository[name]
		fmt.Fprintf(w, "| %s | %.3f | %.3f | %.0f |\n", name, r.cpu.Seconds(), r.wall.Seconds(), mebibytes(r.peak))
	}

	fmt.Fprintf(w, "\nDecrypting %d pairs for Argo CD, one key at hand:\n\n| | CPU s | wall s | peak MiB | × floor |\n|---|---|---|---|---|\n", m.decryptedOf)
	for _, name := range buildNames {
		r := m.decrypted[name]
		fmt.Fprintf(w, "| %s | %.3f | %.3f | %.0f | %.2f |\n", name, r.cpu.Seconds(), r.wall.Seconds(), mebibytes(r.peak), r.cpu.Seconds()/m.decrypted[buildFloor].cpu.Seconds())
	}

	milliseconds := func(name string) float64 { return m.evaluated[name].Seconds() * 1000 }
	fmt.Fprintf(w, "\nDeciding one parsed document of 6 KB by the schema, wall ms:\n\n| | before the first | for each | × |\n|---|---|---|---|\n")
	fmt.Fprintf(w, "| the plan made of the schema | %.2f | %.3f | 1 |\n", milliseconds(planFirst), milliseconds(planEach))
	fmt.Fprintf(w, "| the evaluator of CUE | %.2f | %.3f | %.0f |\n", milliseconds(cueFirst), milliseconds(cueEach), milliseconds(cueEach)/milliseconds(planEach))

	fmt.Fprintf(w, "\n`clusterpair watch` of 1,000 pairs to 200 destinations: %.0f MiB at most, %.2f CPU s a round, %.2f %% of a core.\n",
		m.watched.peak, m.watched.cpu.Seconds(), m.watched.share)

	fmt.Fprintf(w, "\nStart-up:\n\n| | CPU ms | wall ms | peak MiB | binary MB |\n|---|---|---|---|---|\n")
	for _, name := range startUpNames {
		r := m.startUp[name]
		binary, _, _ := strings.Cut(name, " ")
		fmt.Fprintf(w, "| `%s` | %.1f | %.1f | %.0f | %.1f |\n", name,
			r.cpu.Seconds()*1000, r.wall.Seconds()*1000, mebibytes(r.peak), float64(m.size[binary])/1e6)
	}

	kept = writeBars(w, m.bars())
	runs := make([]string, len(m.sizes))
	for i, size := range m.sizes {
		runs[i] = fmt.Sprint(m.work[size][atFloor].runs)
	}
	fmt.Fprintf(w, "\nMedians of %s runs by number of pairs and of %d for the start-up, after one warm-up each. Peaks below %.0f MiB cannot be told apart.\n",
		strings.Join(runs, ", "), m.startUp[sopsVersion].runs, mebibytes(m.ownPeak))
	return kept
}

// writeBars tells whether all bars were kept.
func writeBars(w io.Writer, bars []bar) (kept bool) {
	fmt.Fprintf(w, "\nBars:\n\n| | limit | measured | |\n|---|---|---|---|\n")
	kept = true
	for _, b := range bars {
		mark := "✓"
		if !b.kept {
			mark, kept = "✗", false
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", b.text, b.limit, b.measured, mark)
	}
	return kept
}

// fleetTable has a line for each of the meshNames.
func (m *measurements) fleetTable(w io.Writer) (kept bool) {
	fmt.Fprintf(w, "Made by `%s` with %s on %d processors (%s/%s).\n\n", m.command, m.goVersion, m.processors, m.goos, m.goarch)
	fmt.Fprint(w, "CPU seconds (peak MiB):\n\n| |")
	sizes := slices.Sorted(maps.Keys(m.meshes))
	for _, n := range sizes {
		fmt.Fprintf(w, " %d clusters, %s pairs |", n, thousands(meshPairs(n)))
	}
	fmt.Fprintf(w, "\n|---|%s\n", strings.Repeat("---|", len(sizes)))
	for _, name := range meshNames {
		fmt.Fprintf(w, "| %s |", name)
		for _, n := range sizes {
			if r, ok := m.meshes[n][name]; ok {
				fmt.Fprintf(w, " %.3f (%.0f) |", r.cpu.Seconds(), mebibytes(r.peak))
			} else {
				fmt.Fprint(w, " – |")
			}
		}
		fmt.Fprintln(w)
	}
	return writeBars(w, m.meshBars())
}

// workTable has a line for each of names, which are compared with a floor.
func (m *measurements) workTable(w io.Writer, names []string, floor string) {
	n := m.largest(1000)
	fmt.Fprint(w, "| |")
	for _, size := range m.sizes {
		fmt.Fprintf(w, " %s |", thousands(size))
	}
	fmt.Fprintf(w, " × floor at %s | wall s at %s |\n|---|%s---|---|\n", thousands(n), thousands(n), strings.Repeat("---|", len(m.sizes)))
	for _, name := range names {
		fmt.Fprintf(w, "| %s |", name)
		for _, size := range m.sizes {
			r, ok := m.work[size][name]
			switch {
			case ok:
				fmt.Fprintf(w, " %.3f (%.0f) |", r.cpu.Seconds(), mebibytes(r.peak))
			case name == sopsCLI:
				fmt.Fprintf(w, " %.1f* |", m.sopsPerFile(size).Seconds())
			default:
				fmt.Fprint(w, " – |")
			}
		}
		cpu, wall := m.work[n][name].cpu, "–"
		if r, ok := m.work[n][name]; ok {
			wall = fmt.Sprintf("%.3f", r.wall.Seconds())
		} else if name == sopsCLI {
			cpu = m.sopsPerFile(n)
		}
		fmt.Fprintf(w, " %.2f | %s |\n", cpu.Seconds()/m.work[n][floor].cpu.Seconds(), wall)
	}
}

// replaceTable puts table between the markers of a name in a file.
func replaceTable(file, name, table string) error {
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->\n"
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(old), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s: no lines %q and %q", file, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(file, []byte(before+begin+"\n"+table+"\n"+end+after), 0o666)
}

func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// thousands prints 10000 as 10,000.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
