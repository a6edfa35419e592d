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

// far returns both ends of a connection; between them are 20 ms, there and back.
func delayedPipe(ctx context.Context) (client, gateway net.Conn) {
	client, near := net.Pipe()
	return client, withRoundTrip(ctx, near, testRoundTrip)
}

func readText(t *testing.T, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Errorf("got %q, %v, want %q", b, err, want)
	}
}

func TestDistance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := delayedPipe(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer gateway.Close()
			io.Copy(gateway, gateway)
		}()
		for _, want := range []time.Duration{2 * testRoundTrip, testRoundTrip, testRoundTrip} { // connect and first exchange; exchange
			began := time.Now()
			client.Write([]byte("hello"))
			readText(t, client, "hello")
			if d := time.Since(began); d != want {
				t.Errorf("an exchange took %v, want %v", d, want)
			}
		}
		began := time.Now() // writes do not wait for each other
		client.Write([]byte("a"))
		time.Sleep(time.Millisecond)
		client.Write([]byte("b"))
		for i, s := range []string{"a", "b"} {
			readText(t, client, s)
			if d, want := time.Since(began), testRoundTrip+time.Duration(i)*time.Millisecond; d != want {
				t.Errorf("%s arrived after %v, want %v", s, d, want)
			}
		}
		client.Close()
		<-done
	})
}

// An error message arrives although the connection is closed at once, as tls.Conn
// closes it, and the end arrives after it.
func TestDistanceClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, gateway := delayedPipe(t.Context())
		began := time.Now()
		go func() {
			for range 100 {
				gateway.Write([]byte("FATAL"))
			}
			gateway.SetWriteDeadline(time.Now())
			gateway.Close()
			if d := time.Since(began); d != testRoundTrip/2 {
				t.Errorf("the end took %v", d)
			}
		}()
		for range 100 {
			readText(t, client, "FATAL")
		}
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after the end: %v", err)
		}
		gateway.Close()
		if _, err := gateway.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a write after the end: %v", err)
		}
		if _, err := gateway.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a read after the end: %v", err)
		}
	})
}

// A client that does not read holds Close up, but not the end of the context.
func TestDistanceContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client, near := net.Pipe()
		defer client.Close()
		gateway := withRoundTrip(ctx, near, testRoundTrip)
		for range maxInFlight {
			gateway.Write([]byte("unread"))
		}
		closed := make(chan error)
		go func() { closed <- gateway.Close() }()
		time.Sleep(time.Minute)
		select {
		case <-closed:
			t.Error("Close has dropped what was written")
		default:
		}
		cancel()
		near.Close()
		<-closed
	})
}

// A client that has said all it has to say still gets its answer.
func TestDistanceHalfClose(t *testing.T) {
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
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if withRoundTrip(t.Context(), near, 0) != near {
		t.Error("no distance is not the connection itself")
	}
	gateway := withRoundTrip(t.Context(), near, time.Millisecond)
	client.Write([]byte("question"))
	client.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(gateway); string(b) != "question" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	gateway.Write([]byte("answer"))
	go gateway.Close()
	if b, err := io.ReadAll(client); string(b) != "answer" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	gateway.Close() // waits
}
