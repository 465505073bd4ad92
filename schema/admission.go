package schema

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/report"
)

// Names of the policies that [Admission] prints, and of their bindings.
const (
	// DecodePolicy refuses what stops Stork.
	DecodePolicy = "clusterpair-decodes"
	// MisusePolicy warns of what does not do what it should.
	MisusePolicy = "clusterpair-misuse"
	// SchedulesPolicy and PoliciesPolicy refuse what stops Stork of MigrationSchedules, and of
	// SchedulePolicies.
	SchedulesPolicy = "clusterpair-schedules"
	PoliciesPolicy  = "clusterpair-schedule-policies"
)

// PolicyNames are those of all.
var PolicyNames = []string{DecodePolicy, MisusePolicy, SchedulesPolicy, PoliciesPolicy}

// Admission are ValidatingAdmissionPolicies with a binding each, by which an API server
// judges ClusterPairs as def says, and what Stork runs by a schedule. The first refuses a pair that stalls Stork, that ends its
// process, or that is ciphertext. The second warns of the other errors, and writes them into
// the audit log.
//
// Stork decodes types, and base64, and ignores fields that it does not know: so the first
// policy takes from the plan the kind of each field, and the conditions whose rules say
// that a breach keeps Stork from decoding the object. An update is refused only if what
// it breaks was right before: Stork goes on writing to a pair that was there first, and it
// can be mended and deleted.
//
// The expressions are for Kubernetes 1.30, the first with admissionregistration.k8s.io/v1.
// https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
func Admission(def string) []byte {
	root := place{name: "object"}
	decodes := &admission{resources: []string{"clusterpairs"}}
	decodes.root()
	pair := &mustPlan(def).variants[0]
	decodes.add(root, "sops", "false", "sops: "+pair.fields[pair.field("sops")].node.fail)
	for _, name := range []string{"spec", "status"} {
		decodes.value(pair.fields[pair.field(name)].node, root, name)
	}
	decodes.ciphertext()

	misuse := &admission{resources: []string{"clusterpairs"}}
	misuse.root()
	misuse.misuse(pair.fields[pair.field("spec")].node, root, "spec")
	misuse.beyond()

	var b bytes.Buffer
	decodes.write(&b, DecodePolicy, "Deny")
	misuse.write(&b, MisusePolicy, "Warn", "Audit")
	schedules(&b)
	return b.Bytes()
}

// admission is a policy on its way along the plan.
type admission struct {
	resources []string // that it judges
	places    []place  // those of the variables
	variables []object
	rules     []admissionRule
}

// place is a mapping of the object, or several at the same place below entries of any name: a
// variable holds the mapping, or the list of them. It is empty where there is none.
type place struct {
	name, path string
	many       bool
}

// admissionRule is a condition on fields of a place, or on all, with the text of a finding.
// In the condition \x00 is the value, and the mapping itself where there are no fields.
type admissionRule struct {
	place  place
	fields []string
	holds  string
	text   string
}

const (
	theValue = "\x00"
	// eachKey is for fields: the condition holds for all values.
	eachKey = "\x00each"
	// itself is for fields: the condition is about the mapping.
	itself = "\x00itself"
)

// variable is the place in CEL, of the object or of what it was before.
func (p place) variable(old bool) string {
	if old {
		return "variables.old" + strings.ToUpper(p.name[:1]) + p.name[1:]
	}
	return "variables." + p.name
}

// root declares the variables of the object itself.
func (a *admission) root() {
	a.variables = append(a.variables, object{"name": "object", "expression": "object"},
		object{"name": "oldObject", "expression": "oldObject == null ? {} : oldObject"})
}

