package agent

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/rollcall-dev/rollcall/discovery"
)

// list is a flag with several values, with commas between.
type list []string

// String implements flag.Value.
func (l *list) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *list) Set(value string) error {
	for part := range strings.SplitSeq(value, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			return errors.New("a part between two commas is empty")
		}
		*l = append(*l, part)
	}
	return nil
}

// ports is a flag with several ports, with commas between.
type ports []discovery.Port

// String implements flag.Value.
func (p *ports) String() string {
	texts := make([]string, len(*p))
	for i, port := range *p {
		texts[i] = strconv.Itoa(port.Port)
		if port.Name != "" {
			texts[i] = port.Name + ":" + texts[i]
		}
		if port.Protocol != "" {
			texts[i] += "/" + port.Protocol
		}
	}
	return strings.Join(texts, ",")
}

// Set implements flag.Value.
func (p *ports) Set(value string) error {
	for part := range strings.SplitSeq(value, ",") {
		port, err := parsePort(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		*p = append(*p, port)
	}
	return nil
}

// parsePort reads a port: number, name:number or name:number/protocol. What it may be is for discovery.Node.Reach to say.
func parsePort(text string) (discovery.Port, error) {
	var port discovery.Port
	rest, protocol, _ := strings.Cut(text, "/")
	port.Protocol = strings.ToUpper(protocol)
	number := rest
	if name, after, named := strings.Cut(rest, ":"); named {
		port.Name, number = name, after
	}
	var err error
	if port.Port, err = strconv.Atoi(number); err != nil {
		return port, fmt.Errorf("%q is no port: write a number, name:number or name:number/protocol, such as http:8080 or dns:53/UDP", text)
	}
	return port, nil
}

// metadata is a flag for a pair of the metadata, which can be given more than once.
type metadata map[string]string

// String implements flag.Value.
func (m *metadata) String() string {
	pairs := make([]string, 0, len(*m))
	for key, value := range *m {
		pairs = append(pairs, key+"="+value)
	}
	return strings.Join(pairs, ",")
}

// Set implements flag.Value.
func (m *metadata) Set(value string) error {
	key, value, found := strings.Cut(value, "=")
	key = strings.TrimSpace(key)
	if !found || key == "" {
		return fmt.Errorf("%q is no key=value", key)
	}
	if *m == nil {
		*m = metadata{}
	}
	(*m)[key] = value
	return nil
}
