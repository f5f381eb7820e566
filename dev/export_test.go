package dev

// The parts that tests look at from outside.
var (
	ChooseForTest = choose
	BundleForTest = bundle
	LockForTest   = lockDir
)
