package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// What a destination may be instead of an API server, and what may lie on the
// way to it.
var servers = map[string]func(*authority, string) (*http.Server, error){
	// Certificates that no client should accept. What they answer would be fine.
	"wrong-name": func(ca *authority, _ string) (*http.Server, error) {
		return secure(ca, time.Hour, answer, "other.test")
	},
	"unknown-ca": func(_ *authority, host string) (*http.Server, error) {
		other, err := newAuthority("other")
		if err != nil {
			return nil, err
		}
		return secure(other, time.Hour, answer, host)
	},
	"expired": func(ca *authority, host string) (*http.Server, error) {
		return secure(ca, -time.Hour, answer, host)
	},
	// Answers that no client should wait for, or keep.
	"mute": func(ca *authority, host string) (*http.Server, error) {
		return secure(ca, time.Hour, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, host)
	},
	"garbage": func(ca *authority, host string) (*http.Server, error) {
		return secure(ca, time.Hour, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "\x1b[31mgarbage\x00{") }, host)
	},
	"huge": func(ca *authority, host string) (*http.Server, error) {
		return secure(ca, time.Hour, answerHuge, host)
	},
	"proxy": func(*authority, string) (*http.Server, error) {
		return &http.Server{Handler: http.HandlerFunc(connect)}, nil
	},
}

// serverCommand is server KIND: starts a server, which ends with the script. Its
// URL is in $KIND, and KIND can be used as a cluster in kubeconfig, with the
// authority of destination. Each request is a line of KIND.log. The kinds are
// those of servers, and hang, which accepts connections and nothing else.
func serverCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: server KIND")
	}
	kind := args[0]
	host := kind + "." + ts.Getenv("NS") + ".test"
	address, err := newHost(host)
	ts.Check(err)
	listener, err := net.Listen("tcp", address+":6443")
	ts.Check(err)
	ts.Defer(func() { listener.Close() }) // connections to hang wait in its backlog
	scheme := "https"
	if kind != "hang" {
		start := servers[kind]
		if start == nil {
			ts.Fatalf("there is no server %s", kind)
		}
		server, err := start(destination.ca, host)
		ts.Check(err)
		server.Handler = logged(ts.MkAbs(kind+".log"), server.Handler)
		server.ErrorLog = log.New(io.Discard, "", 0) // clients that do not trust it
		ts.Defer(func() { server.Close() })
		if server.TLSConfig != nil {
			go server.ServeTLS(listener, "", "")
		} else {
			scheme = "http"
			go server.Serve(listener)
		}
	}
	c := &cluster{name: kind, url: scheme + "://" + host + ":6443", ca: destination.ca}
	scriptOf(ts).clusters[kind] = c
	ts.Setenv(strings.ToUpper(strings.ReplaceAll(kind, "-", "_")), c.url)
}

// secure is a server whose certificate for a host ends some time from now.
func secure(ca *authority, ends time.Duration, handler http.HandlerFunc, host string) (*http.Server, error) {
	cert, key, err := ca.server(time.Now().AddDate(-1, 0, 0), time.Now().Add(ends), host)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	return &http.Server{Handler: handler, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}}, nil
}

func answer(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"major": "1", "minor": "37", "gitVersion": "v1.37.2"}`)
}

// answerHuge answers with a gigabyte of JSON.
func answerHuge(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"gitVersion": "`)
	megabyte := bytes.Repeat([]byte("v"), 1<<20)
	for range 1 << 10 {
		if _, err := w.Write(megabyte); err != nil {
			return // the client has had enough
		}
	}
	io.WriteString(w, `"}`)
}

// connect is what a proxy does for https.
func connect(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
		return
	}
	far, err := net.Dial("tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer far.Close()
	near, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer near.Close()
	io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		defer far.Close() // ends the other direction
		io.Copy(far, near)
	}()
	io.Copy(near, far)
}

// logged writes a line for each request before it is answered.
func logged(path string, next http.Handler) http.Handler {
	var mutex sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := ""
		if r.URL.RawQuery != "" {
			query = "?" + r.URL.RawQuery
		}
		mutex.Lock()
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			fmt.Fprintln(file, r.Method, r.Host, r.URL.Path+query)
			file.Close()
		}
		mutex.Unlock()
		next.ServeHTTP(w, r)
	})
}

// serveNames answers every question for a name: there is none. Those that are
// stand in /etc/hosts.
func serveNames() error {
	conn, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		return err
	}
	go func() {
		packet := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			if n < 12 {
				continue
			}
			// The flags of RFC 1035, 4.1.1: a response; recursion available, name error.
			packet[2] |= 0x80
			packet[3] = 0x83
			conn.WriteTo(packet[:n], from)
		}
	}()
	return nil
}
