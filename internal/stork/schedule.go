package stork

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// IsDay tells whether Stork knows a day of the week by this name. It knows names and short
// names that begin with a capital letter, or have none.
// https://github.com/libopenstorage/stork/blob/11c4c8ebb77aeeaf0355d0a821a04631f9d827aa/pkg/apis/stork/v1alpha1/schedulepolicy.go
func IsDay(name string) bool {
	lower := strings.ToLower(name)
	if len(name) < 3 || name != lower && name != strings.ToUpper(lower[:1])+lower[1:] {
		return false
	}
	if slices.Contains([]string{"thur", "thurs"}, lower) {
		return true
	}
	for day := time.Sunday; day <= time.Saturday; day++ {
		if full := strings.ToLower(day.String()); lower == full || lower == full[:3] {
			return true
		}
	}
	return false
}

// IsTime tells whether Stork reads a time of the day, such as 11:15PM or 11:15pm.
func IsTime(text string) bool {
	_, err := time.Parse(time.Kitchen, text)
	if err != nil {
		_, err = time.Parse(strings.ToLower(time.Kitchen), text)
	}
	return err == nil
}

// IsDate tells whether a number is that of a day of the month.
func IsDate(number string) bool {
	day, err := strconv.ParseInt(number, 0, 64)
	return err == nil && 1 <= day && day <= 31
}
