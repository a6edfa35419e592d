//go:build race

package driver

// raceDetector makes what takes the processor's time take ten times as long.
const raceDetector = true
