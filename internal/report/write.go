package report

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Report is all that a run has to say.
type Report struct {
	// Findings are what the run has found. Write sorts them.
	Findings []Finding
	// Files are the files that were checked, the clean ones included, each
	// named as in the Position of its findings. A file that only a finding
	// names counts as well.
	Files []string
	// Pairs is the number of ClusterPairs that were checked.
	Pairs int
	// Policy is the number of documents that each definition of the policy was held
	// against; nil if there is no policy.
	Policy map[string]int
	// Unread is the number of files that could not be judged; the summary tells it.
	Unread int
	// FromTop is the way to a file from the top of the repository, for formats that CI
	// reads. May be nil: then names are from there.
	FromTop func(name string) string
	// Version is that of clusterpair.
	Version string
	// Strict makes a Warning fail the run as an Error does.
	Strict bool

	// Color and Quiet are for text only: Color paints severities and rules,
	// Quiet leaves out the summary.
	Color, Quiet bool
}

// Failed tells whether the findings fail the run.
func (r *Report) Failed() bool {
	return slices.ContainsFunc(r.Findings, r.fails)
}

func (r *Report) fails(f Finding) bool {
	return f.Waived == "" && (f.Severity == Error || r.Strict && f.Severity == Warning)
}

// writers are the formats by name.
var writers = map[string]func(*bufio.Writer, *Report){
	"text":   writeText,
	"json":   writeJSON,
	"sarif":  writeSARIF,
	"junit":  writeJUnit,
	"github": writeGitHub,
	"gitlab": writeGitLab,
}

// Formats are the names that [Write] knows, sorted.
func Formats() []string { return slices.Sorted(maps.Keys(writers)) }

// Write writes r in one of the [Formats], finding by finding. All show the same
// texts, in which what does not print is escaped as Go does. A waived finding
// stands, with the reason, in the formats that can say so: json, sarif, junit.
func Write(w io.Writer, format string, r *Report) error {
	write, ok := writers[format]
	if !ok {
		return fmt.Errorf("unknown format %q: use one of %s", format, strings.Join(Formats(), ", "))
	}
	if r.FromTop != nil && slices.Contains([]string{"sarif", "github", "gitlab"}, format) {
		r = r.fromTop()
	}
	Sort(r.Findings)
	b := bufio.NewWriter(w)
	write(b, r)
	return b.Flush() // tells what any write before it met
}

// fromTop is the report with the names of files from the top of the repository.
func (r *Report) fromTop() *Report {
	top := *r
	top.Files, top.Findings = slices.Clone(r.Files), slices.Clone(r.Findings)
	names := make([]*string, 0, len(top.Files)+len(top.Findings))
	for i := range top.Files {
		names = append(names, &top.Files[i])
	}
	for i := range top.Findings {
		names = append(names, &top.Findings[i].Position.File)
	}
	for _, name := range names {
		if *name != "" && *name != "-" {
			*name = r.FromTop(*name)
		}
	}
	return &top
}

// entry is a finding as the writers take it: its texts print on one line each,
// only the file's name stays as it is.
type entry struct {
	Finding
	fingerprint string
}

// open are the entries that are not waived.
func (r *Report) open() iter.Seq[entry] {
	return func(yield func(entry) bool) {
		for e := range r.entries() {
			if e.Waived == "" && !yield(e) {
				return
			}
		}
	}
}

// entries are the sorted findings.
func (r *Report) entries() iter.Seq[entry] {
	return func(yield func(entry) bool) {
		seen := make(map[[sha256.Size]byte]int)
		for _, f := range r.Findings {
			e := entry{Finding: f, fingerprint: fingerprint(f, seen)}
			for _, text := range []*string{&e.Rule, &e.Object, &e.Path, &e.Message, &e.Hint, &e.Waived} {
				*text = Printable(*text)
			}
			if !yield(e) {
				return
			}
		}
	}
}

// fingerprint names a finding in 32 hexadecimal digits that stay the same when
// its line moves, its message is reworded or other findings come and go: the
// start of a SHA-256 over rule, file, object and path, followed by the number
// of findings of which all four are the same and that come before it. So no
// two findings of one report share a fingerprint.
func fingerprint(f Finding, seen map[[sha256.Size]byte]int) string {
	// Quoted, no part can run into the next.
	identity := fmt.Sprintf("%q %q %q %q", f.Rule, cleanName(f.Position.File), f.Object, f.Path)
	sum := sha256.Sum256([]byte(identity))
	n := seen[sum]
	seen[sum]++
	if n > 0 {
		sum = sha256.Sum256(fmt.Appendf(nil, "%s %d", identity, n))
	}
	return hex.EncodeToString(sum[:16])
}

