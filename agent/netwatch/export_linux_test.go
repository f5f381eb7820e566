package netwatch

// SubscribeForTest is the netlink subscription.
var SubscribeForTest = subscribe
