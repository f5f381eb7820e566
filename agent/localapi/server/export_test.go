package server

// RouteForTest is a row of the route table.
type RouteForTest struct{ Method, Path, Tier string }

// RoutesForTest returns the whole table.
func (s *Server) RoutesForTest() []RouteForTest {
	var out []RouteForTest
	for _, rt := range s.routeTable() {
		out = append(out, RouteForTest{rt.method, rt.path, rt.tier.String()})
	}
	return out
}

// DropClaimsForTest opens dropClaims.
var DropClaimsForTest = dropClaims
