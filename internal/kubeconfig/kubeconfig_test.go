package kubeconfig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/report"
)

// opaque is a token that says nothing of itself.
const opaque = "0pyAAPVk5m3fGbG3zRrGZ0Z5hYtq1Xxx-opaque"

// plain is a kubeconfig with a good CA; user is the body of its user.
func plain(server, user string) string {
	return kubeconfig("    server: "+server+"\n    certificate-authority-data: "+authority.data()+"\n", user)
}

// kubeconfig has one context, kubernetes-admin@kubernetes.
func kubeconfig(cluster, user string) string {
	if user == "" {
		user = "    {}\n"
	}
	return `apiVersion: v1
kind: Config
clusters:
- name: kubernetes
  cluster:
` + cluster + `contexts:
- name: kubernetes-admin@kubernetes
  context:
    cluster: kubernetes
    user: kubernetes-admin
current-context: kubernetes-admin@kubernetes
users:
- name: kubernetes-admin
  user:
` + user
}

type ruleTest struct {
	text    string
	options Options
	want    string // severity and rule of each finding
}

// ruleTests are kubeconfigs that break the rules of their name and no other.
func ruleTests() map[string]ruleTest {
	ca := "    certificate-authority-data: " + authority.data() + "\n"
	server := "    server: " + west + "\n"
	good := "    token: " + opaque + "\n"
	certificate := func(c identity) string {
		return "    client-certificate-data: " + c.data() + "\n    client-key-data: " + c.keyData() + "\n"
	}
	exec := func(body string) string {
		return "    exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: aws" + body + "}\n"
	}
	allowed := func(rules ...string) Options {
		o := Options{StorkVersion: "24.3", Allow: make(map[string]bool)}
		for _, r := range rules {
			o.Allow[r] = true
		}
		return o
	}
	return map[string]ruleTest{
		"good":             {text: plain(west, good)},
		"good certificate": {text: plain(west, certificate(client))},
		"good RSA":         {text: plain(west, certificate(client2048))},
		"good Ed25519":     {text: plain(west, certificate(clientEd25519))},
		"good PKCS 8":      {text: plain(west, certificate(clientPKCS8))},
		"CRLF":             {text: strings.ReplaceAll(plain(west, good), "\n", "\r\n")},
		"BOM":              {text: "\ufeff" + plain(west, good)},

		// context-broken
		"no current-context":    {text: strings.Replace(plain(west, good), "current-context", "colour", 1), want: "error context-broken"},
		"unknown context":       {text: plain(west, good), options: Options{Context: "west"}, want: "error context-broken"},
		"no contexts":           {text: "clusters: []\n", want: "error context-broken"},
		"unknown cluster":       {text: strings.Replace(plain(west, good), "cluster: kubernetes\n", "cluster: other\n", 1), want: "error context-broken"},
		"no user":               {text: strings.Replace(plain(west, good), "    user: kubernetes-admin\n", "", 1), want: "error context-broken"},
		"unknown user":          {text: strings.Replace(plain(west, good), "user: kubernetes-admin\n", "user: other\n", 1), want: "error context-broken"},
		"bad context namespace": {text: strings.Replace(plain(west, good), "user: kubernetes-admin\n", "user: kubernetes-admin\n    namespace: A_b\n", 1), want: "error context-broken"},

		// server
		"http":               {text: plain("http://west.example.com", good), want: "error server-invalid"},
		"no scheme":          {text: plain("west.example.com:6443", good), want: "error server-invalid"},
		"no server":          {text: kubeconfig(ca, good), want: "error server-invalid"},
		"user in server":     {text: plain("https://u:pw@west.example.com", good), want: "error server-invalid"},
		"query in server":    {text: plain("https://west.example.com?a=b", good), want: "error server-invalid"},
		"bad port":           {text: plain("https://west.example.com:70000", good), want: "error server-invalid"},
		"empty port":         {text: plain("'https://west.example.com:'", good), want: "error server-invalid"},
		"no host":            {text: plain("https:///api", good), want: "error server-invalid"},
		"half an address":    {text: plain("https://127.1:6443", good), want: "error server-invalid"},
		"decimal address":    {text: plain("https://2130706433:6443", good), want: "error server-invalid"},
		"placeholder":        {text: plain("https://<server>:6443", good), want: "error server-invalid"},
		"localhost":          {text: plain("https://LocalHost.:8443", good), want: "error server-loopback"},
		"127/8":              {text: plain("https://127.8.8.8:8443", good), want: "error server-loopback"},
		"::1":                {text: plain("'https://[::1]:8443'", good), want: "error server-loopback"},
		"mapped 127.0.0.1":   {text: plain("'https://[::ffff:127.0.0.1]:8443'", good), want: "error server-loopback"},
		"0.0.0.0":            {text: plain("https://0.0.0.0:8443", good), want: "error server-loopback"},
		"metadata service":   {text: plain("https://169.254.169.254", good), want: "error server-loopback"},
		"loopback allowed":   {text: plain("https://localhost:8443", good), options: allowed("server-loopback"), want: "info server-loopback"},
		"loopback replaced":  {text: plain("https://localhost:8443", good), options: Options{Server: west}},
		"svc":                {text: plain("https://api.west.svc", good), want: "warning server-private"},
		"in each cluster":    {text: plain("https://kubernetes.default.svc", good), want: "error server-loopback"},
		"single label":       {text: plain("https://dr:6443", good), want: "warning server-private"},
		"local":              {text: plain("https://west.local:6443", good), want: "warning server-private"},
		"Docker Desktop":     {text: plain("https://kubernetes.docker.internal:6443", good), want: "warning server-private"},
		"carrier NAT":        {text: plain("https://100.64.0.1:6443", good), want: "info server-private"},
		"multicast":          {text: plain("https://224.0.0.1:6443", good), want: "error server-invalid"},
		"no URL":             {text: plain("'https://west.example.com:6443%'", good), want: "error server-invalid"},
		"docker":             {text: plain("https://172.17.0.2:6443", good), want: "warning server-private"},
		"RFC 1918":           {text: plain("https://10.0.0.10:6443", good), want: "info server-private"},
		"Rancher":            {text: plain("https://rancher.example.com/k8s/clusters/c-abcde", good), want: "warning server-proxied"},
		"vCluster Platform":  {text: plain("https://vcluster.example.com/kubernetes/project/p/virtualcluster/v", good), want: "warning server-proxied"},
		"Karmada":            {text: plain("https://karmada.example.com:5443/apis/cluster.karmada.io/v1alpha1/clusters/west/proxy", good), want: "warning server-proxied"},
		"connect gateway":    {text: plain("https://connectgateway.googleapis.com/v1/projects/1/locations/global/gkeMemberships/west", good), want: "warning server-proxied"},
		"cluster-proxy":      {text: plain("https://cluster-proxy-user.apps.hub.example.com/west", good), want: "warning server-proxied"},
		"any other path":     {text: plain("https://gateway.example.com/west", good), want: "warning server-proxied"},
		"no path":            {text: plain("https://west.example.com:6443/", good)},
		"proxy":              {text: kubeconfig(server+ca+"    proxy-url: socks5://proxy.example.com:1080\n", good), want: "warning server-proxied"},
		"user in proxy":      {text: kubeconfig(server+ca+"    proxy-url: http://u:pw@proxy.example.com\n", good), want: "error server-proxied"},
		"proxy without port": {text: kubeconfig(server+ca+"    proxy-url: http://proxy.example.com:99999\n", good), options: allowed("server-proxied"), want: "error server-proxied"},
		"proxy without host": {text: kubeconfig(server+ca+"    proxy-url: http://:3128\n", good), options: allowed("server-proxied"), want: "error server-proxied"},
		"server name":        {text: kubeconfig(server+ca+"    tls-server-name: kubernetes.default.svc.\n", good), want: ""},
		"address for a name": {text: kubeconfig(server+ca+"    tls-server-name: fd00::1\n", good), want: ""},
		"no server name":     {text: kubeconfig(server+ca+"    tls-server-name: https://west.example.com\n", good), want: "error server-invalid"},
		"name with a port":   {text: kubeconfig(server+ca+"    tls-server-name: west.example.com:6443\n", good), want: "error server-invalid"},
		"bad proxy":          {text: kubeconfig(server+ca+"    proxy-url: ftp://proxy.example.com\n", good), options: allowed("server-proxied"), want: "error server-proxied"},

		// CA
		"skip":              {text: kubeconfig(server+"    insecure-skip-tls-verify: true\n", good), want: "error tls-skipped"},
		"skip by YAML 1.1":  {text: kubeconfig(server+"    insecure-skip-tls-verify: yes\n", good), want: "error tls-skipped"},
		"skip allowed":      {text: kubeconfig(server+"    insecure-skip-tls-verify: true\n", good), options: allowed("tls-skipped"), want: "info tls-skipped"},
		"skip and CA":       {text: kubeconfig(server+ca+"    insecure-skip-tls-verify: true\n", good), options: allowed("tls-skipped"), want: "error ca-invalid"},
		"no CA":             {text: kubeconfig(server, good), want: "error ca-missing"},
		"CA no PEM":         {text: kubeconfig(server+"    certificate-authority-data: aGVsbG8=\n", good), want: "error ca-invalid"},
		"CA is a key":       {text: kubeconfig(server+"    certificate-authority-data: "+authority.keyData()+"\n", good), want: "error ca-invalid"},
		"CA is no CA":       {text: kubeconfig(server+"    certificate-authority-data: "+client.data()+"\n", good), want: "error ca-invalid"},
		"server pinned":     {text: kubeconfig(server+"    certificate-authority-data: "+pinned.data()+"\n", good), want: "warning ca-pinned"},
		"pinned, waived":    {text: kubeconfig(server+"    certificate-authority-data: "+join(client, pinned)+"\n", good), options: allowed("ca-pinned"), want: "info ca-pinned"},
		"pinned, ends soon": {text: kubeconfig(server+"    certificate-authority-data: "+pinnedSoon.data()+"\n", good), want: "warning ca-pinned, warning credential-expiring"},
		"pinned, expired":   {text: kubeconfig(server+"    certificate-authority-data: "+pinnedExpired.data()+"\n", good), want: "error ca-invalid"},
		"pinned, by name":   {text: kubeconfig("    server: https://10.0.0.1:6443\n    tls-server-name: west.example.com\n    certificate-authority-data: "+pinned.data()+"\n", good), want: "info server-private, warning ca-pinned"},
		"another's pinned":  {text: kubeconfig(server+"    certificate-authority-data: "+pinned.data()+"\n", good), options: Options{Server: "https://east.example.com"}, want: "error ca-invalid"},
		"CA expired":        {text: kubeconfig(server+"    certificate-authority-data: "+authorityExpired.data()+"\n", good), options: allowed("credential-expired"), want: "error ca-invalid"},
		"CA early":          {text: kubeconfig(server+"    certificate-authority-data: "+authorityEarly.data()+"\n", good), want: "error ca-invalid"},
		"CA ends soon":      {text: kubeconfig(server+"    certificate-authority-data: "+authoritySoon.data()+"\n", good), want: "warning credential-expiring"},
		"old and new CA":    {text: kubeconfig(server+"    certificate-authority-data: "+join(authorityExpired, client, authority)+"\n", good)},
		"weak CA":           {text: kubeconfig(server+"    certificate-authority-data: "+authority1024.data()+"\n", good), want: "warning weak-key"},
		"CA unparseable":    {text: kubeconfig(server+"    certificate-authority-data: "+encode("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n")+"\n", good), want: "error ca-invalid"},
		"CA file":           {text: kubeconfig(server+"    certificate-authority: ca.crt\n", good), want: "error file-reference"},
		"CA file and data":  {text: kubeconfig(server+ca+"    certificate-authority: ca.crt\n", good), want: "error file-reference"},
		"CA as PEM":         {text: kubeconfig(server+"    certificate-authority-data: |\n      -----BEGIN CERTIFICATE-----\n", good), want: "error bad-base64"},
		"CA twice encoded":  {text: kubeconfig(server+"    certificate-authority-data: "+encode(authority.data())+"\n", good), want: "error bad-base64"},
		"CA omitted":        {text: kubeconfig(server+"    certificate-authority-data: DATA+OMITTED\n", good), want: "error bad-base64"},
		"CA placeholder":    {text: kubeconfig(server+"    certificate-authority-data: <CA_DATA>\n", good), want: "error bad-base64"},
		"CA encrypted":      {text: kubeconfig(server+"    certificate-authority-data: ENC[AES256_GCM,data:aaaa,type:str]\n", good), want: "error still-encrypted"},
		"server unreadable": {text: plain("5", good), want: "error value-type"},

		// credentials
		"no credential":         {text: plain(west, ""), want: "error no-credential"},
		"no credential allowed": {text: plain(west, ""), options: allowed("no-credential"), want: "info no-credential"},
		"null user":             {text: plain(west, "    null\n"), want: "error no-credential"},
		"basic auth":            {text: plain(west, "    username: u\n    password: pw\n"), want: "error basic-auth"},
		"token and password":    {text: plain(west, good+"    password: pw\n"), want: "error basic-auth, error several-credentials"},
		"auth-provider":         {text: plain(west, "    auth-provider: {name: oidc, config: {id-token: abc}}\n"), want: "error auth-provider"},
		"token file":            {text: plain(west, "    tokenFile: token\n"), want: "error file-reference"},
		"key file":              {text: plain(west, "    client-certificate-data: "+client.data()+"\n    client-key: k\n"), want: "error file-reference"},
		"token with space":      {text: plain(west, "    token: abc def\n"), want: "error token-malformed"},
		"token with newline":    {text: plain(west, "    token: \"abc\\ndef\"\n"), want: "error token-malformed"},
		"Bearer":                {text: plain(west, "    token: Bearer abcdef\n"), want: "error token-malformed"},
		"token with final line": {text: plain(west, "    token: |\n      "+opaque+"\n")},
		"redacted token":        {text: plain(west, "    token: REDACTED\n"), want: "error token-malformed"},
		"encoded token":         {text: plain(west, "    token: "+encode(token(jwtClaims{"sub": "x"}))+"\n"), want: "error token-malformed"},
		"unbounded token":       {text: plain(west, "    token: "+token(jwtClaims{"sub": "x"})+"\n"), want: "warning credential-unbounded"},
		"expired token":         {text: plain(west, "    token: "+token(jwtClaims{"exp": now.Unix() - 1})+"\n"), want: "error credential-expired"},
		"expired allowed":       {text: plain(west, "    token: "+token(jwtClaims{"exp": now.Unix() - 1})+"\n"), options: allowed("credential-expired"), want: "info credential-expired"},
		"expiring token":        {text: plain(west, "    token: "+token(jwtClaims{"exp": float64(now.Unix()) + 86400.5})+"\n"), want: "warning credential-expiring"},
		"lasting token":         {text: plain(west, "    token: "+token(jwtClaims{"exp": now.Unix() + 86400})+"\n"), options: Options{Within: time.Hour}},
		"early token":           {text: plain(west, "    token: "+token(jwtClaims{"nbf": now.Unix() + 3600, "exp": now.Unix() + 1e8})+"\n"), want: "error credential-expired"},
		"early token, iat":      {text: plain(west, "    token: "+token(jwtClaims{"iat": now.Unix() + 3600, "exp": now.Unix() + 1e8})+"\n"), want: "error credential-expired"},
		"bound to a pod":        {text: plain(west, "    token: "+token(jwtClaims{"exp": now.Unix() + 1e8, "kubernetes.io": jwtClaims{"pod": jwtClaims{"name": "p"}}})+"\n"), want: "warning credential-end-unknown"},
		"bound to a gone pod":   {text: plain(west, "    token: "+token(jwtClaims{"exp": now.Unix() - 1, "kubernetes.io": jwtClaims{"pod": jwtClaims{"name": "p"}}})+"\n"), want: "error credential-expired, warning credential-end-unknown"},
		"bound to a node":       {text: plain(west, "    token: "+token(jwtClaims{"exp": now.Unix() + 1e8, "kubernetes.io": jwtClaims{"node": jwtClaims{"name": "n"}}})+"\n"), want: "warning credential-end-unknown"},
		"bound to a Secret":     {text: plain(west, "    token: "+token(jwtClaims{"exp": now.Unix() + 1e8, "kubernetes.io": jwtClaims{"secret": jwtClaims{"name": "s"}}})+"\n")},
		"EKS":                   {text: plain(west, "    token: "+eksToken(now)+"\n"), options: Options{Within: time.Minute}, want: "warning credential-expiring"},
		"EKS of before":         {text: plain(west, "    token: "+eksToken(now.Add(-16*time.Minute))+"\n"), want: "error credential-expired"},
		"EKS of tomorrow":       {text: plain(west, "    token: "+eksToken(now.Add(24*time.Hour))+"\n"), want: "error credential-expired, warning credential-expiring"},
		"EKS, no URL":           {text: plain(west, "    token: k8s-aws-v1.!\n"), want: "warning credential-end-unknown"},
		"OpenShift":             {text: plain(west, "    token: sha256~"+opaque+"\n"), want: "warning credential-end-unknown"},
		"OpenShift allowed":     {text: plain(west, "    token: sha256~"+opaque+"\n"), options: allowed("credential-end-unknown"), want: "info credential-end-unknown"},
		"endless exp":           {text: plain(west, "    token: "+token(jwtClaims{"exp": 1e300})+"\n")},

		// client certificates
		"no key":              {text: plain(west, "    client-certificate-data: "+client.data()+"\n"), want: "error certificate-invalid"},
		"no certificate":      {text: plain(west, "    client-key-data: "+client.keyData()+"\n"), want: "error certificate-invalid"},
		"key of another":      {text: plain(west, "    client-certificate-data: "+client.data()+"\n    client-key-data: "+client2048.keyData()+"\n"), want: "error certificate-invalid"},
		"certificate no PEM":  {text: plain(west, "    client-certificate-data: aGVsbG8=\n    client-key-data: "+client.keyData()+"\n"), want: "error certificate-invalid"},
		"key no PEM":          {text: plain(west, "    client-certificate-data: "+client.data()+"\n    client-key-data: aGVsbG8=\n"), want: "error certificate-invalid"},
		"encrypted key":       {text: plain(west, "    client-certificate-data: "+client.data()+"\n    client-key-data: "+encode("-----BEGIN ENCRYPTED PRIVATE KEY-----\naGVsbG8=\n-----END ENCRYPTED PRIVATE KEY-----\n")+"\n"), want: "error certificate-invalid"},
		"old encrypted key":   {text: plain(west, "    client-certificate-data: "+client.data()+"\n    client-key-data: "+encode("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\naGVsbG8=\n-----END RSA PRIVATE KEY-----\n")+"\n"), want: "error certificate-invalid"},
		"server certificate":  {text: plain(west, certificate(serving)), want: "error certificate-invalid"},
		"certificate expired": {text: plain(west, certificate(clientExpired)), want: "error credential-expired"},
		"certificate early":   {text: plain(west, certificate(clientEarly)), want: "error credential-expired"},
		"certificate ends":    {text: plain(west, certificate(clientSoon)), want: "warning credential-expiring"},
		"masters":             {text: plain(west, certificate(masters)), want: "warning credential-unbounded"},
		"cluster-admins":      {text: plain(west, certificate(clusterAdmins)), want: "warning credential-unbounded"},
		"SHA-1":               {text: plain(west, "    client-certificate-data: "+encode(readText("testdata/sha1.crt"))+"\n    client-key-data: "+encode(readText("testdata/sha1.key"))+"\n"), want: "warning weak-key"},
		"RSA 1024":            {text: plain(west, certificate(client1024)), want: "warning weak-key"},

		// exec
		"exec":                 {text: plain(west, exec("")), want: "error exec-credential"},
		"exec allowed":         {text: plain(west, exec("")), options: allowed("exec-credential"), want: "info exec-credential"},
		"exec without version": {text: plain(west, exec("")), options: Options{Allow: map[string]bool{"exec-credential": true}}, want: "error exec-credential, info exec-credential"},
		"exec not in image":    {text: plain(west, strings.Replace(exec(""), "aws", "/opt/bin/aws", 1)), options: allowed("exec-credential"), want: "error exec-credential, info exec-credential"},
		"exec v1alpha1":        {text: plain(west, strings.Replace(exec(""), "v1beta1", "v1alpha1", 1)), options: allowed("exec-credential"), want: "error exec-credential, info exec-credential"},
		"exec v1 without mode": {text: plain(west, strings.Replace(exec(""), "v1beta1", "v1", 1)), options: allowed("exec-credential"), want: "error exec-credential, info exec-credential"},
		"exec Always":          {text: plain(west, exec(", interactiveMode: Always")), options: allowed("exec-credential"), want: "error exec-credential, info exec-credential"},
		"exec nameless env":    {text: plain(west, exec(", env: [{value: v}]")), options: allowed("exec-credential"), want: "error exec-credential, info exec-credential"},
		"exec and token":       {text: plain(west, good+exec("")), options: allowed("exec-credential"), want: "error several-credentials, info exec-credential"},

		// fields
		"as":                   {text: plain(west, good+"    as: system:admin\n    as-groups: [a]\n")},
		"as of two lines":      {text: plain(west, good+"    as: \"a\\nb\"\n"), want: "error value-type"},
		"as-groups, two lines": {text: plain(west, good+"    as: a\n    as-groups: [a, \"b\\rc\"]\n"), want: "error value-type"},
		"as-user-extra, bell":  {text: plain(west, good+"    as: a\n    as-user-extra: {a: [\"\\a\"]}\n"), want: "error value-type"},
		"as-groups alone":      {text: plain(west, good+"    as-groups: [a]\n"), want: "error required-field"},
		"as-uid, old Stork":    {text: plain(west, good+"    as: a\n    as-uid: b\n"), options: Options{StorkVersion: "2.12"}, want: "warning drifting-field"},
		"act-as":               {text: plain(west, good+"    act-as: a\n"), want: "error kubeconfig-spelling"},
		"InteractiveMode":      {text: plain(west, exec(", InteractiveMode: Never")), options: allowed("exec-credential"), want: "error kubeconfig-spelling, info exec-credential"},
		"typo":                 {text: plain(west, "    tokn: "+opaque+"\n"), want: "error no-credential, warning unknown-field"},
		"glued":                {text: plain(west, "    {token:"+opaque+"}\n"), want: "error no-credential, warning unknown-field"},
		"case":                 {text: plain(west, "    Token: "+opaque+"\n"), want: "error no-credential, warning unknown-field"},
		"other field":          {text: plain(west, good+"    colour: green\n")},
		"extensions":           {text: plain(west, good+"    extensions: [{name: a, extension: {b: [1, null]}}]\n")},
		"disable-compression":  {text: plain(west, good) + "preferences: {colors: true}\n"},
		"token twice":          {text: plain(west, good+good), want: "error duplicate-key"},
		"user twice":           {text: plain(west, good) + "- name: kubernetes-admin\n  user: {token: " + opaque + "}\n", want: "error duplicate-key"},
		"bool for a name":      {text: plain(west, good) + "- name: on\n  user: {}\n", want: "error value-type"},
		"number for a token":   {text: plain(west, "    token: 12345\n"), want: "error value-type"},
		"quoted bool":          {text: kubeconfig(server+ca+"    insecure-skip-tls-verify: \"true\"\n", good), want: "error value-type"},
		"merge key":            {text: plain(west, "    <<: {token: "+opaque+"}\n"), want: "error no-credential, error value-type"},
		"tag of a map":         {text: plain(west, "    !!omap {token: "+opaque+"}\n"), want: "error value-type"},
		"tag of a list":        {text: plain(west, good+"    as: a\n    as-groups: !!set [a]\n"), want: "error value-type"},
		"scalar for a map":     {text: plain(west, "    abc\n"), want: "error value-type"},
		"map for a text":       {text: plain(west, "    token: {a: b}\n"), want: "error value-type"},
		"too deep":             {text: plain(west, good) + "x: " + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "\n", want: "error yaml"},
		"many keys, one twice": {text: plain(west, good) + "x: {a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1, j: 1, k: 1, l: 1, m: 1, o: 1, p: 1, q: 1, r: 1, r: 1}\n", want: "error duplicate-key"},
		"tag":                  {text: plain(west, "    token: !!binary "+opaque+"\n"), want: "error value-type"},
		"map for a list":       {text: "clusters: {}\n", want: "error context-broken, error value-type"},
		"list for a map":       {text: "preferences: []\n" + plain(west, good), want: "error value-type"},
		"other kind":           {text: strings.Replace(plain(west, good), "kind: Config", "kind: Pod", 1), want: "error value-type"},
		"other version":        {text: strings.Replace(plain(west, good), "apiVersion: v1", "apiVersion: v2", 1), want: "error value-type"},
		"unselected context":   {text: plain(west, good) + "- name: other\n  user: {client-key-data: '%', tokn: a}\n", want: "error bad-base64, warning unknown-field"},
		"alias":                {text: strings.Replace(plain(west, "    token: *t\n"), "kind: Config", "kind: Config\nx: &t "+opaque, 1)},
		"alias bomb": {text: plain(west, good) + "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
			want: "error yaml"},
		"cycle":     {text: plain(west, good) + "a: &a [*a]\n", want: "error yaml"},
		"tab":       {text: strings.Replace(plain(west, good), "    token:", "\ttoken:", 1), want: "error yaml"},
		"conflict":  {text: "<<<<<<< HEAD\n" + plain(west, good), want: "error yaml"},
		"truncated": {text: plain(west, "    token: \"abc"), want: "error yaml"},
		"empty":     {text: "", want: "error yaml"},
		"null":      {text: "~", want: "error yaml"},
		"too large": {text: plain(west, good) + strings.Repeat("# \n", maxSize/3), want: "error yaml"},
		"all at once": {text: kubeconfig("    server: http://localhost\n    certificate-authority-data: '%'\n", "    token: a b\n    client-key-data: aGVsbG8=\n"),
			want: "error bad-base64, error certificate-invalid, error certificate-invalid, error server-invalid, error token-malformed"},
	}
}

