package dsn

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A value parses and formats one field of a Config. An error of set continues a
// sentence that begins with the key's name. It quotes v only if v is nearly one of the
// allowed words: any other text may be a secret that is in the wrong place.
type value interface {
	set(v string) error
	String() string
}

// text is any string.
type text string

func (p *text) set(v string) error { *p = text(v); return nil }
func (p *text) String() string     { return string(*p) }

// hidden is a Secret. Its String returns the secret itself.
type hidden Secret

func (p *hidden) set(v string) error { *p = hidden(NewSecret(v)); return nil }
func (p *hidden) String() string     { return Secret(*p).Value() }

// boolean is a value of strconv.ParseBool.
type boolean bool

func (p *boolean) set(v string) error {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return errors.New("is not a boolean; write true or false")
	}
	*p = boolean(b)
	return nil
}
func (p *boolean) String() string { return strconv.FormatBool(bool(*p)) }

// duration is a value of time.ParseDuration that is not negative.
type duration time.Duration

func (p *duration) set(v string) error {
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return errors.New("is not a duration; write a duration with its unit, as in 90s or 5m")
	}
	*p = duration(d)
	return nil
}
func (p *duration) String() string { return time.Duration(*p).String() }

// positive is a duration other than zero.
type positive struct{ *duration }

func (p *positive) set(v string) error {
	if err := p.duration.set(v); err != nil {
		return err
	}
	if *p.duration == 0 {
		return errors.New("is 0; write a longer duration, as in 30s")
	}
	return nil
}

// list is a comma-separated list.
type list []string

func (p *list) set(v string) error {
	*p = nil
	for element := range strings.SplitSeq(v, ",") {
		element = strings.TrimSpace(element)
		if element == "" {
			return errors.New("has an empty element; separate the elements by single commas")
		}
		*p = append(*p, element)
	}
	return nil
}
func (p *list) String() string { return strings.Join(*p, ",") }

// choice is one of the allowed words, in any case.
type choice struct {
	field   *string
	allowed []string
}

func (p *choice) set(v string) error {
	word := strings.ToLower(v)
	if !slices.Contains(p.allowed, word) {
		return unknownWord(word, p.allowed)
	}
	*p.field = word
	return nil
}
func (p *choice) String() string { return *p.field }

// unknownWord is the error about a word that is not one of the known ones.
func unknownWord(word string, known []string) error {
	hint := suggest(strings.ToLower(word), known)
	if !nearly(word, known) {
		return fmt.Errorf("is not known; %s", hint)
	}
	return fmt.Errorf("is %q; %s", word, hint)
}

// location is an absolute URL with one of the schemes, without user, query or fragment.
type location struct {
	field   *string
	schemes []string
}

func (p *location) set(v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("is not an absolute URL without user, query or fragment; write it as in %s://host/path", p.schemes[0])
	}
	if !slices.Contains(p.schemes, u.Scheme) && slices.Contains(foreignSchemes, u.Scheme) {
		return fmt.Errorf("has the scheme %q; write %s://", u.Scheme, p.schemes[0])
	}
	if !slices.Contains(p.schemes, u.Scheme) {
		return fmt.Errorf("has an unknown scheme; write %s://", p.schemes[0])
	}
	*p.field = v
	return nil
}
func (p *location) String() string { return *p.field }

// modeList is a comma-separated list of modes, each by its name or an alias.
type modeList []Mode

func (p *modeList) set(v string) error {
	var names list
	if err := names.set(v); err != nil {
		return err
	}
	*p = nil
	for _, name := range names {
		m := lookupMode(name)
		if m == nil {
			return unknownWord(name, modeNames())
		}
		if slices.Contains(*p, m.Name) {
			return fmt.Errorf("names the mode %q twice; keep one", m.Name)
		}
		*p = append(*p, m.Name)
	}
	return nil
}

func (p *modeList) String() string {
	names := make(list, len(*p))
	for i, m := range *p {
		names[i] = string(m)
	}
	return names.String()
}
