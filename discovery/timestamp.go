package discovery

import (
	"encoding/json"
	"time"
)

// timestamp is a time as .NET writes it: RFC 3339, but the zone may be missing, which then is UTC.
type timestamp time.Time

const (
	timestampFormat = "2006-01-02T15:04:05.9999999Z07:00"
	zonelessFormat  = "2006-01-02T15:04:05.999999999"
)

func (t timestamp) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Time(t).UTC().Format(timestampFormat))
}

func (t *timestamp) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if b[0] != '"' {
		return recordError(ReasonWrongShape, "LastSeen must be a string with a time such as 2025-10-11T08:00:00Z")
	}
	s := unquoted(b)
	v, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		v, err = time.Parse(zonelessFormat, s)
	}
	if err != nil {
		return recordError(ReasonWrongShape, "LastSeen is %.40q, a time such as 2025-10-11T08:00:00Z is expected", s)
	}
	*t = timestamp(clampYear(v.UTC()))
	return nil
}

// clampYear keeps a time within the years that can be written again: .NET's least and greatest times with an offset
// leave them once they are turned into UTC.
func clampYear(v time.Time) time.Time {
	switch {
	case v.Year() < 1:
		return time.Time{}
	case v.Year() > 9999:
		return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	}
	return v
}
