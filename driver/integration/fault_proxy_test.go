package integration

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// The directions of a connection.
const (
	toServer = 0
	toClient = 1
)

// A position is a place in the messages of one direction.
type position struct {
	direction, message int
	part               string // before, header, body, end
}

func (p position) String() string {
	return fmt.Sprintf("%s message %d %s", [...]string{"to server", "to client"}[p.direction], p.message, p.part)
}

// A disruption is what a proxy does to a connection.
type disruption struct {
	at     position // where action happens
	action string
	delay  time.Duration // before each message, in both directions
	chunk  int           // bytes per write; 0: as they arrive
}

// The actions of a disruption.
const (
	actionClose   = "closed"
	actionReset   = "reset"
	actionSilence = "silent" // nothing passes from then on
)

// A proxy stands between the driver and the gateway. With a tlsConfig it terminates
// TLS and sees PostgreSQL's messages; without one it sees TLS records.
type proxy struct {
	upstream  string
	tlsConfig *tls.Config

	mu             sync.Mutex // guards the rest
	ln             net.Listener
	addr           string             // set once, before connections come
	nextDisruption func() *disruption // for each new connection; nil and a nil result are none
	conns          map[*proxyConn]bool
	closed         bool
	wg             sync.WaitGroup
	last           *proxyConn // the latest
	triggered      int        // how often a disruption's position was reached
}

// A proxyConn is a connection on both sides of the proxy.
type proxyConn struct {
	proxy      *proxy
	disruption disruption
	mu         sync.Mutex
	conns      [2]net.Conn // the client's, the server's
	passed     [2]int      // whole messages
	silenced   bool
	done       context.Context
	cancel     context.CancelFunc
}

func newProxy(t testing.TB, upstream string, tlsConfig *tls.Config) *proxy {
	p := &proxy{upstream: upstream, tlsConfig: tlsConfig, conns: map[*proxyConn]bool{}}
	p.start(t)
	t.Cleanup(p.close)
	return p
}

// start listens, at the same address each time.
func (p *proxy) start(t testing.TB) {
	ln := listen(t, p.addr)
	if p.addr == "" {
		p.addr = ln.Addr().String()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ln = ln
	p.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(conn) })
		}
	})
}

// stop refuses new connections.
func (p *proxy) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ln.Close()
}

// disconnect applies action to all connections.
func (p *proxy) disconnect(action string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.disrupt(action)
	}
}

// close closes the listener and all connections and waits for their goroutines.
func (p *proxy) close() {
	p.stop()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.disconnect(actionClose)
	p.wg.Wait()
}

func (p *proxy) setDisruption(next func() *disruption) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nextDisruption = next
}

// disruptOnce disrupts the next connection only.
func disruptOnce(d disruption) func() *disruption {
	used := false
	return func() *disruption {
		if used {
			return nil
		}
		used = true
		return &d
	}
}

// progress returns how many whole messages the latest connection has passed on in each
// direction, and how often a disruption's position was reached.
func (p *proxy) progress() (passed [2]int, triggered int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		return passed, p.triggered
	}
	p.last.mu.Lock()
	defer p.last.mu.Unlock()
	return p.last.passed, p.triggered
}

// newConn registers a connection of the client. It returns nil after close.
func (p *proxy) newConn(client net.Conn) *proxyConn {
	c := &proxyConn{proxy: p}
	c.done, c.cancel = context.WithCancel(context.Background())
	c.conns[toServer] = client
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.cancel()
		return nil
	}
	if p.nextDisruption != nil {
		if d := p.nextDisruption(); d != nil {
			c.disruption = *d
		}
	}
	p.conns[c] = true
	p.last = c
	return c
}

func (p *proxy) remove(c *proxyConn) {
	c.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	c := p.newConn(client)
	if c == nil {
		return
	}
	defer p.remove(c)
	if c.disruption.at.part == "before" && !c.trigger() {
		return
	}
	server, err := net.Dial("tcp", p.upstream)
	if err != nil {
		return
	}
	defer server.Close()
	if p.tlsConfig != nil {
		client, server, err = p.terminateTLS(client, server)
		if err != nil {
			return
		}
	}
	c.mu.Lock()
	c.conns = [2]net.Conn{client, server}
	c.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { c.copy(toServer, server, client) })
	c.copy(toClient, client, server)
	wg.Wait()
}

// terminateTLS negotiates TLS on both sides.
func (p *proxy) terminateTLS(client, server net.Conn) (net.Conn, net.Conn, error) {
	request := make([]byte, 8)
	if _, err := io.ReadFull(client, request); err != nil {
		return nil, nil, err
	}
	if _, err := server.Write(request); err != nil {
		return nil, nil, err
	}
	response := make([]byte, 1)
	if _, err := io.ReadFull(server, response); err != nil {
		return nil, nil, err
	}
	if response[0] != 'S' {
		return nil, nil, errors.New("the server refuses TLS")
	}
	if _, err := client.Write(response); err != nil {
		return nil, nil, err
	}
	c := tls.Server(client, p.tlsConfig)
	s := tls.Client(server, &tls.Config{InsecureSkipVerify: true}) // other tests verify the gateway's certificate
	return c, s, errors.Join(c.Handshake(), s.Handshake())
}
