package faults

import (
	"reflect"
	"testing"
	"time"
)

// at returns a moment of a made-up history, in seconds.
func at(seconds float64) time.Time {
	return time.Unix(1_000_000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

// lived returns a life that begins at a time and heartbeats for the last time at another.
func lived(from, beat float64) life {
	return life{entity: "a", sent: at(from), acked: at(from), beatSent: at(beat), beatAcked: at(beat)}
}

func diedAt(l life, when float64) life {
	l.end, l.endSent, l.endAcked = died, at(when), at(when)
	return l
}

func silentFor(l life, from, to float64) life {
	l.silences = append(l.silences, span{at(from), at(to)})
	return l
}

func withID(id string, l life) life {
	l.id = id
	return l
}

func unregisteredAt(l life, when float64) life {
	l.end, l.endSent, l.endAcked = unregistered, at(when), at(when)
	return l
}

// blinks returns sightings: there, gone, there, ...
func blinks(times ...float64) []sighting {
	var all []sighting
	for i, t := range times {
		all = append(all, sighting{at: at(t), present: i%2 == 0})
	}
	return all
}

func TestJudge(t *testing.T) {
	const ttl = 4 * time.Second
	outage := window{from: at(10), to: at(20), holds: true, grace: ttl, settle: time.Second}
	mended := window{from: at(10), back: at(19), to: at(20), holds: true, grace: ttl, settle: time.Second}
	partial := outage
	partial.might = true
	edit := window{from: at(10), to: at(10), settle: time.Second, excused: true}
	start := firstStart(at(0), ttl)
	start.to = at(1)
	lenient := start
	lenient.grace = 2 * ttl
	// Half a second in every two, and half a second to come back.
	var gaps []window
	for n := 0.0; n < 30; n += 2 {
		gaps = append(gaps, window{from: at(n), to: at(n + 0.5), holds: true, might: true, listening: true, grace: ttl, settle: time.Second / 2})
	}
	// The bucket is lost again before those that died are gone.
	var losses []window
	for _, n := range []float64{10, 13, 16} {
		losses = append(losses, window{from: at(n), to: at(n + 0.1), holds: true, grace: ttl, settle: time.Second / 2})
	}
	for name, c := range map[string]struct {
		lives                  []life
		windows                []window
		seen                   []sighting
		removed, missed, stale int
	}{
		"all is well":                              {lives: []life{lived(0, 29)}, seen: blinks(0.1)},
		"never shown":                              {lives: []life{lived(0, 29)}, missed: 1},
		"shown late":                               {lives: []life{lived(0, 29)}, seen: blinks(1.5), missed: 1},
		"not due yet":                              {lives: []life{lived(29.5, 29.5)}},
		"removed while alive":                      {lives: []life{lived(0, 29)}, seen: blinks(0.1, 5), removed: 1, missed: 1},
		"blinked while alive":                      {lives: []life{lived(0, 29)}, seen: blinks(0.1, 5, 5.1), removed: 1, missed: 1},
		"unregistered and gone":                    {lives: []life{unregisteredAt(lived(0, 9), 10)}, seen: blinks(0.1, 10.2)},
		"removed before it unregistered":           {lives: []life{unregisteredAt(lived(0, 9), 10)}, seen: blinks(0.1, 9.9), removed: 1, missed: 1},
		"unregistered and still there":             {lives: []life{unregisteredAt(lived(0, 9), 10)}, seen: blinks(0.1, 11.5), stale: 1},
		"unregistered and for ever there":          {lives: []life{unregisteredAt(lived(0, 9), 10)}, seen: blinks(0.1), stale: 1},
		"died and gone in time":                    {lives: []life{diedAt(lived(0, 10), 10.5)}, seen: blinks(0.1, 14.5)},
		"died and gone too early":                  {lives: []life{diedAt(lived(0, 10), 10.5)}, seen: blinks(0.1, 13), removed: 1, missed: 1},
		"died and gone too late":                   {lives: []life{diedAt(lived(0, 10), 10.5)}, seen: blinks(0.1, 15.5), stale: 1},
		"died and back":                            {lives: []life{diedAt(lived(0, 10), 10.5), lived(18, 29)}, seen: blinks(0.1, 14.5, 18.1)},
		"back and taken away late":                 {lives: []life{unregisteredAt(lived(0, 9), 10), lived(10.1, 29)}, seen: blinks(0.1, 10.2, 10.3)},
		"back and taken away for the old one":      {lives: []life{unregisteredAt(lived(0, 9), 10), lived(10.1, 29)}, seen: blinks(0.1, 13, 13.1), removed: 1, missed: 1},
		"alive in an outage":                       {lives: []life{lived(0, 9)}, windows: []window{outage}, seen: blinks(0.1)},
		"removed in an outage":                     {lives: []life{diedAt(lived(0, 9), 9.5)}, windows: []window{outage}, seen: blinks(0.1, 14), removed: 1, missed: 1},
		"died, removed within the grace":           {lives: []life{diedAt(lived(0, 9), 9.5)}, windows: []window{outage}, seen: blinks(0.1, 23), removed: 1, missed: 1},
		"died, removed after the earliest grace":   {lives: []life{diedAt(lived(0, 9), 9.5)}, windows: []window{mended}, seen: blinks(0.1, 23.5)},
		"died, removed in what might hold":         {lives: []life{diedAt(lived(0, 9), 9.5)}, windows: []window{partial}, seen: blinks(0.1, 14)},
		"died, stays beyond what might hold":       {lives: []life{diedAt(lived(0, 9), 9.5)}, windows: []window{partial}, seen: blinks(0.1, 26.5), stale: 1},
		"died, removed after the grace":            {lives: []life{diedAt(lived(0, 9), 9.5)}, windows: []window{outage}, seen: blinks(0.1, 25)},
		"died, there long after the grace":         {lives: []life{diedAt(lived(0, 9), 9.5)}, windows: []window{outage}, seen: blinks(0.1, 26.5), stale: 1},
		"died before the outage mattered":          {lives: []life{diedAt(lived(0, 2), 2.5)}, windows: []window{outage}, seen: blinks(0.1, 6.5)},
		"came in an outage, shown after":           {lives: []life{lived(15, 29)}, windows: []window{outage}, seen: blinks(20.8)},
		"came in an outage, shown late":            {lives: []life{lived(15, 29)}, windows: []window{outage}, seen: blinks(21.5), missed: 1},
		"taken away by hand, put back":             {lives: []life{lived(0, 29)}, windows: []window{edit}, seen: blinks(0.1, 10.1, 10.6)},
		"taken away by hand, put back late":        {lives: []life{lived(0, 29)}, windows: []window{edit}, seen: blinks(0.1, 10.1, 12), missed: 1},
		"unregistered, nobody saw, in its grace":   {lives: []life{unregisteredAt(lived(0, 9), 9.9)}, windows: []window{outage}, seen: blinks(0.1, 24)},
		"unregistered, nobody saw, and stays":      {lives: []life{unregisteredAt(lived(0, 9), 9.9)}, windows: []window{outage}, seen: blinks(0.1, 26.5), stale: 1},
		"unregistered, forgotten while it settles": {lives: []life{unregisteredAt(lived(0, 9), 16.5)}, windows: []window{outage}, seen: blinks(0.1, 25)},
		"unregistered late in an outage":           {lives: []life{unregisteredAt(lived(0, 9), 17)}, windows: []window{outage}, seen: blinks(0.1, 24), stale: 1},
		"came and died in an outage, not shown":    {lives: []life{diedAt(lived(12, 13), 13.5)}, windows: []window{outage}},
		"came in an outage and died after it":      {lives: []life{diedAt(lived(12, 19), 19.5)}, windows: []window{outage}, seen: blinks(20.5, 24)},
		"came in an outage, gone within a grace":   {lives: []life{diedAt(lived(12, 19), 19.5)}, windows: []window{outage}, seen: blinks(20.5, 23.5), removed: 1, missed: 1},
		"died between gaps, gone in time":          {lives: []life{diedAt(lived(0, 9), 9.5)}, windows: gaps, seen: blinks(0.1, 13)},
		"died between gaps, gone after a grace":    {lives: []life{diedAt(lived(0, 9), 9.5)}, windows: gaps, seen: blinks(0.1, 25.9)},
		"died between gaps, there for ever":        {lives: []life{diedAt(lived(0, 9), 9.5)}, windows: gaps, seen: blinks(0.1), stale: 1},
		"died between gaps, gone too early":        {lives: []life{diedAt(lived(0, 9), 9.5)}, windows: gaps, seen: blinks(0.1, 12.9), removed: 1, missed: 1},
		"died, lost again, gone after one grace":   {lives: []life{diedAt(lived(0, 9.9), 9.95)}, windows: losses, seen: blinks(0.1, 18.3)},
		"died, lost again, gone within it":         {lives: []life{diedAt(lived(0, 9.9), 9.95)}, windows: losses, seen: blinks(0.1, 18.1), removed: 1, missed: 1},
		"died in a start, gone in time":            {lives: []life{diedAt(lived(0.2, 0.5), 0.6)}, windows: []window{start}, seen: blinks(0.8, 4.6)},
		"died in a start, gone after the grace":    {lives: []life{diedAt(lived(0.2, 0.5), 0.6)}, windows: []window{start}, seen: blinks(0.8, 5.9)},
		"died in a start, there after the grace":   {lives: []life{diedAt(lived(0.2, 0.5), 0.6)}, windows: []window{start}, seen: blinks(0.8, 6.1), stale: 1},
		"heard since a start, gone too late":       {lives: []life{diedAt(lived(0.2, 1.1), 1.2)}, windows: []window{start}, seen: blinks(0.8, 6.2), stale: 1},
		"another dead at the address, in a grace":  {lives: []life{withID("1", diedAt(lived(0.2, 0.5), 0.6)), withID("2", diedAt(lived(1.2, 1.5), 1.6))}, windows: []window{lenient}, seen: blinks(0.8, 9.9)},
		"another dead at the address, for ever":    {lives: []life{withID("1", diedAt(lived(0.2, 0.5), 0.6)), withID("2", diedAt(lived(1.2, 1.5), 1.6))}, windows: []window{lenient}, seen: blinks(0.8), stale: 1},
		"the same was back, and died":              {lives: []life{diedAt(lived(0.2, 0.5), 0.6), diedAt(lived(1.2, 1.5), 1.6)}, windows: []window{lenient}, seen: blinks(0.8, 9.9), stale: 1},
		"silent by itself, gone and back":          {lives: []life{silentFor(lived(0, 29), 10, 16)}, seen: blinks(0.1, 14.5, 16.5)},
		"silent by itself, gone too early":         {lives: []life{silentFor(lived(0, 29), 10, 16)}, seen: blinks(0.1, 13, 16.5), removed: 1, missed: 1},
		"silent by itself, and not back":           {lives: []life{silentFor(lived(0, 29), 10, 16)}, seen: blinks(0.1, 14.5), missed: 1},
		"silent for less than the TTL":             {lives: []life{silentFor(lived(0, 29), 10, 13.5)}, seen: blinks(0.1, 13.4, 13.6), removed: 1, missed: 1},
		"silent for an outage, and removed":        {lives: []life{silentFor(lived(0, 29), 9, 20.5)}, windows: []window{outage}, seen: blinks(0.1, 14, 20.6), removed: 1, missed: 1},
		"silent in the end, and gone":              {lives: []life{lived(0, 20)}, seen: blinks(0.1, 24.5)},
		"nobody":                                   {seen: blinks(3), stale: 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := &history{ttl: ttl, lives: c.lives, windows: c.windows, seen: map[string][]sighting{"a": c.seen}, until: at(30)}
			v := judge(h, bounds{arrive: time.Second, leave: time.Second, expire: time.Second})
			if v.removed != c.removed || v.missed != c.missed || v.stale != c.stale {
				t.Errorf("%d removed, %d missed, %d stale, want %d, %d, %d: %q", v.removed, v.missed, v.stale, c.removed, c.missed, c.stale, v.notes)
			}
		})
	}
}

func TestJoined(t *testing.T) {
	other := lived(0, 9)
	other.entity = "b"
	for name, c := range map[string]struct {
		lives []life
		want  []life
	}{
		"one after the other":                 {[]life{lived(5, 9), unregisteredAt(lived(0, 3), 4)}, []life{unregisteredAt(lived(0, 3), 4), lived(5, 9)}},
		"the second outlives the first":       {[]life{unregisteredAt(lived(0, 3), 6), lived(5, 9)}, []life{lived(0, 9)}},
		"the first outlives the second":       {[]life{lived(0, 9), unregisteredAt(lived(2, 3), 4)}, []life{lived(0, 9)}},
		"three in a row":                      {[]life{diedAt(lived(0, 3), 4), diedAt(lived(3, 6), 7), diedAt(lived(6, 9), 10)}, []life{diedAt(lived(0, 9), 10)}},
		"another entity at the same time":     {[]life{other, lived(0, 9)}, []life{lived(0, 9), other}},
		"dead, and known to be so only later": {[]life{diedAt(lived(0, 3), 4), lived(4.5, 9)}, []life{diedAt(lived(0, 3), 4), lived(4.5, 9)}},
	} {
		if got := joined(c.lives); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: joined are %v, want %v", name, got, c.want)
		}
	}
}
