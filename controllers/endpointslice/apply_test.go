package endpointslice

import (
	"errors"
	"testing"
)

func TestGravest(t *testing.T) {
	a, b := errors.New("a"), errors.New("b")
	tests := []struct {
		errs []error
		want error
	}{
		{nil, nil},
		{[]error{nil, nil}, nil},
		{[]error{nil, errOutdated}, errOutdated},
		{[]error{errOutdated, b, a, errOutdated}, a},
		{[]error{a, nil, b}, a},
	}
	for _, test := range tests {
		if got := gravest(test.errs); !errors.Is(got, test.want) {
			t.Errorf("of %v: %v, want %v", test.errs, got, test.want)
		}
	}
}