// child declares the variables of a mapping below p: that under a name, or those under each.
func (a *admission) child(p place, field string) place {
	c := place{name: camel(field), path: join(p.path, field), many: p.many}
	holds := func(m string) string {
		return fmt.Sprintf("%q in %s && type(%s[%q]) == map", field, m, m, field)
	}
	if field == eachKey {
		c = place{name: p.name + "Entries", path: p.path + ".*", many: true}
	}
	for _, taken := range a.places {
		if taken.name == c.name {
			c.name = p.name + strings.ToUpper(c.name[:1]) + c.name[1:]
		}
	}
	a.places = append(a.places, c)
	for _, old := range []bool{false, true} {
		m := p.variable(old)
		var expression string
		switch {
		case field == eachKey && p.many:
			panic("schema: a mapping by name within a mapping by name")
		case field == eachKey:
			expression = fmt.Sprintf("%s.map(k, type(%s[k]) == map, %s[k])", m, m, m)
		case p.many:
			expression = fmt.Sprintf("%s.map(m, %s, m[%q])", m, holds("m"), field)
		default:
			expression = fmt.Sprintf("%s ? %s[%q] : {}", holds(m), m, field)
		}
		a.variables = append(a.variables, object{"name": strings.TrimPrefix(c.variable(old), "variables."), "expression": expression})
	}
	return c
}

// camel is a field as a name in CEL.
func camel(field string) string {
	first, rest, _ := strings.Cut(field, "-")
	if rest == "" {
		return first
	}
	return first + strings.ToUpper(rest[:1]) + camel(rest[1:])
}

func join(path, field string) string { return strings.TrimPrefix(path+"."+field, ".") }

// add adds a condition on a field. Fields of a place with the same condition share it.
func (a *admission) add(p place, field, holds, text string) {
	for i := range a.rules {
		if r := &a.rules[i]; r.place == p && r.holds == holds && r.text == text && field != itself {
			r.fields = append(r.fields, field)
			return
		}
	}
	a.rules = append(a.rules, admissionRule{p, []string{field}, holds, text})
}

// value adds what Stork's decoder demands of the value under a field of p.
func (a *admission) value(n *node, p place, field string) {
	if n.kinds&^aNull == 0 && n.kinds != 0 && undecodable(n.fail) {
		a.add(p, field, theValue+" == null", n.fail)
		return
	}
	if n.form != nil {
		n = n.form
	}
	if n.kinds == 0 || n.kinds == aNull || n.kinds == anything.kinds {
		return
	}
	a.add(p, field, n.typed(field != eachKey, theValue), cmp.Or(n.wrongKind, stops(n.kinds)))
	for _, c := range n.checks {
		if undecodable(c.fail) {
			a.add(p, field, fmt.Sprintf("type(%s) != string || %s", theValue, c.holds(theValue)), c.fail)
		}
	}
	if n.items != nil {
		a.add(p, field, fmt.Sprintf("type(%s) != list || %s.all(i, %s)", theValue, theValue, n.items.decodes("i")), cmp.Or(n.items.wrongKind, stops(n.items.kinds)))
	}
	v := n.last()
	switch each := v.each(); {
	case v == nil:
	case each == nil:
		c := a.child(p, field)
		for i := range v.fields {
			a.value(v.fields[i].node, c, v.fields[i].name)
		}
	case each.kinds&aMapping != 0:
		a.value(each, a.child(p, field), eachKey)
	default:
		text := cmp.Or(each.wrongKind, stops(each.kinds))
		if each.kinds == aNull {
			text = each.fail
		}
		a.add(p, field, fmt.Sprintf("type(%s) != map || %s.all(j, %s)", theValue, theValue, each.decodes(theValue+"[j]")), text)
	}
}

// last is the form of a mapping that has no condition; nil if n is no mapping.
func (n *node) last() *variant {
	if n.kinds&aMapping == 0 || len(n.variants) == 0 {
		return nil
	}
	return &n.variants[len(n.variants)-1]
}

// each is what the values of a mapping must be for Stork's decoder, whatever their names; nil
// if that depends on the name.
func (v *variant) each() *node {
	switch {
	case v == nil:
		return nil
	case v.others != nil:
		return v.others
	case len(v.fields) == 0 && len(v.patterns) == 1:
		return v.patterns[0].node
	}
	return nil
}

