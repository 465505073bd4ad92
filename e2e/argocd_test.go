package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// argocdCommand is argocd CLUSTER DIR [PLUGIN…]: applies the kustomization in DIR
// to a cluster that the script has to itself, and runs Argo CD's
// controllers, its repo-server and the cache of these; and for the
// plugin in each file the plugin's server, as in a sidecar of the repo-server.
// All end with the script. In DIR/base the kustomization finds Argo CD's own
// manifests; $ARGOCD_CACHE is the address of the cache, and NAME.log in
// $ARGOCD_LOGS what each part logs. For the repo-server and the plugin PATH and
// the keys of SOPS are those of the script.
func argocdCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: argocd CLUSTER DIR [PLUGIN...]")
	}
	c := clusterOf(ts, args[0])
	ts.Check(c.installArgoCD(ts.MkAbs(args[1])))
	dir := ts.MkAbs(".argocd")
	plugins := make([]string, len(args)-2)
	for i, plugin := range args[2:] {
		plugins[i] = ts.ReadFile(plugin)
	}
	address, err := c.startArgoCD("argocd."+ts.Getenv("NS")+".test", dir, plugins, "PATH="+ts.Getenv("PATH"), "SOPS_AGE_KEY_FILE="+ts.Getenv("SOPS_AGE_KEY_FILE"))
	ts.Check(err)
	ts.Setenv("ARGOCD_CACHE", address+":6379")
	ts.Setenv("ARGOCD_LOGS", dir)
}

// startArgoCD runs the parts of Argo CD on a cluster in which it is installed, and returns
// the address where they are. Their files and logs go below dir. plugins are the
// configurations of plugins, env what the parts find in their environment. All end with
// the cluster.
func (c *cluster) startArgoCD(host, dir string, plugins []string, env ...string) (address string, err error) {
	for _, name := range []string{"bin", "home", "plugins", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return "", err
		}
	}
	if address, err = newHost(host); err != nil {
		return "", err
	}
	cache, server := "--redis="+address+":6379", address+":8081"
	env = append(append(os.Environ(), "HOME="+filepath.Join(dir, "home"), "TMPDIR="+filepath.Join(dir, "tmp"),
		"KUBECONFIG="+c.admin, "ARGOCD_FAKE_IN_CLUSTER=true", "ARGOCD_GPG_ENABLED=false", "ARGOCD_RECONCILIATION_JITTER=0",
		"ARGOCD_PLUGINSOCKFILEPATH="+filepath.Join(dir, "plugins"), "ARGOCD_CMP_WORKDIR="+filepath.Join(dir, "tmp"),
		"ARGOCD_ASK_PASS_SOCK="+filepath.Join(dir, "askpass.sock"), "REDIS_PASSWORD="), env...)
	run := func(name string, args ...string) (*process, error) { return c.runArgoCD(dir, name, env, args...) }
	if _, err := run("argocd", "redis", address+":6379"); err != nil {
		return "", err
	}
	for i, plugin := range plugins {
		config := filepath.Join(dir, fmt.Sprint("plugin", i))
		if err := os.Mkdir(config, 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(config, "plugin.yaml"), []byte(plugin), 0o600); err != nil {
			return "", err
		}
		if _, err := run("argocd-cmp-server", "--config-dir-path="+config); err != nil {
			return "", err
		}
	}
	repo, err := run("argocd-repo-server", "--address="+address, "--metrics-address="+address, "--disable-tls", cache)
	if err != nil {
		return "", err
	}
	if err := listening(repo, server); err != nil {
		return "", err
	}
	if _, err := run("argocd-applicationset-controller", "--namespace=argocd", "--enable-progressive-syncs", "--argocd-repo-server="+server, "--repo-server-plaintext",
		"--metrics-addr="+address+":9080", "--probe-addr="+address+":9081", "--webhook-addr="+address+":9082"); err != nil {
		return "", err
	}
	_, err = run("argocd-application-controller", "--namespace=argocd", "--metrics-port=0", "--app-resync=3600", "--repo-server="+server, "--repo-server-plaintext", cache)
	return address, err
}

// runArgoCD runs a part of Argo CD, whose files are below dir.
func (c *cluster) runArgoCD(dir, name string, env []string, args ...string) (*process, error) {
	// By its name the program knows which part it is.
	path := filepath.Join(dir, "bin", name)
	if err := os.Symlink(filepath.Join(c.tools, "argocd"), path); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return c.runIn(dir, path, env, args...)
}

// installArgoCD creates what Argo CD needs in its cluster, by the kustomization in dir.
func (c *cluster) installArgoCD(dir string) error {
	module, err := exec.Command("go", "list", "-C", "argocd", "-m", "-f", "{{.Dir}}", "github.com/argoproj/argo-cd/v3").Output()
	if err != nil {
		return said(err)
	}
	manifests := filepath.Join(strings.TrimSpace(string(module)), "manifests")
	for _, name := range []string{"config", "repo-server"} {
		if err := os.CopyFS(filepath.Join(dir, "base", name), os.DirFS(filepath.Join(manifests, "base", name))); err != nil {
			return err
		}
	}
	kubectl := func(args ...string) error {
		cmd := exec.Command(filepath.Join(c.tools, "kubectl"), append(args, "--kubeconfig="+c.admin)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := kubectl("apply", "--server-side", "-k", filepath.Join(manifests, "crds")); err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		err := kubectl("apply", "--server-side", "-f", "argocd/install.yaml") // one object is of these CRDs
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			return err
		}
	}
	return kubectl("apply", "--server-side", "-k", dir)
}

// listening returns when a server accepts connections.
func listening(p *process, address string) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %s", p.cmd.Path, p.lastLines())
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not listen: %w", p.cmd.Path, err)
		}
	}
}
