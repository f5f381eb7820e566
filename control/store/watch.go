package store

// revisionMark begins the notification of a revision.
const revisionMark = "r "
