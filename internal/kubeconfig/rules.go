package kubeconfig

import (
	"slices"

	"clusterpair.dev/internal/report"
)

// Allowable tells whether a user may waive a rule for a pair. Rules whose
// breach stops Stork may not be waived.
func Allowable(rule string) bool { return report.Waivable(rule) }

// AllowableRules are the rules that a user may waive, sorted.
func AllowableRules() []string {
	ids := slices.DeleteFunc(report.RuleIDs(), func(id string) bool { return !Allowable(id) })
	slices.Sort(ids)
	return ids
}

// AllowAll waives all of them, for who only asks what a kubeconfig says.
func AllowAll() map[string]bool {
	allow := make(map[string]bool)
	for _, rule := range AllowableRules() {
		allow[rule] = true
	}
	return allow
}

// origin is the text that a kubeconfig stands in: a file, or a value of a Secret.
type origin struct {
	file string
	// position is that of the whole, for what has no place of its own.
	position report.Position
	// key is the Secret's key; lines then count inside its value, and position
	// is the value's.
	key string
}

// place is where a field stands, so that a finding can say it.
type place struct {
	position report.Position
	within   string // such as `line 3 of key "value": `, empty in a plain file
	path     string
}

// report adds a finding. A waived one stays visible as an info.
func (c *checker) report(at place, rule string, severity report.Severity, message, hint string) {
	if c.options.Allow[rule] && Allowable(rule) {
		severity, hint = report.Info, ""
		message += " (allowed)"
	}
	c.findings = append(c.findings, at.finding(rule, severity, message, hint))
}

// refuse adds an error that cannot be waived, whatever its rule.
func (c *checker) refuse(at place, rule, message, hint string) {
	f := at.finding(rule, report.Error, message, hint)
	f.Firm = true
	c.findings = append(c.findings, f)
}

func (at place) finding(rule string, severity report.Severity, message, hint string) report.Finding {
	return report.Finding{Rule: rule, Severity: severity, Position: at.position, Path: at.path, Message: at.within + message, Hint: hint}
}
