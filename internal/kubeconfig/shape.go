package kubeconfig

// shape is what client-go decodes a node into. client-go takes null for any.
type shape struct {
	kind   shapeKind
	fields map[string]*shape // of a structure
	elem   *shape            // of a list or dictionary
	named  bool              // a list whose elements have unique names
}

type shapeKind int

const (
	anything shapeKind = iota
	text
	boolean
	data // base64
	structure
	dictionary
	list
)

func (k shapeKind) String() string {
	switch k {
	case boolean:
		return "a bool"
	case structure, dictionary:
		return "a mapping"
	case list:
		return "a list"
	default:
		return "a text"
	}
}

var (
	aText      = &shape{kind: text}
	aBool      = &shape{kind: boolean}
	aData      = &shape{kind: data}
	texts      = &shape{kind: list, elem: aText}
	extensions = namedList("extension", &shape{})

	clusterShape = &shape{kind: structure, fields: map[string]*shape{
		"server":                     aText,
		"tls-server-name":            aText,
		"insecure-skip-tls-verify":   aBool,
		"certificate-authority":      aText,
		"certificate-authority-data": aData,
		"proxy-url":                  aText,
		"disable-compression":        aBool,
		"extensions":                 extensions,
	}}
	contextShape = &shape{kind: structure, fields: map[string]*shape{
		"cluster":    aText,
		"user":       aText,
		"namespace":  aText,
		"extensions": extensions,
	}}
	userShape = &shape{kind: structure, fields: map[string]*shape{
		"client-certificate":      aText,
		"client-certificate-data": aData,
		"client-key":              aText,
		"client-key-data":         aData,
		"token":                   aText,
		"tokenFile":               aText,
		"as":                      aText,
		"as-uid":                  aText,
		"as-groups":               texts,
		"as-user-extra":           {kind: dictionary, elem: texts},
		"username":                aText,
		"password":                aText,
		"auth-provider": {kind: structure, fields: map[string]*shape{
			"name": aText, "config": {kind: dictionary, elem: aText},
		}},
		"exec": {kind: structure, fields: map[string]*shape{
			"apiVersion":         aText,
			"command":            aText,
			"args":               texts,
			"env":                {kind: list, elem: &shape{kind: structure, fields: map[string]*shape{"name": aText, "value": aText}}},
			"installHint":        aText,
			"interactiveMode":    aText,
			"provideClusterInfo": aBool,
		}},
		"extensions": extensions,
	}}
	configShape = &shape{kind: structure, fields: map[string]*shape{
		"apiVersion":      aText,
		"kind":            aText,
		"preferences":     {kind: structure, fields: map[string]*shape{"colors": aBool, "extensions": extensions}},
		"clusters":        namedList("cluster", clusterShape),
		"contexts":        namedList("context", contextShape),
		"users":           namedList("user", userShape),
		"current-context": aText,
		"extensions":      extensions,
	}}
)

func namedList(key string, value *shape) *shape {
	return &shape{kind: list, named: true, elem: &shape{kind: structure, fields: map[string]*shape{"name": aText, key: value}}}
}

// pairSpelling are the fields that a ClusterPair spells otherwise than a
// kubeconfig. client-go drops them without a word.
var pairSpelling = map[string]string{
	"act-as": "as", "act-as-uid": "as-uid", "act-as-groups": "as-groups", "act-as-user-extra": "as-user-extra",
	"InteractiveMode": "interactiveMode",
}
