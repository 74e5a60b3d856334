package discovery

import "fmt"

// Reason says in one word what is wrong with a record. Its values are stable, for use in conditions and metrics.
type Reason string

// The reasons of [Decode] and [Encode].
const (
	// ReasonEmpty: the value has no content.
	ReasonEmpty Reason = "Empty"
	// ReasonNotJSON: the value isn't JSON.
	ReasonNotJSON Reason = "NotJSON"
	// ReasonNotObject: the value is JSON, but no object.
	ReasonNotObject Reason = "NotObject"
	// ReasonWrongShape: a member that is needed, which the detail names, has another type or form.
	ReasonWrongShape Reason = "WrongShape"
	// ReasonMissingNodeID: NodeId is absent, null or empty.
	ReasonMissingNodeID Reason = "MissingNodeID"
)

// The reasons of [Node.Reach].
const (
	// ReasonMissingAddress: there are neither Addresses nor an Endpoint.
	ReasonMissingAddress Reason = "MissingAddress"
	// ReasonAddressNotIP: an address or the endpoint's host is a host name.
	ReasonAddressNotIP Reason = "AddressNotIP"
	// ReasonInvalidAddress: an address is neither an IP address nor a host name, or has an IPv6 zone.
	ReasonInvalidAddress Reason = "InvalidAddress"
	// ReasonMissingPort: there are neither Ports nor a port, or a scheme that implies one, in Endpoint.
	ReasonMissingPort Reason = "MissingPort"
	// ReasonInvalidPort: a port is out of range, its protocol is unknown, or its name is taken twice.
	ReasonInvalidPort Reason = "InvalidPort"
	// ReasonInvalidEndpoint: Endpoint is neither a URL nor host:port.
	ReasonInvalidEndpoint Reason = "InvalidEndpoint"
)

// RecordError is what [Decode], [Encode] and [Node.Reach] return for a record that can't be used.
type RecordError struct {
	// Reason is the reason in one word.
	Reason Reason
	// Detail is for people: it names the member and says what is expected.
	Detail string
}

// Error returns the detail in one line.
func (e *RecordError) Error() string { return "invalid record: " + e.Detail }

func recordError(r Reason, format string, args ...any) error {
	return &RecordError{Reason: r, Detail: fmt.Sprintf(format, args...)}
}
