package emulator

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

const testRoundTrip = 20 * time.Millisecond

// delayedPipe returns both ends of a connection with testRoundTrip.
func delayedPipe(ctx context.Context) (client, gateway net.Conn) {
	client, conn := net.Pipe()
	return client, withRoundTrip(ctx, conn, testRoundTrip)
}

func checkRead(t *testing.T, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil {
		t.Error(err)
	}
	if string(b) != want {
		t.Errorf("read %q, want %q", b, want)
	}
}

func checkReadAll(t *testing.T, r io.Reader, want string) {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	if string(b) != want {
		t.Errorf("read %q, want %q", b, want)
	}
}

func TestRoundTripOfExchanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := delayedPipe(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer gateway.Close()
			io.Copy(gateway, gateway)
		}()
		for _, tt := range []struct {
			name string
			want time.Duration
		}{
			{"connect and first exchange", 2 * testRoundTrip},
			{"second exchange", testRoundTrip},
			{"third exchange", testRoundTrip},
		} {
			start := time.Now()
			client.Write([]byte("hello"))
			checkRead(t, client, "hello")
			if d := time.Since(start); d != tt.want {
				t.Errorf("%s took %v, want %v", tt.name, d, tt.want)
			}
		}
		start := time.Now() // a write does not wait for the one before
		client.Write([]byte("a"))
		time.Sleep(time.Millisecond)
		client.Write([]byte("b"))
		for i, s := range []string{"a", "b"} {
			checkRead(t, client, s)
			if d, want := time.Since(start), testRoundTrip+time.Duration(i)*time.Millisecond; d != want {
				t.Errorf("%s arrived after %v, want %v", s, d, want)
			}
		}
		client.Close()
		<-done
	})
}

// An error message arrives although the connection is closed at once, as tls.Conn does
// it, and the end of the connection arrives after the message.
func TestRoundTripClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := delayedPipe(t.Context())
		start := time.Now()
		go func() {
			for range 100 {
				gateway.Write([]byte("FATAL"))
			}
			gateway.SetWriteDeadline(time.Now())
			gateway.Close()
			if d := time.Since(start); d != testRoundTrip/2 {
				t.Errorf("Close() took %v, want %v", d, testRoundTrip/2)
			}
		}()
		for range 100 {
			checkRead(t, client, "FATAL")
		}
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("Read() at the end = %v, want %v", err, io.EOF)
		}
		gateway.Close()
		if _, err := gateway.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write() after Close = %v, want %v", err, net.ErrClosed)
		}
		if _, err := gateway.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read() after Close = %v, want %v", err, net.ErrClosed)
		}
	})
}

// Close waits for a client that does not read, until the context ends.
func TestRoundTripContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client, conn := net.Pipe()
		defer client.Close()
		gateway := withRoundTrip(ctx, conn, testRoundTrip)
		for range maxInFlight {
			gateway.Write([]byte("unread"))
		}
		closed := make(chan error)
		go func() { closed <- gateway.Close() }()
		time.Sleep(time.Minute)
		select {
		case <-closed:
			t.Error("Close() returned before what was written had arrived")
		default:
		}
		cancel()
		conn.Close()
		<-closed
	})
}

// A client that has closed its direction of the connection still receives the answer.
func TestRoundTripHalfClose(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	gateway := withRoundTrip(t.Context(), conn, time.Millisecond)
	client.Write([]byte("question"))
	client.(*net.TCPConn).CloseWrite()
	checkReadAll(t, gateway, "question")
	gateway.Write([]byte("answer"))
	go gateway.Close()
	checkReadAll(t, client, "answer")
	gateway.Close() // waits for the other Close
}

func TestNoRoundTrip(t *testing.T) {
	client, conn := net.Pipe()
	defer client.Close()
	defer conn.Close()
	if got := withRoundTrip(t.Context(), conn, 0); got != conn {
		t.Errorf("withRoundTrip(0) = %v, want the connection itself", got)
	}
}
