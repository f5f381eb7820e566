// Package netexpr is the language of network rules: the expressions that stand in
// the fields traffic, identity and device_posture of a rule, as the seed's API
// takes them (its public list of selectors names the fields and operators).
//
//	net.dst.ip in {10.0.0.0/8} and net.dst.port in {22 8000..8999}
//	any(identity.groups[*].name == "ops") and not identity.email matches ".*@example\\.net"
//	access.target
//
// Grammar, loosest first:
//
//	expression = xor   { ("or"  | "||") xor }
//	xor        = and   { ("xor" | "^^") and }
//	and        = unary { ("and" | "&&") unary }
//	unary      = ("not" | "!") unary | "(" expression ")" | quantified | comparison
//	quantified = ("any" | "all") "(" field "[*]" [ "." member ] test ")"
//	comparison = field [ "[" string "]" ] test
//	test       = [ "not" ] "in" ( set | "$" list ) | operator value | nothing, for a boolean
//	operator   = "==" "eq" | "!=" "ne" | "<" "lt" | "<=" "le" | ">" "gt" | ">=" "ge"
//	           | "contains" | "matches" "~"
//	set        = "{" { value | value ".." value } "}"
//
// Strings stand in double quotes with the escapes \" \\ \n \r \t and \xHH. An
// address compared with == may be a prefix. Patterns are RE2 (package regexp), whose
// time is linear in the input. E-mail addresses and IDs are compared without ASCII
// case; a pattern sees them in lower case.
//
// # Three values
//
// A flow does not tell everything: its TLS server name is not known when it opens,
// nor a country without a database. What is not known is Unknown, and Unknown goes
// through and, or and not as in Kleene's logic. It is for the caller to fail closed:
// a rule that allows applies only when True, one that blocks unless False.
//
// # Use
//
// Parse checks an expression and keeps its text; Compile resolves the lists it names;
// Eval of a compiled expression allocates nothing and may run concurrently.
package netexpr