// typed tells in CEL that x is of the kinds of n. In Go's eyes null is none of a value, but
// for an entry of a mapping by name.
func (n *node) typed(nullable bool, x string) string {
	var all []string
	if nullable || n.kinds&aMapping == 0 || n.kinds&aNull != 0 {
		all = append(all, x+" == null")
	}
	for kind, name := range map[kinds]string{aBool: "bool", anInt: "int", aString: "string", aList: "list", aMapping: "map"} {
		if n.kinds&kind != 0 {
			all = append(all, fmt.Sprintf("type(%s) == %s", x, name))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " || ")
}

// decodes is all that Stork's decoder demands of x, in CEL.
func (n *node) decodes(x string) string {
	if n.kinds == aNull {
		return x + " == null"
	}
	holds := n.typed(n.wrongKind == "" || ruleOf(n.wrongKind) != "null-entry", x)
	var more []string
	if n.items != nil {
		more = append(more, fmt.Sprintf("%s.all(l, %s)", x, n.items.decodes("l")))
	}
	if v := n.last(); v != nil {
		for _, f := range v.fields {
			more = append(more, fmt.Sprintf("(!(%q in %s) || %s)", f.name, x, f.node.decodes(fmt.Sprintf("%s[%q]", x, f.name))))
		}
	}
	if more != nil {
		return "(" + holds + ") && (" + x + " == null || " + strings.Join(more, " && ") + ")"
	}
	return "(" + holds + ")"
}

func undecodable(text string) bool {
	if text == "" {
		return false
	}
	rule, ok := report.RuleOf(ruleOf(text))
	return ok && rule.Undecodable
}

// stops is the text for a value that is of none of the kinds.
func stops(k kinds) string {
	hint := "write " + (k &^ aNull).String()
	switch {
	case k&aString != 0:
		hint = "quote it"
	case k&aBool != 0:
		hint = "write true or false, without quotes"
	}
	return fmt.Sprintf("a value that is not %s stops Stork for all ClusterPairs [value-type]\nhint: %s", k&^aNull, hint)
}

// base64Holds is base64Expr in CEL, where the cost of an expression is its length times
// that of the text.
const base64Holds = `%[1]s.replace("\r", "").replace("\n", "").matches("^[A-Za-z0-9+/]*={0,2}$") && size(%[1]s.replace("\r", "").replace("\n", "")) %% 4 == 0`

// holds is the check on the string x in CEL.
func (c *check) holds(x string) string {
	switch {
	case c.match != nil && c.match.expr == base64Expr:
		return fmt.Sprintf(base64Holds, x)
	case c.match != nil:
		return fmt.Sprintf("%s.matches(%s)", x, strconv.Quote(c.match.expr))
	case c.differ != nil:
		return fmt.Sprintf("!%s.matches(%s)", x, strconv.Quote(c.differ.expr))
	case c.maxRunes != 0:
		return fmt.Sprintf("size(%s) <= %d", x, c.maxRunes)
	}
	return x + " in " + celList(c.oneOf)
}

func celList(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = strconv.Quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// ciphertext adds that no text is encrypted. It comes before other rules that break by it.
func (a *admission) ciphertext() {
	const text = "a value is still encrypted by SOPS [still-encrypted]\nhint: let Flux or Argo CD decrypt what it applies"
	plain := func(x string) string { return fmt.Sprintf(`(type(%s) != string || !%s.startsWith("ENC["))`, x, x) }
	value := theValue + "[k]"
	holds := fmt.Sprintf("%s.all(k, %s && (type(%s) != list || %s.all(i, %s)) && (type(%s) != map || %s.all(j, %s)))",
		theValue, plain(value), value, value, plain("i"), value, value, plain(value+"[j]"))
	var first []admissionRule
	for _, p := range a.places {
		if strings.HasPrefix(p.path, "spec") || strings.HasPrefix(p.path, "policy") {
			first = append(first, admissionRule{p, []string{itself}, holds, text})
		}
	}
	a.rules = append(first, a.rules...)
}

// misuse adds what else is an error in the value under a field of p.
func (a *admission) misuse(n *node, p place, field string) {
	if n.kinds&^aNull == 0 {
		if n.kinds == 0 || misused(n.fail) {
			a.add(p, field, map[bool]string{true: theValue + " == null", false: "false"}[n.kinds == aNull], n.fail)
		}
		return
	}
	for _, c := range n.checks {
		if !c.warning && misused(c.fail) {
			a.add(p, field, fmt.Sprintf("type(%s) != string || %s", theValue, c.holds(theValue)), c.fail)
		}
	}
	switch v := n.last(); {
	case v == nil:
	case len(v.fields) == 0 && len(v.patterns) == 1 && v.patterns[0].node.kinds&aMapping != 0:
		a.misuse(v.patterns[0].node, a.child(p, field), eachKey)
	default:
		c := a.child(p, field)
		var earlier []string // fields that tell that an earlier form is meant
		for i := range n.variants {
			v, other := &n.variants[i], hasAny(earlier)
			if v.when != nil {
				other = append(other, "!("+strings.Join(hasAny(v.when), " || ")+")")
			}
			a.form(v, c, strings.Join(other, " || "))
			earlier = append(earlier, v.when...)
		}
	}
}

// hasAny are the conditions of which one holds if a mapping has one of the fields.
func hasAny(names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, fmt.Sprintf("%q in %s", name, theValue))
	}
	return all
}

