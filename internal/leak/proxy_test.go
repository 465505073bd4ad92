package leak

import (
	"testing"

	"go.yaml.in/yaml/v3"
)

// A proxy's password may be a weak one, and is a credential all the same.
func TestProxyPassword(t *testing.T) {
	for url, want := range map[string]int{
		"http://bob:sesam@proxy:3128": 1, "http://bob@proxy:3128": 0, "http://proxy:3128": 0, "http://user:password@proxy": 0,
		"http://bob:${PASSWORD}@proxy": 0, "http://bob:<password>@proxy": 0, "op://vault/proxy/url": 0, "http://bob:@proxy": 0,
	} {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte("kind: Config\nclusters: [{name: a, cluster: {server: 'https://a', proxy-url: '"+url+"'}}]\nusers: []\n"), &doc); err != nil {
			t.Fatal(err)
		}
		got := 0
		Document(&doc, nil, 1, func(Leak) { got++ })
		if got != want {
			t.Errorf("%s: found %d, want %d", url, got, want)
		}
	}
}
