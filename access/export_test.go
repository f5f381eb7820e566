package access

// ListNumbersForTest is how many lists a snapshot numbers.
func ListNumbersForTest(s *Snapshot) int { return len(s.lists.sets) }
