package driver

import (
	"errors"
	"net/http"
)

// roundTrip is a policy.Transporter of one function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f *roundTrip) Do(r *http.Request) (*http.Response, error) { return (*f)(r) }

// absentService is a network on which nothing answers.
func absentService(*http.Request) (*http.Response, error) { return nil, errors.New("no route to host") }
