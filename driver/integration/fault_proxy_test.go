package integration

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// The directions of a connection.
const (
	up   = 0 // to the server
	down = 1 // to the client
)

// A spot is a place in what one direction carries: within or after one of its
// messages.
type spot struct {
	dir, message int
	where        string // before, header, body, end
}

// A plan says what a proxy does to its connections.
type plan struct {
	at   spot // where it happens
	how  string
	slow time.Duration // what it takes for each message, either way
	drip int           // bytes at a time; 0: as they come
}

// The ways in which a connection ends, or does not.
const (
	fin    = "closed"
	reset  = "reset"
	silent = "silent" // nothing goes through any more
)

// A proxy stands between the driver and the gateway. One that opens TLS sees
// PostgreSQL's own messages; the others TLS records.
type proxy struct {
	to    string
	opens *tls.Config // nil: it does not open TLS

	mu    sync.Mutex
	ln    net.Listener
	addr  string
	plan  func() *plan // for the next connection; nil is none
	live  map[*pair]bool
	ended bool
	wg    sync.WaitGroup
	last  *pair // the latest
	hits  int   // how often a plan's spot was come to
}

// A pair is a connection on both sides of the proxy.
type pair struct {
	proxy     *proxy
	plan      plan
	conns     [2]net.Conn // the client's, the server's
	mu        sync.Mutex
	passed    [2]int // whole messages
	silent    bool
	ended     context.Context
	endedFunc context.CancelFunc
}

func newProxy(t testing.TB, to string, opens *tls.Config) *proxy {
	p := &proxy{to: to, opens: opens, live: map[*pair]bool{}}
	p.up(t)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) up(t testing.TB) {
	ln := relisten(t, p.addr)
	if p.addr == "" { // the same ever after, and read without the lock
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

// down refuses new connections.
func (p *proxy) down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ln.Close()
}

// cut ends every connection that there is.
func (p *proxy) cut(how string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.live {
		c.end(how)
	}
}

// close ends everything and waits for it.
func (p *proxy) close() {
	p.down()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.cut(fin)
	p.wg.Wait()
}

func (p *proxy) set(plan func() *plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan = plan
}

// once is a plan for the next connection only.
func once(one plan) func() *plan {
	used := false
	return func() *plan {
		if used {
			return nil
		}
		used = true
		return &one
	}
}

// seen is how many whole messages the latest connection has passed on each way, and
// how often a plan's spot was come to.
func (p *proxy) seen() (passed [2]int, hits int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		return passed, p.hits
	}
	p.last.mu.Lock()
	defer p.last.mu.Unlock()
	return p.last.passed, p.hits
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	c := &pair{proxy: p}
	c.ended, c.endedFunc = context.WithCancel(context.Background())
	defer c.endedFunc()
	c.conns[up] = client
	p.mu.Lock()
	if p.plan != nil {
		if plan := p.plan(); plan != nil {
			c.plan = *plan
		}
	}
	p.live[c], p.last = true, c
	ended := p.ended
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.live, c)
		p.mu.Unlock()
	}()
	if ended || c.plan.at.where == "before" && !c.meet() {
		return
	}
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	if p.opens != nil {
		if client, server, err = p.open(client, server); err != nil {
			return
		}
	}
	c.mu.Lock()
	c.conns = [2]net.Conn{client, server}
	c.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { c.copy(up, server, client) })
	c.copy(down, client, server)
	wg.Wait()
}

// open speaks TLS with both, as each of them expects.
func (p *proxy) open(client, server net.Conn) (net.Conn, net.Conn, error) {
	request := make([]byte, 8)
	if _, err := io.ReadFull(client, request); err != nil {
		return nil, nil, err
	}
	if _, err := server.Write(request); err != nil {
		return nil, nil, err
	}
	yes := make([]byte, 1)
	if _, err := io.ReadFull(server, yes); err != nil || yes[0] != 'S' {
		return nil, nil, errors.Join(err, errors.New("no TLS"))
	}
	if _, err := client.Write(yes); err != nil {
		return nil, nil, err
	}
	c, s := tls.Server(client, p.opens), tls.Client(server, &tls.Config{InsecureSkipVerify: true}) // the gateway's certificate is tested elsewhere
	return c, s, errors.Join(c.Handshake(), s.Handshake())
}

