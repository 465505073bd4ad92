//go:build peers

package validate_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// seeds are the pairs to change: all of ours, those that storkctl has written,
// and those of the schema's tests.
func seeds(t testing.TB) []string {
	var all []string
	for _, pattern := range []string{"../../fixtures/storkctl/*/out.yaml", "../../schema/testdata/ClusterPair/*.yaml", "../../schema/testdata/ClusterPair@*/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, strings.Split(string(data), "---\n")...)
		}
	}
	all = slices.DeleteFunc(all, func(text string) bool { return !strings.Contains(text, "spec:") })
	good := []string{
		pair(),
		pair(token, certificate+"\n        act-as: me\n        act-as-uid: \"7\"\n        act-as-groups: [a, b]\n        act-as-user-extra: {scope: [a]}"),
		pair(token, command+"\n          interactiveMode: Never\n          installHint: a"),
		pair(fabric, options),
		pair(server, server+"\n        proxy-url: http://proxy.example.com:3128\n        tls-server-name: west"),
		pair("certificate-authority-data: CA", "insecure-skip-tls-verify: true"),
		pair(meta, meta+"  labels: {role: dr}\n  annotations: {example.com/a: b}\n  finalizers: [stork.libopenstorage.org/finalizer-cleanup]\n"+
			"  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: a, uid: b}]\n",
			context, "  d:\n        server: https://east.example.com\n    "+context+"      z: {cluster: d, namespace: ns, user: v}\n",
			users, users+"      v: {username: me, password: s3cr3t}\n",
			fabric, fabric+"\n  platformOptions: {rancher: {projectMappings: {\"c-a:p-a\": \"c-b:p-b\"}}}"),
	}
	for len(good) < 2*len(all) {
		good = append(good, good...) // of two mutants one is of a pair that was right
	}
	return append(all, good...)
}

// mutant is a pair with one or two changes, of its structure or its text.
func mutant(random *rand.Rand, text string) string {
	for range 1 + random.IntN(2) {
		if random.IntN(4) > 0 {
			text = changeStructure(random, text)
		} else {
			text = changeText(random, text)
		}
	}
	return text
}

// words are put in place of values and tokens, or before them.
var words = strings.Split(`null|~|on|n|yes|true|"true"|false|5|0x1F|0o17|1e3|1_000|.inf|-1|00|007|99999999999999999999|1.5e400|2026-11-22|1:30|`+
	`[]|{}|[a]|[null]|[[a]]|{a: b}|{a: null}|{a: {b: c}}|{a: [b]}|{colors: true}|{colors: a}|{extensions: {a: b}}|""| |"a\nb"|" a"|"a "|"\0"|"\u00e9"|é|`+
	`!!str |!!int |!!bool |!!binary YWJj|!!float 1|!x |! |&a |*a|<<: |? |- |: |#| #|'|"|...|%|,|\|@|ENC[AES256_GCM,data:aa==,iv:bb==,tag:cc==,type:str]|ENC[|<a>|`+
	`YWJj|YWI|YWK=|YW_-|"YWJj\nYWJj"|"YW Jj"|DATA+OMITTED|REDACTED|a|A|a/b|a_b|A-|a.b|a:b|c|x|u|/a|/etc/hostname|`+
	`https://a|http://a|a:1|https://a/b|https://a?b|https://u:p@a|HTTPS://a|https://a:|https://a:99999|https://[::1]:1|https:/a|//a|socks5://a|socks5h://a|ftp://a|https://a b|https://a%zz|`+
	`Never|Always|IfAvailable|never|client.authentication.k8s.io/v1|client.authentication.k8s.io/v1alpha1|DisasterRecovery|Default|9001|"9001"|"70000"|"0"`, "|")

