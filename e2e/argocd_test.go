package e2e

import (
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
// application-controller, its repo-server and the cache of both; and for the
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
	module, err := exec.Command("go", "list", "-C", "argocd", "-m", "-f", "{{.Dir}}", "github.com/argoproj/argo-cd/v3").Output()
	ts.Check(err)
	ts.Check(c.installArgoCD(filepath.Join(strings.TrimSpace(string(module)), "manifests"), ts.MkAbs(args[1])))

	dir := ts.MkAbs(".argocd")
	for _, name := range []string{"bin", "home", "plugins", "tmp"} {
		ts.Check(os.MkdirAll(filepath.Join(dir, name), 0o700))
	}
	address, err := newHost("argocd." + ts.Getenv("NS") + ".test")
	ts.Check(err)
	ts.Setenv("ARGOCD_CACHE", address+":6379")
	ts.Setenv("ARGOCD_LOGS", dir)
	env := append(os.Environ(),
		"PATH="+ts.Getenv("PATH"), "HOME="+filepath.Join(dir, "home"), "TMPDIR="+filepath.Join(dir, "tmp"), "SOPS_AGE_KEY_FILE="+ts.Getenv("SOPS_AGE_KEY_FILE"),
		"KUBECONFIG="+c.admin, "ARGOCD_FAKE_IN_CLUSTER=true", "ARGOCD_GPG_ENABLED=false", "ARGOCD_RECONCILIATION_JITTER=0",
		"ARGOCD_PLUGINSOCKFILEPATH="+filepath.Join(dir, "plugins"), "ARGOCD_CMP_WORKDIR="+filepath.Join(dir, "tmp"),
		"ARGOCD_ASK_PASS_SOCK="+filepath.Join(dir, "askpass.sock"), "REDIS_PASSWORD=")
	for _, name := range []string{"argocd", "argocd-application-controller", "argocd-cmp-server", "argocd-repo-server"} {
		// By its name the program knows which part it is.
		ts.Check(os.Symlink(filepath.Join(tools, "argocd"), filepath.Join(dir, "bin", name)))
	}
	run := func(name string, args ...string) *process {
		path := filepath.Join(dir, "bin", name)
		log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		ts.Check(err)
		defer log.Close()
		p := &process{cmd: exec.Command(path, args...), ended: make(chan struct{})}
		p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = dir, env, log, log
		ts.Check(startMortal(p.cmd))
		go func() {
			p.cmd.Wait() // how it ended stands in its log
			close(p.ended)
		}()
		ts.Defer(func() { p.stop(0) })
		return p
	}
	run("argocd", "redis", address+":6379")
	for i, plugin := range args[2:] {
		config := filepath.Join(dir, fmt.Sprint("plugin", i))
		ts.Check(os.Mkdir(config, 0o700))
		ts.Check(os.WriteFile(filepath.Join(config, "plugin.yaml"), []byte(ts.ReadFile(plugin)), 0o600))
		run("argocd-cmp-server", "--config-dir-path="+config)
	}
	repo := run("argocd-repo-server", "--address="+address, "--metrics-address="+address, "--disable-tls", "--redis="+address+":6379")
	ts.Check(listening(repo, address+":8081"))
	run("argocd-application-controller", "--namespace=argocd", "--metrics-port=0", "--app-resync=3600", "--repo-server="+address+":8081", "--repo-server-plaintext", "--redis="+address+":6379")
}

// installArgoCD creates what Argo CD needs in its cluster.
func (c *cluster) installArgoCD(manifests, dir string) error {
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