// ruleName is the rule for formats that want a name in any case.
func (e entry) ruleName() string {
	if e.Rule == "" {
		return "clusterpair"
	}
	return e.Rule
}

// withHint is the message for a place that shows one line.
func (e entry) withHint() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + " (hint: " + e.Hint + ")"
}

// lines is the finding as text shows it.
func (e entry) lines(paint painter) string {
	line := e.line(paint)
	if e.Hint != "" {
		line += "\n  hint: " + e.Hint
	}
	return line
}

// summary counts what a report holds.
type summary struct {
	Files    int `json:"files"`
	Affected int `json:"filesWithFindings"`
	Pairs    int `json:"clusterPairs"`
	Errors   int `json:"errors"`
	Warnings int `json:"warnings"`
	Infos    int `json:"infos"`
	Waived   int `json:"waived"` // not counted as error, warning or info
	// Judged is Report.Policy.
	Judged map[string]int `json:"policy,omitempty"`

	unread int
}

func (r *Report) summary() summary {
	s := summary{Pairs: r.Pairs, Judged: r.Policy, unread: r.Unread}
	for _, f := range r.Findings {
		switch {
		case f.Waived != "":
			s.Waived++
		case f.Severity == Error:
			s.Errors++
		case f.Severity == Warning:
			s.Warnings++
		default:
			s.Infos++
		}
	}
	for file, findings := range r.byFile() {
		if file == "" {
			continue
		}
		s.Files++
		if slices.ContainsFunc(findings, func(f Finding) bool { return f.Waived == "" }) {
			s.Affected++
		}
	}
	return s
}

// byFile are the checked files in order, each with its findings, if any. What
// stands in no file comes first, under an empty name.
func (r *Report) byFile() iter.Seq2[string, []Finding] {
	return func(yield func(string, []Finding) bool) {
		files := slices.Compact(slices.Sorted(slices.Values(r.Files)))
		rest := r.Findings
		for len(files) > 0 || len(rest) > 0 {
			var file string
			if len(rest) == 0 || len(files) > 0 && files[0] < rest[0].Position.File {
				file = files[0]
			} else {
				file = rest[0].Position.File
			}
			if len(files) > 0 && files[0] == file {
				files = files[1:]
			}
			n := 0
			for n < len(rest) && rest[n].Position.File == file {
				n++
			}
			if !yield(file, rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// String is the summary in a line.
func (s summary) String() string {
	count := func(n int, one string) string { return Count(n, one, one+"s") }
	var found []string
	for _, c := range []struct {
		n   int
		one string
	}{{s.Errors, "error"}, {s.Warnings, "warning"}, {s.Infos, "info"}} {
		if c.n > 0 {
			found = append(found, count(c.n, c.one))
		}
	}
	pairs := "no ClusterPair"
	if s.Pairs > 0 {
		pairs = count(s.Pairs, "ClusterPair")
	}
	files, waived := count(s.Files, "file"), ""
	if s.Waived > 0 {
		waived = fmt.Sprintf("; %d waived", s.Waived)
	}
	if s.unread > 0 {
		waived += fmt.Sprintf("; %s could not be judged", count(s.unread, "file"))
	}
	if len(s.Judged) > 0 {
		var judged []string
		for _, definition := range slices.Sorted(maps.Keys(s.Judged)) {
			judged = append(judged, fmt.Sprintf("%s of %s", definition, count(s.Judged[definition], "document")))
		}
		waived += "; the policy judged " + strings.Join(judged, ", ")
	}
	switch {
	case len(found) == 0 && s.unread > 0:
		return "nothing found: " + pairs + " in " + files + waived
	case len(found) == 0 && s.Files == 0:
		return "nothing to check: no file that concerns a ClusterPair"
	case len(found) == 0:
		return "all fine: " + pairs + " in " + files + waived
	case s.Affected > 0 && s.Affected < s.Files:
		files = strconv.Itoa(s.Affected) + " of " + files
	}
	return strings.Join(found, ", ") + " in " + files + "; " + pairs + waived
}

// cleanName is a file's name as CI systems want it: without ./ and with slashes.
func cleanName(file string) string {
	if file == "" {
		return ""
	}
	return filepath.ToSlash(filepath.Clean(file))
}

// jsonName is a file's name for JSON, which has no room for other than UTF-8.
func jsonName(file string) string {
	if utf8.ValidString(file) {
		return file
	}
	return strconv.Quote(file)
}
