package emulator

import (
	"cmp"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// maxInFlight is how many writes are under way in each direction. The next write waits,
// as with a full TCP window, which bounds the memory for a client that does not read.
const maxInFlight = 1024

// A delayedConn is a connection with a round-trip time: what is written arrives half of
// that later, in either direction and in order. It permits one reader at a time and has
// no deadlines.
type delayedConn struct {
	net.Conn  // without the delay
	roundTrip time.Duration
	in, out   chan packet
	unread    packet      // what Read has returned in part
	answered  atomic.Bool // something has been sent to the other end

	parent, ctx context.Context // Close cancels ctx
	cancel      context.CancelFunc
	once        sync.Once
	wg          sync.WaitGroup
	sendDone    chan struct{} // closed when nothing more can be sent, because of sendErr
	sendErr     error
}

// A packet is the content of one write, or the error that ended its direction.
type packet struct {
	due  time.Time
	data []byte
	err  error
}

// withRoundTrip gives conn a round-trip time. 0 returns conn itself. The caller must close
// the result, and Close returns when everything written has arrived. If ctx ends and the
// caller closes conn too, nothing more arrives.
func withRoundTrip(ctx context.Context, conn net.Conn, roundTrip time.Duration) net.Conn {
	if roundTrip <= 0 {
		return conn
	}
	c := &delayedConn{
		Conn:      conn,
		roundTrip: roundTrip,
		in:        make(chan packet, maxInFlight),
		out:       make(chan packet, maxInFlight),
		parent:    ctx,
		sendDone:  make(chan struct{}),
	}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.wg.Go(c.receive)
	c.wg.Go(c.send)
	return c
}

// receive reads from the connection until it ends. After Close it discards what it reads,
// because TCP resets a connection that is closed with unread data, and the other end may
// then lose what was sent last.
func (c *delayedConn) receive() {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.Conn.Read(buf)
		p := packet{due: time.Now().Add(c.roundTrip / 2), data: append([]byte(nil), buf[:n]...), err: err}
		if !c.answered.Load() {
			// The other end has connected without delay. The round trip of its connect is
			// added to the first data that it sends.
			p.due = p.due.Add(c.roundTrip)
		}
		select {
		case c.in <- p:
		case <-c.ctx.Done():
		}
		if err != nil {
			return
		}
	}
}

// send writes each packet to the connection when it is due, and closes the connection at
// the end.
func (c *delayedConn) send() {
	defer close(c.sendDone)
	defer c.Conn.Close()
	for p := range c.out {
		c.sendErr = cmp.Or(p.err, sleepUntil(c.parent, p.due))
		if c.sendErr != nil {
			return
		}
		c.answered.Store(true)
		_, c.sendErr = c.Conn.Write(p.data)
		if c.sendErr != nil {
			return
		}
	}
}

func (c *delayedConn) Read(b []byte) (int, error) {
	for len(c.unread.data) == 0 {
		if c.unread.err != nil {
			return 0, c.unread.err
		}
		select {
		case p := <-c.in:
			if sleepUntil(c.ctx, p.due) != nil {
				return 0, net.ErrClosed
			}
			c.unread = p
		case <-c.ctx.Done():
			return 0, net.ErrClosed
		}
	}
	n := copy(b, c.unread.data)
	c.unread.data = c.unread.data[n:]
	return n, nil
}

func (c *delayedConn) Write(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, net.ErrClosed
	}
	p := packet{due: time.Now().Add(c.roundTrip / 2), data: append([]byte(nil), b...)}
	select {
	case c.out <- p:
		return len(b), nil
	case <-c.sendDone:
		return 0, c.sendErr
	}
}

// Close ends the connection when everything written has arrived, and waits for that. To
// end it at once, close the connection without the delay.
func (c *delayedConn) Close() error {
	c.once.Do(func() {
		c.cancel()
		select {
		case c.out <- packet{due: time.Now().Add(c.roundTrip / 2), err: net.ErrClosed}:
		case <-c.sendDone:
		}
	})
	c.wg.Wait()
	return nil
}

// The deadlines have no effect: tls.Conn sets one in the past before it closes the
// connection, and what is under way would be lost.

func (c *delayedConn) SetDeadline(time.Time) error      { return nil }
func (c *delayedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *delayedConn) SetWriteDeadline(time.Time) error { return nil }

// sleepUntil sleeps until due, more precisely than time.Sleep, or until ctx ends.
func sleepUntil(ctx context.Context, due time.Time) error {
	if d := time.Until(due) - timerSlack; d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if d := time.Until(due); d > 0 {
		preciseSleep(d)
		time.Sleep(time.Until(due)) // a signal may have ended preciseSleep early
	}
	return nil
}