// form adds the errors in a form of the mapping c. The form is meant where other is false;
// empty, it is the only one.
func (a *admission) form(v *variant, c place, other string) {
	where := func(holds string) string {
		if other != "" {
			holds = other + " || " + holds
		}
		return holds
	}
	known := make([]string, 0, len(v.fields))
	for i := range v.fields {
		f := &v.fields[i]
		known = append(known, f.name)
		if misused(f.warning) {
			a.add(c, itself, where(fmt.Sprintf("!(%q in %s)", f.name, theValue)), f.name+": "+f.warning)
		}
		if f.required {
			a.add(c, itself, where(fmt.Sprintf("%q in %s", f.name, theValue)), cmp.Or(f.missing, fmt.Sprintf("required field %q is missing [required-field]\nhint: add it", f.name)))
		}
		switch {
		case other == "":
			a.misuse(f.node, c, f.name)
		case f.node.kinds == 0:
			a.add(c, itself, where(fmt.Sprintf("!(%q in %s)", f.name, theValue)), f.name+": "+f.node.fail)
		default:
			for _, check := range f.node.checks {
				if !misused(check.fail) {
					continue
				}
				x := fmt.Sprintf("%s[%q]", theValue, f.name)
				a.add(c, itself, where(fmt.Sprintf("!(%q in %s) || type(%s) != string || %s", f.name, theValue, x, check.holds(x))), f.name+": "+check.fail)
			}
		}
	}
	accepted := "k in " + celList(known)
	for _, p := range v.patterns {
		var matches []string
		for _, check := range p.checks {
			matches = append(matches, check.holds("k"))
		}
		if matches == nil {
			return // any name is accepted
		}
		here := strings.Join(matches, " && ")
		if accepted += " || " + here; p.node.kinds == 0 {
			a.add(c, itself, where(fmt.Sprintf("%s.all(k, !(%s))", theValue, here)), p.node.fail)
		}
	}
	if !v.open {
		a.add(c, itself, where(fmt.Sprintf("%s.all(k, %s)", theValue, accepted)), cmp.Or(v.key, "a field that Stork does not have, and drops [unknown-field]\nhint: correct its name, or remove it"))
	}
}

// misused tells whether the text is of an error with which Stork decodes the pair.
func misused(text string) bool {
	if text == "" {
		return false
	}
	rule, ok := report.RuleOf(ruleOf(text))
	return ok && rule.Severity == report.Error && !rule.Undecodable && rule.ID != "metadata-encrypted"
}

// beyond adds the errors that the validator's code finds, and the plan does not say.
func (a *admission) beyond() {
	at := func(path string) place {
		return a.places[slices.IndexFunc(a.places, func(p place) bool { return p.path == path })]
	}
	clusters, users := at("spec.config.clusters.*"), at("spec.config.users.*")
	a.add(clusters, "server", "type("+theValue+") != string || "+theValue+`.matches("^(?i)https://")`, "server is no https:// URL: Stork sends no credential to another [server-invalid]\nhint: server: https://HOST:6443")
	a.add(clusters, "insecure-skip-tls-verify", theValue+" != true", "anybody on the way can take the credential [tls-skipped]\nhint: remove it, and give certificate-authority-data")
	a.add(users, "exec", theValue+" == null", "Stork runs this command in its pod [exec-credential]\nhint: use the token of a service account")
	for _, field := range []string{"username", "password"} {
		a.add(users, field, theValue+" == null || "+theValue+` == ""`, "Kubernetes has no basic authentication since 1.19 [basic-auth]\nhint: use the token of a service account")
	}
	a.add(clusters, "certificate-authority-data", pemHolds, "no certificate in PEM, so that no server can be trusted [ca-invalid]\nhint: give that of the CA in PEM, in base64")
	for _, field := range []string{"client-certificate-data", "client-key-data"} {
		a.add(users, field, pemHolds, "no PEM, and client-go refuses the credential [certificate-invalid]\nhint: take both from one kubeconfig")
	}
}

