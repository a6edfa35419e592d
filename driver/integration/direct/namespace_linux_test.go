package direct

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/aadpostgres/aadpostgres/driver/internal/need"
)

// inside is set in the process that runs in the namespace.
const inside = "AADPOSTGRES_TEST_NAMESPACE"

// The addresses of the namespace. All are on its loopback device, which has nothing else.
const (
	proxyAddress     = "10.9.0.1:3128"
	metadataAddress  = "169.254.169.254:80"
	linkLocalAddress = "169.254.129.2:8081" // App Service's
	namedAddress     = "10.9.0.2:8081"      // that only a variable names
	authorityAddress = "10.9.0.3:443"
	nobodyAddress    = "169.254.200.1:8081" // unassigned
)

// runInNamespace runs the test again, as root of a network namespace that it alone has,
// with HTTP_PROXY and HTTPS_PROXY set. The proxy there is the test's.
func runInNamespace(t *testing.T) {
	t.Helper()
	web := httptest.NewTLSServer(nil) // for its certificate, which every such server has
	web.Close()
	root := filepath.Join(t.TempDir(), "root.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(root, block, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = []string{
		inside + "=1", "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(), "PATH=" + fakeAz(t) + ":/usr/bin:/bin",
		"HTTP_PROXY=http://" + proxyAddress, "HTTPS_PROXY=http://" + proxyAddress, "SSL_CERT_FILE=" + root,
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOSPC) {
		need.Skip(t, "network namespaces", err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
}

// fakeAz writes an az that has a token, and returns its folder.
func fakeAz(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\necho '{\"accessToken\":%q,\"expires_on\":'$(($(date +%%s) + 240))'}'\n", jwt("azure-cli"))
	if err := os.WriteFile(filepath.Join(dir, "az"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// listen assigns an address to the namespace's loopback device and listens there.
func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	ip := netip.MustParseAddrPort(address).Addr()
	if err := assign(ip); err != nil {
		t.Fatalf("assign(%s): %v", ip, err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// devices are the names of the loopback device by which addresses were assigned to it.
var devices = map[netip.Addr]string{}

// assign gives the loopback device another address, and starts it.
func assign(ip netip.Addr) error {
	if devices[ip] != "" {
		return nil
	}
	name := fmt.Sprintf("lo:%d", len(devices))
	if len(devices) == 0 {
		if err := configure("lo", syscall.SIOCSIFFLAGS, []byte{syscall.IFF_UP | syscall.IFF_RUNNING, 0}); err != nil {
			return err
		}
	}
	devices[ip] = name
	if err := configure(name, syscall.SIOCSIFADDR, inet(ip)); err != nil {
		return err
	}
	return configure(name, syscall.SIOCSIFNETMASK, inet(netip.MustParseAddr("255.255.255.255")))
}

// inet is a struct sockaddr_in.
func inet(ip netip.Addr) []byte {
	return append([]byte{syscall.AF_INET, 0, 0, 0}, ip.AsSlice()...)
}

// configure is an ioctl of a network device with a struct ifreq.
func configure(device string, request uintptr, value []byte) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	var ifreq [40]byte
	copy(ifreq[:syscall.IFNAMSIZ], device)
	copy(ifreq[syscall.IFNAMSIZ:], value)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&ifreq)))
	if errno != 0 {
		return errno
	}
	return nil
}

// serve starts a server at an address of the namespace, until the test ends.
func serve(t *testing.T, address string, h http.Handler) {
	t.Helper()
	server := &http.Server{Handler: h}
	l := listen(t, address)
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
}

// tunnel connects the client of a CONNECT request to the authority.
func tunnel(w http.ResponseWriter) {
	to, err := net.Dial("tcp", authorityAddress)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer to.Close()
	w.WriteHeader(http.StatusOK)
	from, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	go io.Copy(to, buffered)
	io.Copy(from, to)
}
