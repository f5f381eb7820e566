package adversary

import (
	"encoding/json"
	"strings"
)

// InRecord is how a word is spelt inside of a JSON string, as records have it.
func InRecord(word string) string {
	b, err := json.Marshal(word)
	if err != nil {
		return word // strings can always be written
	}
	return string(b[1 : len(b)-1])
}

func quoteAll(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = InRecord(w)
	}
	return strings.Join(out, " ")
}
