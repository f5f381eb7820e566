package mdm

// PathsFor is Paths for any system.
var PathsFor = paths