// names are put in place of keys, or beside them.
var names = strings.Fields(`apiVersion kind metadata name namespace labels annotations finalizers ownerReferences generateName resourceVersion spec status config options
	platformOptions rancher projectMappings clusters contexts users current-context preferences colors extensions server tls-server-name insecure-skip-tls-verify
	certificate-authority certificate-authority-data proxy-url disable-compression LocationOfOrigin cluster user client-certificate client-certificate-data client-key
	client-key-data token tokenFile act-as act-as-uid act-as-groups act-as-user-extra as as-uid username password auth-provider exec command args env installHint
	provideClusterInfo InteractiveMode interactiveMode StdinUnavailable Config value ip port mode backuplocation c x u a A 1 true on ~ 0x1 1.5 example.com/a a:b`)

var tokens = regexp.MustCompile(`[A-Za-z0-9./@+=-]+|\s+|[^\s]`)

func changeText(random *rand.Rand, text string) string {
	all := tokens.FindAllStringIndex(text, -1)
	if len(all) == 0 {
		return text
	}
	at, word := all[random.IntN(len(all))], words[random.IntN(len(words))]
	switch random.IntN(4) {
	case 0: // in place of a token
		return text[:at[0]] + word + text[at[1]:]
	case 1: // before a token
		return text[:at[0]] + word + text[at[0]:]
	case 2: // without a token
		return text[:at[0]] + text[at[1]:]
	default: // a token twice
		return text[:at[1]] + text[at[0]:]
	}
}

func changeStructure(random *rand.Rand, text string) string {
	var doc yaml.Node
	if yaml.Unmarshal([]byte(text), &doc) != nil {
		return text
	}
	places := mappingsAndLists(&doc)
	if len(places) == 0 {
		return text
	}
	n := places[random.IntN(len(places))]
	step := 1
	if n.Kind == yaml.MappingNode {
		step = 2
	}
	at := step * random.IntN(len(n.Content)/step)
	key, value := n.Content[at], &n.Content[at+step-1]
	switch random.IntN(6) {
	case 0:
		*value = word(random)
	case 1: // one more
		n.Content = append(n.Content, []*yaml.Node{name(random), word(random)}[2-step:]...)
	case 2: // one less
		n.Content = slices.Delete(n.Content, at, at+step)
	case 3: // a value from elsewhere
		other := places[random.IntN(len(places))]
		*value = deepCopy(other.Content[len(other.Content)-1], 0)
	case 4: // another name, or this one in another case
		if step == 2 {
			changed := []*yaml.Node{name(random), plain(strings.ToUpper(key.Value)), plain(strings.ToLower(key.Value))}
			n.Content[at] = changed[random.IntN(len(changed))]
		}
	case 5: // a character in a text
		if v := *value; v.Kind == yaml.ScalarNode {
			i := random.IntN(len(v.Value) + 1)
			more := []string{" ", "\n", "\t", "\x00", "é", "\u200b", "=", "%", ",", ":", "<", "\x7f", "\\", "ENC["}
			*value = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: v.Value[:i] + more[random.IntN(len(more))] + v.Value[i:]}
		}
	}
	out, err := yaml.Marshal(&doc)
	if err != nil {
		return text
	}
	return string(out)
}

func word(random *rand.Rand) *yaml.Node {
	for {
		var doc yaml.Node
		if yaml.Unmarshal([]byte(words[random.IntN(len(words))]), &doc) == nil && len(doc.Content) == 1 {
			return doc.Content[0]
		}
	}
}

// name is a key, which need not be a text.
func name(random *rand.Rand) *yaml.Node {
	n := plain(names[random.IntN(len(names))])
	if random.IntN(4) == 0 {
		n.Tag = ""
	}
	return n
}

func plain(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// mappingsAndLists are the places of a document where something can change.
func mappingsAndLists(n *yaml.Node) []*yaml.Node {
	var all []*yaml.Node
	if n.Kind != yaml.DocumentNode && len(n.Content) > 0 {
		all = append(all, n)
	}
	for _, c := range n.Content {
		all = append(all, mappingsAndLists(c)...)
	}
	return all
}

func deepCopy(n *yaml.Node, depth int) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	c := *n
	c.Anchor, c.Content = "", nil
	if depth < 20 {
		for _, child := range n.Content {
			c.Content = append(c.Content, deepCopy(child, depth+1))
		}
	}
	return &c
}