func TestRules(t *testing.T) {
	for name, test := range ruleTests() {
		t.Run(name, func(t *testing.T) {
			test.options.Now = now
			d, findings := fromText(test.text, test.options)
			var got []string
			for _, f := range findings {
				got = append(got, f.Severity.String()+" "+f.Rule)
				if f.Severity == report.Error && f.Rule != "yaml" && f.Hint == "" && f.Rule != "context-broken" && f.Rule != "value-type" && f.Rule != "exec-credential" {
					t.Errorf("no hint: %v", f)
				}
				if strings.Contains(f.Message+f.Hint+f.Path, "pw") || strings.Contains(f.Message+f.Hint+f.Path, opaque) {
					t.Errorf("a secret in %v", f)
				}
			}
			slices.Sort(got)
			if s := strings.Join(got, ", "); s != test.want {
				t.Errorf("findings %q, want %q\n%v", s, test.want, findings)
			}
			if (d == nil) != report.HasErrors(findings) {
				t.Errorf("destination %v beside %v", d, findings)
			}
		})
	}
}

func TestPosition(t *testing.T) {
	text := plain("http://west.example.com", "    token: a b\n")
	_, findings := FromDocument(parseYAML(t, text), "west.yaml", Options{Now: now})
	report.Sort(findings)
	var got strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&got, "%s %s\n", f.Position, f.Path)
	}
	want := "west.yaml:6:13 clusters.kubernetes.cluster.server\nwest.yaml:17:12 users.kubernetes-admin.user.token\n"
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}

