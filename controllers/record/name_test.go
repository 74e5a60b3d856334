package record

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestName(t *testing.T) {
	const hash = `--[26 characters]`
	for id, want := range map[string]string{
		"web-1":                         "reg.web-1",
		"a.b":                           "reg.a.b",
		"Web-1":                         "reg.web-1" + hash,
		"web_1":                         "reg.web-1" + hash,
		"a/b=c":                         "reg.a-b-c" + hash,
		"-":                             "reg.node" + hash,
		"":                              "reg.node" + hash,
		strings.Repeat("a", 500):        "reg." + strings.Repeat("a", 63-28) + hash,
		strings.Repeat("a", 253-4):      "reg." + strings.Repeat("a", 253-4),
		"x--" + strings.Repeat("0", 26): "reg.x-" + strings.Repeat("0", 26) + hash,
	} {
		got := Name("reg", id)
		if strings.HasSuffix(want, hash) {
			if len(got) < 28 {
				t.Errorf("%q becomes %q", id, got)
				continue
			}
			got = got[:len(got)-28] + hash
		}
		if got != want {
			t.Errorf("%q becomes %q, want %q", id, got, want)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, id := range []string{"web-1", "Web-1", "web_1", "a..b", "-", "x--0123456789abcdefghijklmnop", "é", strings.Repeat("a", 300)} {
		f.Add(id, "web-1")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		one, other := Name("reg", a), Name("reg", b)
		if (one == other) != (a == b) {
			t.Errorf("%q and %q become %q and %q", a, b, one, other)
		}
		if errs := validation.IsDNS1123Subdomain(one); len(errs) > 0 {
			t.Errorf("%q becomes %q: %v", a, one, errs)
		}
		if RegistryOf(one) != "reg" {
			t.Errorf("the registry of %q is %q", one, RegistryOf(one))
		}
		if errs := validation.IsValidLabelValue(labelValue(a)); len(errs) > 0 {
			t.Errorf("%q becomes the label value %q: %v", a, labelValue(a), errs)
		}
	})
}
