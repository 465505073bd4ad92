package stork

import "testing"

// TestSchedule holds what Stork's own map of days and its two layouts of a time take.
func TestSchedule(t *testing.T) {
	for _, day := range []string{"Sunday", "sunday", "Sun", "sun", "Tue", "Thu", "Thur", "thurs", "Thursday", "saturday"} {
		if !IsDay(day) {
			t.Errorf("%s is a day", day)
		}
	}
	for _, day := range []string{"", "S", "SUNDAY", "sUn", "Tues", "Weds", "Someday", "1"} {
		if IsDay(day) {
			t.Errorf("%s is no day", day)
		}
	}
	for _, at := range []string{"11:15PM", "11:15pm", "3:04AM", "12:00pm"} {
		if !IsTime(at) {
			t.Errorf("%s is a time", at)
		}
	}
	for _, at := range []string{"", "23:15", "11:15", "11:15 PM", "13:15PM", "11:15Pm"} {
		if IsTime(at) {
			t.Errorf("%s is no time", at)
		}
	}
	for number, want := range map[string]bool{"1": true, "31": true, "0": false, "32": false, "-1": false, "x": false} {
		if IsDate(number) != want {
			t.Errorf("%s: %v", number, !want)
		}
	}
}