func TestNoWaiverOfWhatStopsStork(t *testing.T) {
	all := make(map[string]bool)
	for _, rule := range []string{"auth-provider", "bad-base64", "ca-invalid", "certificate-invalid", "context-broken", "duplicate-key",
		"file-reference", "kubeconfig-spelling", "required-field", "secret-key", "server-invalid", "several-credentials",
		"still-encrypted", "token-malformed", "value-type", "yaml"} {
		if report.Waivable(rule) {
			t.Errorf("%s may be waived", rule)
		}
		all[rule] = true
	}
	d, findings := fromText(plain("http://west.example.com", "    token: a b\n"), Options{Now: now, Allow: all})
	if got := rulesOf(findings); d != nil || !slices.Equal(got, []string{"server-invalid", "token-malformed"}) {
		t.Errorf("destination %v, findings %v", d, findings)
	}
	for _, rule := range report.WaivableRules() {
		if !report.Waivable(rule) {
			t.Errorf("%s is listed and may not be waived", rule)
		}
	}
}

func TestConfig(t *testing.T) {
	text := strings.Replace(kubeconfig(`    server: https://west.example.com:6443
    certificate-authority-data: `+authority.data()+`
    tls-server-name: kubernetes
    disable-compression: true
    extensions: [{name: a, extension: {b: c}}]
`, `    client-certificate-data: `+client.data()+`
    client-key-data: `+client.keyData()+`
    as: system:admin
    as-uid: "1"
    as-groups: [b, "on"]
    as-user-extra: {reason: [dr, test]}
`), "    user: kubernetes-admin\n", "    user: kubernetes-admin\n    namespace: kube-system\n", 1)
	d, findings := fromText(text, Options{Now: now})
	if d == nil {
		t.Fatal(findings)
	}
	want := `clusters:
    kubernetes:
        certificate-authority-data: ` + authority.data() + `
        server: https://west.example.com:6443
        tls-server-name: kubernetes
contexts:
    kubernetes-admin-kubernetes:
        cluster: kubernetes
        namespace: kube-system
        user: kubernetes-admin
current-context: kubernetes-admin-kubernetes
users:
    kubernetes-admin:
        act-as: system:admin
        act-as-groups:
            - b
            - "on"
        act-as-uid: "1"
        act-as-user-extra:
            reason:
                - dr
                - test
        client-certificate-data: ` + client.data() + `
        client-key-data: ` + client.keyData() + `
`
	if got := encodeYAML(t, d.Config("24.3")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestExecSpelling(t *testing.T) {
	text := plain(west, `    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: aws
      args: [eks, get-token]
      env: [{name: AWS_PROFILE, value: dr}]
      installHint: brew install awscli
      provideClusterInfo: true
`)
	for version, spelling := range map[string]string{
		"2.12": "", "v23.2.0": "InteractiveMode", "24.3.2": "InteractiveMode", "24.4": "InteractiveMode interactiveMode", "": "InteractiveMode interactiveMode",
	} {
		d, findings := fromText(text, Options{Now: now, StorkVersion: "24.3", Allow: map[string]bool{"exec-credential": true}})
		if d == nil {
			t.Fatal(findings)
		}
		var keys []string
		exec := field(field(field(d.Config(version), "users"), "kubernetes-admin"), "exec")
		for i := 0; i < len(exec.Content); i += 2 {
			keys = append(keys, exec.Content[i].Value)
		}
		want := []string{"apiVersion", "args", "command", "env", "provideClusterInfo"}
		want = append(want, strings.Fields(spelling)...)
		slices.Sort(want)
		if !slices.Equal(keys, want) {
			t.Errorf("Stork %q: %v, want %v", version, keys, want)
		}
	}
}

func TestServerOverride(t *testing.T) {
	text := kubeconfig("    server: https://127.0.0.1\n    tls-server-name: old\n    certificate-authority-data: "+authority.data()+"\n", "    token: "+opaque+"\n")
	d, findings := fromText(text, Options{Now: now, Server: west})
	if d == nil || d.Server != west || d.TLSServerName != "" {
		t.Errorf("got %v, %v", d, findings)
	}
	d, findings = fromText(text, Options{Now: now, Server: west, TLSServerName: "new"})
	if d == nil || d.TLSServerName != "new" {
		t.Errorf("got %v, %v", d, findings)
	}
}

func TestCAKeyDigest(t *testing.T) {
	digest := func(data string) string {
		d, findings := fromText(kubeconfig("    server: "+west+"\n    certificate-authority-data: "+data+"\n", "    token: "+opaque+"\n"), Options{Now: now})
		if d == nil {
			t.Fatal(findings)
		}
		return d.CAKeyDigest()
	}
	own := digest(authority.data())
	if len(own) != len("sha256:")+64 {
		t.Errorf("digest %q", own)
	}
	if got := digest(authorityRenewed.data()); got != own {
		t.Error("a CA renewed with its key has another digest")
	}
	if got := digest(join(client, authority, authorityOther)); got != own {
		t.Error("a bundle has another digest than its first CA")
	}
	if got := digest(authorityOther.data()); got == own {
		t.Error("two CAs have one digest")
	}
}

func TestLabel(t *testing.T) {
	long := strings.Repeat("a", 70)
	for name, want := range map[string]string{
		"kubernetes":                  "kubernetes",
		"kubernetes-admin@kubernetes": "kubernetes-admin-kubernetes",
		"arn:aws:eks:us-east-1:123456789012:cluster/dr-cluster.prod": "arn-aws-eks-us-east-1-123456789012-cluster-dr-cluster-prod",
		"Prod_West": "prod-west", "x_unencrypted": "x-unencrypted", "--a--": "a", "a--b": "a--b", "on": "on",
	} {
		if got := label(name, "cluster"); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{long, long + "b", "日本", "", "@", strings.Repeat("a_", 60)} {
		got := label(name, "cluster")
		if !isLabel(got) {
			t.Errorf("%q becomes %q, no label", name, got)
		}
	}
	if label(long, "cluster") == label(long+"b", "cluster") || label("日", "cluster") == label("本", "cluster") {
		t.Error("two names of which little is left become one label")
	}
}

func TestIsKubeconfig(t *testing.T) {
	for text, want := range map[string]bool{
		"{apiVersion: v1, kind: Config}":                      true,
		"{kind: Config, clusters: []}":                        true,
		"{clusters: [], contexts: [], users: []}":             true,
		"{apiVersion: v1, kind: Secret, data: {}}":            false,
		"{apiVersion: example.com/v1, kind: Config}":          false,
		"{kind: List, clusters: [], contexts: [], users: []}": false,
		"[]": false, "~": false,
	} {
		if got := IsKubeconfig(parseYAML(t, text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestCheckDocument(t *testing.T) {
	if f := CheckDocument(parseYAML(t, kubeconfig("    server: http://localhost\n", "")), "f"); len(f) > 0 {
		t.Errorf("a readable kubeconfig: %v", f)
	}
	if f := CheckDocument(parseYAML(t, kubeconfig("    server: 5\n", "")), "f"); !slices.Equal(rulesOf(f), []string{"value-type"}) {
		t.Errorf("got %v", f)
	}
}

// A key that is accepted is one that crypto/x509 accepts, and the same.
func TestBrokenKeys(t *testing.T) {
	accepted := 0
	for _, der := range [][]byte{
		x509.MarshalPKCS1PrivateKey(client2048.key.(*rsa.PrivateKey)),
		must(x509.MarshalPKCS8PrivateKey(clientPKCS8.key)),
		must(x509.MarshalPKCS8PrivateKey(client.key)),
		must(x509.MarshalECPrivateKey(client.key.(*ecdsa.PrivateKey))),
	} {
		for i := -1; i < len(der); i += 5 {
			broken := slices.Clone(der)
			if i >= 0 {
				broken[i] ^= 1
			}
			public, err := publicOf(broken)
			if err != nil {
				continue
			}
			accepted++
			block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: broken})
			template := &x509.Certificate{SerialNumber: big.NewInt(1)}
			certificate := must(x509.CreateCertificate(rand.Reader, template, template, public, authority.key))
			if _, err := tls.X509KeyPair(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), block); err != nil {
				t.Errorf("byte %d of %d: crypto/tls refuses what is accepted: %v", i, len(der), err)
			}
		}
	}
	if accepted < 4 {
		t.Errorf("%d keys accepted", accepted)
	}
}

// fromText reads a plain kubeconfig the way a Secret's value is read, so that
// its syntax counts, too.
func fromText(text string, o Options) (*Destination, []report.Finding) {
	return FromSecret(&Secret{Name: "s", Data: map[string]Value{"value": {Bytes: []byte(text)}}}, o)
}

func encodeYAML(t *testing.T, n *yaml.Node) string {
	t.Helper()
	out, err := yaml.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Throw-away identities, made anew for each run.
var (
	year             = 365 * 24 * time.Hour
	authority        = issue(template{ca: true})
	authorityOther   = issue(template{ca: true})
	authorityRenewed = issue(template{ca: true, key: authority.key, end: now.Add(5 * year)})
	authorityExpired = issue(template{ca: true, end: now.Add(-time.Hour)})
	authorityEarly   = issue(template{ca: true, start: now.Add(time.Hour)})
	authoritySoon    = issue(template{ca: true, end: now.Add(time.Hour)})
	authority1024    = issue(template{ca: true, key: rsaKeyOf(1024)})
	client           = issue(template{})
	client1024       = issue(template{key: rsaKeyOf(1024)})
	client2048       = issue(template{key: rsaKeyOf(2048)})
	clientPKCS8      = issue(template{key: rsaKeyOf(2048), pkcs8: true})
	clientEd25519    = issue(template{key: ed25519Key(), pkcs8: true})
	clientExpired    = issue(template{end: now.Add(-time.Hour)})
	clientEarly      = issue(template{start: now.Add(time.Hour)})
	clientSoon       = issue(template{end: now.Add(time.Hour)})
	serving          = issue(template{usage: x509.ExtKeyUsageServerAuth})
	pinned           = issue(template{usage: x509.ExtKeyUsageServerAuth, names: []string{"west.example.com"}})
	pinnedSoon       = issue(template{usage: x509.ExtKeyUsageServerAuth, names: []string{"west.example.com"}, end: now.Add(time.Hour)})
	pinnedExpired    = issue(template{usage: x509.ExtKeyUsageServerAuth, names: []string{"west.example.com"}, end: now.Add(-time.Hour)})
	masters          = issue(template{group: "system:masters"})
	clusterAdmins    = issue(template{group: "kubeadm:cluster-admins"})
)

type template struct {
	ca         bool
	start, end time.Time
	key        crypto.Signer
	usage      x509.ExtKeyUsage
	group      string
	names      []string
	pkcs8      bool
}

type identity struct {
	certificate *x509.Certificate
	key         crypto.Signer
	pem, keyPEM string
}

func (i identity) data() string    { return encode(i.pem) }
func (i identity) keyData() string { return encode(i.keyPEM) }

func issue(t template) identity {
	if t.key == nil {
		t.key = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	}
	if t.start.IsZero() {
		t.start = now.Add(-year)
	}
	if t.end.IsZero() {
		t.end = now.Add(10 * year)
	}
	if t.usage == 0 {
		t.usage = x509.ExtKeyUsageClientAuth
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: t.start, NotAfter: t.end, BasicConstraintsValid: true, IsCA: t.ca, DNSNames: t.names,
		Subject: pkix.Name{CommonName: "test", Organization: []string{t.group}}}
	if !t.ca {
		c.ExtKeyUsage = []x509.ExtKeyUsage{t.usage}
	}
	der := must(x509.CreateCertificate(rand.Reader, c, c, t.key.Public(), t.key))
	i := identity{certificate: must(x509.ParseCertificate(der)), key: t.key,
		pem: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
	block := &pem.Block{Type: "PRIVATE KEY"}
	switch key := t.key.(type) {
	case *rsa.PrivateKey:
		block.Type, block.Bytes = "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)
	case *ecdsa.PrivateKey:
		block.Type, block.Bytes = "EC PRIVATE KEY", must(x509.MarshalECPrivateKey(key))
	}
	if t.pkcs8 {
		block.Type, block.Bytes = "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(t.key))
	}
	i.keyPEM = string(pem.EncodeToMemory(block))
	return i
}

func rsaKeyOf(bits int) crypto.Signer { return must(rsa.GenerateKey(rand.Reader, bits)) }

func ed25519Key() crypto.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return must(key, err)
}

func readText(file string) string { return string(must(os.ReadFile(file))) }

// join is the bundle of several certificates.
func join(is ...identity) string {
	var b strings.Builder
	for _, i := range is {
		b.WriteString(i.pem)
	}
	return encode(b.String())
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

type jwtClaims map[string]any

// token is a JSON Web Token, signed with a throw-away key.
func token(claims jwtClaims) string {
	part := func(v any) string { return base64.RawURLEncoding.EncodeToString(must(json.Marshal(v))) }
	signed := part(map[string]string{"alg": "ES256", "kid": "test"}) + "." + part(claims)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, tokenKey, digest[:])
	signature := make([]byte, 64)
	must(r, err).FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

var tokenKey = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))

// eksToken is a token of EKS that was signed at a time, by Signature Version 4 with
// a throw-away key.
func eksToken(at time.Time) string {
	date, stamp := at.UTC().Format("20060102"), at.UTC().Format("20060102T150405Z")
	scope := date + "/eu-west-1/sts/aws4_request"
	query := url.Values{"Action": {"GetCallerIdentity"}, "Version": {"2011-06-15"}, "X-Amz-Algorithm": {"AWS4-HMAC-SHA256"},
		"X-Amz-Credential": {"AKIAEXAMPLE/" + scope}, "X-Amz-Date": {stamp}, "X-Amz-Expires": {"60"}, "X-Amz-SignedHeaders": {"host;x-k8s-aws-id"}}
	hash := func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) }
	request := "GET\n/\n" + query.Encode() + "\nhost:sts.eu-west-1.amazonaws.com\nx-k8s-aws-id:west\n\nhost;x-k8s-aws-id\n" + hash("")
	key := []byte("AWS4throw-away")
	for _, part := range []string{date, "eu-west-1", "sts", "aws4_request", "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + hash(request)} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	query.Set("X-Amz-Signature", hex.EncodeToString(key))
	return eksPrefix + base64.RawURLEncoding.EncodeToString([]byte("https://sts.eu-west-1.amazonaws.com/?"+query.Encode()))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
