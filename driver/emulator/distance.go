package emulator

import (
	"cmp"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// inFlight is how many writes each direction holds: the next one waits, as with
// a full TCP window, so that a client that does not read takes no more memory.
const inFlight = 1024

// distant is a connection whose other end is far away: what is written at t
// arrives half a round trip later, either way, and in order. It has one reader
// at a time, and no deadlines.
type distant struct {
	net.Conn // the near one
	round    time.Duration
	in, out  chan parcel
	rest     parcel      // what Read has begun to hand out
	answered atomic.Bool // something has reached the other end

	parent, ctx context.Context // Close ends ctx
	cancel      context.CancelFunc
	once        sync.Once
	wg          sync.WaitGroup
	ended       chan struct{} // closed when nothing can be sent any more, because of err
	err         error
}

// parcel is what one write carried, or the error that ended its direction.
type parcel struct {
	due time.Time
	b   []byte
	err error
}

// distance makes conn's other end a round trip away; 0 leaves conn as it is.
// The caller closes what it returns, which takes until all has arrived; when ctx
// ends it closes conn too, and nothing more arrives.
func distance(ctx context.Context, conn net.Conn, round time.Duration) net.Conn {
	if round <= 0 {
		return conn
	}
	c := &distant{Conn: conn, round: round, in: make(chan parcel, inFlight), out: make(chan parcel, inFlight),
		parent: ctx, ended: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.wg.Go(c.receive)
	c.wg.Go(c.deliver)
	return c
}

// receive takes what comes from the near connection until that ends. After Close
// it throws it away: a connection closed with bytes unread is reset, and what was
// sent last may be lost.
func (c *distant) receive() {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.Conn.Read(buf)
		p := parcel{due: time.Now().Add(c.round / 2), b: append([]byte(nil), buf[:n]...), err: err}
		if !c.answered.Load() {
			// The other end has connected at once; its first words come from a
			// client that would only now have had the answer to that.
			p.due = p.due.Add(c.round)
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

// deliver writes what is due to the near connection, and closes it in the end.
func (c *distant) deliver() {
	defer close(c.ended)
	defer c.Conn.Close()
	for p := range c.out {
		if c.err = cmp.Or(p.err, sleepUntil(c.parent, p.due)); c.err != nil {
			return
		}
		c.answered.Store(true)
		if _, c.err = c.Conn.Write(p.b); c.err != nil {
			return
		}
	}
}

func (c *distant) Read(b []byte) (int, error) {
	for len(c.rest.b) == 0 {
		if c.rest.err != nil {
			return 0, c.rest.err
		}
		select {
		case p := <-c.in:
			if sleepUntil(c.ctx, p.due) != nil {
				return 0, net.ErrClosed
			}
			c.rest = p
		case <-c.ctx.Done():
			return 0, net.ErrClosed
		}
	}
	n := copy(b, c.rest.b)
	c.rest.b = c.rest.b[n:]
	return n, nil
}

func (c *distant) Write(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, net.ErrClosed
	}
	p := parcel{due: time.Now().Add(c.round / 2), b: append([]byte(nil), b...)}
	select {
	case c.out <- p:
		return len(b), nil
	case <-c.ended:
		return 0, c.err
	}
}

// Close ends the connection once what was written before has arrived, and waits
// for that. Whoever cannot wait closes the near connection.
func (c *distant) Close() error {
	c.once.Do(func() {
		c.cancel()
		select {
		case c.out <- parcel{due: time.Now().Add(c.round / 2), err: net.ErrClosed}:
		case <-c.ended:
		}
	})
	c.wg.Wait()
	return nil
}

// Deadlines are not passed on: tls.Conn sets one that is past before it closes,
// and what is on its way would be lost.

func (c *distant) SetDeadline(time.Time) error      { return nil }
func (c *distant) SetReadDeadline(time.Time) error  { return nil }
func (c *distant) SetWriteDeadline(time.Time) error { return nil }

// sleepUntil is time.Sleep, but more exact and with an end.
func sleepUntil(ctx context.Context, due time.Time) error {
	if d := time.Until(due) - coarse; d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if d := time.Until(due); d > 0 {
		nap(d)
		time.Sleep(time.Until(due))
	}
	return nil
}
