package discovery

import (
	"reflect"
	"testing"
)

// checkPlain fails the test if readPlain reads something else than encoding/json, and returns true if it reads the value at all.
func checkPlain(t *testing.T, value []byte) bool {
	t.Helper()
	got := readPlain(value)
	if want := strict(value); got != nil && !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %+v, want %+v", value, got, want)
	}
	return got != nil
}

// TestReadPlain: what programs write is read without encoding/json.
func TestReadPlain(t *testing.T) {
	for _, value := range []string{
		`{}`,
		`{"NodeId":"n1","Endpoint":"http://10.1.2.3:5001","Load":0.5,"LastSeen":"2025-10-11T08:00:00.1234567Z","Metadata":{"v":"1"}}`,
		` { "NodeId" : "n1" ,` + "\r\n\t" + `"Addresses" : [ "10.0.0.1" , "fd00::1" ] , "Ports" : [ { "Port" : 80 } ] } `,
		`{"NodeId":"n1","Zone":"Nürnberg","Load":-1.5E+3,"Draining":false,"Owner":{"Cluster":"c","UID":"u","Registration":"r"}}`,
		`{"NodeId":"n1","Addresses":[],"Ports":[],"Metadata":{},"Owner":{},"Draining":true,"Load":0}`,
		`{"NodeId":"n1","NodeId":"n2","Load":1,"Load":2,"Metadata":{"a":"1","a":"2"}}`,
		`{"LastSeen":"2025-10-11T08:00:00","Ports":[{"Name":"http","Port":8080,"Protocol":"TCP"},{"Port":-0}]}`,
		recordOf(goodMembers),
	} {
		if !checkPlain(t, []byte(value)) {
			t.Errorf("%s is not read", value)
		}
	}
}

// TestReadPlainLeaves: what is written in any other way is left to encoding/json, or is no record.
func TestReadPlainLeaves(t *testing.T) {
	for _, value := range []string{
		``, `null`, `[]`, `"x"`, `{`, `}`, `{}{}`, `{}x`, `{"NodeId"}`, `{"NodeId":}`, `{"NodeId":"n1"`, `{"NodeId":"n1",}`, `{,}`,
		`{"NodeId":"n1}`, `{"NodeId":"a\u0062"}`, `{"NodeId":"a` + "\t" + `"}`, `{"NodeId":"` + "\xff" + `"}`, `{"nodeid":"n1"}`, `{"Extra":1}`,
		`{"NodeId":1}`, `{"NodeId":null}`, `{"Load":"1"}`, `{"Load":01}`, `{"Load":1.}`, `{"Load":.5}`, `{"Load":+1}`, `{"Load":1e}`, `{"Load":1e999}`,
		`{"Load":0x10}`, `{"Load":1_0}`, `{"Load":Infinity}`, `{"Load":-}`, `{"Load":}`, `{"Draining":"true"}`, `{"Draining":tru}`, `{"Draining":truex}`,
		`{"LastSeen":1}`, `{"LastSeen":"yesterday"}`, `{"LastSeen":null}`, `{"Metadata":{"a":1}}`, `{"Metadata":{"a":null}}`, `{"Metadata":{},"Metadata":{}}`,
		`{"Addresses":["a"],"Addresses":["b"]}`, `{"Addresses":["a",]}`, `{"Addresses":["a" "b"]}`, `{"Addresses":[1]}`, `{"Ports":[{"Port":1.0}]}`,
		`{"Ports":[{"Port":99999999999999999999}]}`, `{"Ports":[{"port":1}]}`, `{"Ports":[],"Ports":[]}`, `{"Owner":{"Uid":"u"}}`, `{"Owner":{},"Owner":{}}`,
		"\xef\xbb\xbf{}",
	} {
		if checkPlain(t, []byte(value)) {
			t.Errorf("%q is read", value)
		}
	}
}
