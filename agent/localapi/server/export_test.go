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

func (s *Server) find(r RouteForTest) route {
	for _, rt := range s.routeTable() {
		if rt.method == r.Method && rt.path == r.Path {
			return rt
		}
	}
	return route{}
}

// QueryForTest returns the parameters of a route.
func (s *Server) QueryForTest(r RouteForTest) []string { return s.find(r).query }

// CommandForTest returns the command that does what a route does.
func (s *Server) CommandForTest(r RouteForTest) string { return s.find(r).command }
