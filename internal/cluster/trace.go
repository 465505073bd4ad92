package cluster

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"clusterpair.dev/internal/kubeconfig"
)

// trace watches how client-go gets to a server: what it looks up, connects to
// and finds in TLS. With a proxy these are the proxy's names and connections,
// and the server's TLS.
type trace struct {
	mu sync.Mutex
	sights
}

// sights are what a trace has seen so far.
type sights struct {
	host            string   // that is looked up
	address         bool     // host is an address already
	proxy           *url.URL // nil if there is none
	fromEnvironment bool     // as opposed to the kubeconfig

	addresses []string
	connected string // address
	handshake bool   // one with the server has begun
	state     *tls.ConnectionState

	lookup, connect, tls error
}

func newTrace(d *kubeconfig.Destination, config *rest.Config) *trace {
	t := new(trace)
	server, err := url.Parse(d.Server)
	if err != nil {
		return t
	}
	at := server
	find := config.Proxy
	if find == nil {
		find = utilnet.NewProxierWithNoProxyCIDR(http.ProxyFromEnvironment) // as SetTransportDefaults does
		t.fromEnvironment = true
	}
	if proxy, err := find(&http.Request{URL: server}); err == nil && proxy != nil {
		t.proxy, at = proxy, proxy
	}
	t.host = at.Hostname()
	t.address = net.ParseIP(t.host) != nil
	return t
}

// context is a context for the one request that is watched.
func (t *trace) context(ctx context.Context) context.Context {
	lock := func(f func()) {
		t.mu.Lock()
		defer t.mu.Unlock()
		f()
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSDone: func(i httptrace.DNSDoneInfo) {
			lock(func() {
				t.lookup = i.Err
				for _, a := range i.Addrs {
					t.addresses = append(t.addresses, a.String())
				}
				slices.Sort(t.addresses)
			})
		},
		ConnectDone: func(_, address string, err error) {
			lock(func() {
				if err == nil {
					t.connected = address
				} else if t.connect == nil {
					t.connect = err
				}
			})
		},
		TLSHandshakeStart: func() {
			// The first one with a proxy of https is the proxy's.
			lock(func() { t.handshake = t.proxy == nil || t.proxy.Scheme != "https" || t.state != nil })
		},
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			lock(func() {
				if t.tls = err; err == nil {
					t.state = &state
				}
			})
		},
		GotConn: func(i httptrace.GotConnInfo) {
			lock(func() {
				// SOCKS looks up and connects without telling.
				if t.connected == "" {
					t.connected = i.Conn.RemoteAddr().String()
				}
			})
		},
	})
}

func (t *trace) seen() sights {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sights
	if s.proxy != nil && strings.HasPrefix(s.proxy.Scheme, "https") && !s.handshake {
		s.state = nil // that of the proxy
	}
	return s
}
