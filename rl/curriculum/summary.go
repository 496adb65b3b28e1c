package curriculum

// Summary says where the problems stand.
type Summary struct {
	// Problems is their number, Seen how many of them have been judged.
	Problems, Seen int
	// Solved and Hopeless count the seen problems whose estimated rate is
	// above 0.9 and below 0.1.
	Solved, Hopeless int
	// Rate is the mean estimated rate of the seen problems; NaN if there are none.
	Rate float64
}

// Summary describes the estimates as they are now.
func (s *Source) Summary() Summary {
	m := Summary{Problems: len(s.problems)}
	for i := range s.counts {
		rate, trials := s.Rate(i)
		if trials == 0 {
			continue
		}
		m.Seen++
		m.Rate += rate
		switch {
		case rate > .9:
			m.Solved++
		case rate < .1:
			m.Hopeless++
		}
	}
	m.Rate /= float64(m.Seen)
	return m
}
