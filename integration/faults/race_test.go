//go:build race

package faults_test

// every is how many causes there are for one that is injected: under the race detector, all of them are a minute and a half
// of two processors, and run the same code of the agent in the same goroutines.
const every = 5