// pemHolds tells that data is empty, or that PEM begins in it somewhere: other text may stand before
// it, as openssl x509 -text writes it. CEL has no base64, so this looks for what "-----BEGIN" is there,
// by its first ten letters, as the cost is counted by tens. It leaves data with line breaks to validate:
// to join lines costs more than to search them.
var pemHolds = fmt.Sprintf(`type(%[1]s) != string || %[1]s == "" || %[2]s.exists(p, %[1]s.contains(p))`,
	theValue, celList(append(inBase64("-----BEG"), "\n", "\r")))

// inBase64 is how base64 of a longer text may hold a text: one form for each place that its first
// byte may have in three, without the letters that depend on its neighbours.
func inBase64(text string) []string {
	var all []string
	for before := range 3 {
		encoded := base64.StdEncoding.EncodeToString(append(make([]byte, before), text...))
		all = append(all, encoded[(8*before+5)/6:8*(before+len(text))/6])
	}
	return all
}

// write prints the policy, and a binding with what is done about a breach.
func (a *admission) write(b *bytes.Buffer, name string, actions ...string) {
	var validations []object
	for _, r := range a.rules {
		path := r.place.path
		if r.fields[0] != itself && r.fields[0] != eachKey {
			path = join(path, strings.Join(r.fields, ", "))
		} else if r.fields[0] == eachKey {
			path += ".*"
		}
		message := strings.ReplaceAll(r.text, "\nhint: ", "; ")
		if path != "" && !strings.HasPrefix(message, path+": ") {
			message = path + ": " + message
		}
		validations = append(validations, object{"message": message,
			"expression": r.expression(false) + " || oldObject != null && !(" + r.expression(true) + ")"})
	}
	documents := []object{
		{
			"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
			"metadata": object{"name": name},
			"spec": object{
				"failurePolicy": "Fail",
				"matchConstraints": object{"resourceRules": []object{{
					"apiGroups": []string{"stork.libopenstorage.org"}, "apiVersions": []string{"*"}, "operations": []string{"CREATE", "UPDATE"}, "resources": a.resources,
				}}},
				"variables": a.variables, "validations": validations,
			},
		},
		{
			"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
			"metadata": object{"name": name},
			"spec":     object{"policyName": name, "validationActions": actions},
		},
	}
	for _, document := range documents {
		b.WriteString("---\n")
		text, err := yaml.Marshal(document)
		if err != nil {
			panic(err) // strings, numbers, lists and mappings
		}
		b.Write(text)
	}
}

// expression is the condition for the object, or for what it was before.
func (r *admissionRule) expression(old bool) string {
	on := func(m string) string {
		condition := func(x string) string { return strings.ReplaceAll(r.holds, theValue, x) }
		switch {
		case r.fields[0] == itself:
			return condition(m)
		case r.fields[0] == eachKey:
			return fmt.Sprintf("%s.all(e, %s)", m, condition(m+"[e]"))
		case len(r.fields) == 1:
			return fmt.Sprintf("(!(%q in %s) || %s)", r.fields[0], m, condition(fmt.Sprintf("%s[%q]", m, r.fields[0])))
		}
		return fmt.Sprintf("%s.all(f, !(f in %s) || %s)", celList(r.fields), m, condition(m+"[f]"))
	}
	if r.place.many {
		return r.place.variable(old) + ".all(m, " + on("m") + ")"
	}
	return "(" + on(r.place.variable(old)) + ")"
}