// meet is what happens at the plan's spot. It tells whether the connection goes on.
func (c *pair) meet() bool {
	c.proxy.mu.Lock()
	c.proxy.hits++
	c.proxy.mu.Unlock()
	return c.end(c.plan.how)
}

// end ends the connection in that way, and tells whether it goes on.
func (c *pair) end(how string) bool {
	if how == silent {
		c.mu.Lock()
		c.silent = true
		c.mu.Unlock()
		return true
	}
	c.endedFunc()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		if t, ok := conn.(*tls.Conn); ok {
			conn = t.NetConn() // without the word that ends TLS
		}
		if conn == nil {
			continue
		}
		if how == reset {
			conn.(*net.TCPConn).SetLinger(0)
		}
		conn.Close()
	}
	return false
}

func (c *pair) isSilent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.silent
}

// copy passes one direction on, message by message, until its plan says otherwise.
func (c *pair) copy(dir int, to, from net.Conn) {
	defer c.end(fin)
	f := &framer{dir: dir, raw: c.proxy.opens == nil}
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		for b := buf[:n]; len(b) > 0; {
			if c.isSilent() {
				break // read on, to see the end
			}
			m := f.next(b, c.plan)
			if m.ends && c.plan.slow > 0 {
				select {
				case <-time.After(c.plan.slow):
				case <-c.ended.Done():
					return
				}
			}
			if m.ends { // counted before anybody can know of it
				c.mu.Lock()
				c.passed[dir]++
				c.mu.Unlock()
			}
			if !c.write(to, b[:m.n]) {
				return
			}
			b = b[m.n:]
			if m.here && !c.meet() {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (c *pair) write(to net.Conn, b []byte) bool {
	for drip := c.plan.drip; drip > 0 && len(b) > drip; b = b[drip:] {
		if _, err := to.Write(b[:drip]); err != nil {
			return false
		}
	}
	_, err := to.Write(b)
	return err == nil
}

// A framer finds the messages of one direction: before TLS the request for it and its
// answer, then TLS records; or, where TLS is opened, PostgreSQL's.
type framer struct {
	dir     int
	raw     bool
	message int
	head    []byte // of the message, as far as it is known
	off     int
}

type piece struct {
	n          int
	ends, here bool // it ends a message; it is the plan's spot
}

// size is how long the header of the message is, and with it the message if the
// header is complete.
func (f *framer) size() (header, total int) {
	first := f.message == 0
	switch {
	case f.raw && first && f.dir == down:
		return 1, 1
	case first && f.dir == up:
		if header = 4; len(f.head) >= header {
			total = int(binary.BigEndian.Uint32(f.head))
		}
	case f.raw:
		if header = 5; len(f.head) >= header {
			total = header + int(binary.BigEndian.Uint16(f.head[3:]))
		}
	default:
		if header = 5; len(f.head) >= header {
			total = 1 + int(binary.BigEndian.Uint32(f.head[1:]))
		}
	}
	return header, total
}

// next takes from b up to the end of a message or to the plan's spot.
func (f *framer) next(b []byte, p plan) (m piece) {
	mine := p.how != "" && p.at.dir == f.dir && p.at.message == f.message
	for m.n < len(b) {
		if header, _ := f.size(); len(f.head) < header {
			f.head = append(f.head, b[m.n])
		}
		m.n++
		f.off++
		header, total := f.size()
		m.ends = len(f.head) >= header && f.off >= total
		m.here = mine && (p.at.where == "header" && f.off == (header+1)/2 && header > 1 ||
			p.at.where == "body" && len(f.head) >= header && f.off == header+(total-header+1)/2 && f.off < total ||
			p.at.where == "end" && m.ends)
		if m.ends {
			f.message, f.head, f.off = f.message+1, f.head[:0], 0
		}
		if m.ends || m.here {
			return m
		}
	}
	return m
}
