package expression

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/go-cmp/cmp"
)

const (
	// mostAllocated is what reading one entry may allocate, and mostTime how long it may take. It takes a few
	// milliseconds; the rest is for a busy machine and the race detector.
	mostAllocated = 20 << 20
	mostTime      = 2 * time.Second
)

// bombValue is a record of nearly 64 KiB that has something for every bomb.
var bombValue = func() []byte {
	letters := strings.Repeat("a", 8000)
	var object, list []string
	for n := range 1200 {
		object = append(object, fmt.Sprintf(`"k%d":%d`, n, n))
		list = append(list, strconv.Itoa(n%10))
	}
	return fmt.Appendf(nil, `{"s":%q,"t":%q,"m":{%s},"n":[%s],"url":"http://a/?%s","ver":"1.0.0-%s","w":"%s","dots":"%s","digits":"%s"}`,
		letters, letters[1:]+"b", strings.Join(object, ","), strings.Join(list, ","), strings.Repeat("&", 8000), strings.Repeat("a.", 3900)+"a",
		strings.Repeat("ä", 4000), strings.Repeat("1.", 500), strings.Repeat("9", 8000))
}()

// nested returns the expression with itself in place of the % so many times.
func nested(expression, inner string, times int) string {
	for range times {
		inner = strings.Replace(expression, "%", inner, 1)
	}
	return inner
}

// chain returns the expression with the call after it so many times.
func chain(expression, call string, times int) string {
	return expression + strings.Repeat(call, times)
}

func many(element, separator string, times int) string {
	return strings.TrimSuffix(strings.Repeat(element+separator, times), separator)
}

// bombs are expressions that take long, or much memory, where calls are counted after they ran or not for what they do.
var bombs = map[string]string{
	"replace nothing":               "value.s.replace('', value.s)",
	"replace grows again":           "value.s.replace('a', value.s).replace('a', value.s)",
	"replace in a loop":             "value.n.map(x, value.s.replace('a', 'bb'))",
	"replace n":                     "value.s.replace('', value.s, 1000000)",
	"join over a long separator":    "value.n.map(x, '').join(value.s)",
	"join the same":                 "value.n.map(x, value.s).join()",
	"a precision":                   "(true ? '%.1000000000f' : '').format([1.0])",
	"a precision from the value":    "('%.' + value.digits + 'f').format([1.0])",
	"many verbs":                    "value.n.map(x, '" + strings.Repeat("%f", 200) + "'.format(value.n.map(y, 1.0)))",
	"format a list":                 "'%s'.format(" + chain("[value.n]", ".map(a, [a, a])", 34) + ")",
	"a range":                       "lists.range(1000000000)",
	"the greatest range":            "lists.range(9223372036854775807)",
	"ranges in ranges":              "lists.range(9000).map(x, lists.range(9000))",
	"sets of all":                   "sets.contains(value.n.map(x, value.s), value.n.map(x, value.t))",
	"equivalent sets":               "sets.equivalent(lists.range(5000), lists.range(5000))",
	"intersecting sets":             "sets.intersects(lists.range(4000), lists.range(4000).map(x, -x - 1))",
	"distinct":                      "lists.range(9000).distinct()",
	"distinct texts":                "value.n.map(x, value.s + string(x)).distinct()",
	"sort":                          "lists.range(9000).reverse().sort()",
	"sort texts":                    "value.n.map(x, value.s).sort()",
	"sort by":                       "value.n.sortBy(x, value.s)",
	"flatten":                       chain("[value.n]", ".map(a, [a, a])", 34) + ".flatten(100)",
	"flatten deeply":                nested("[%]", "lists.range(5000)", 36) + ".flatten(250)",
	"a list twice, again and again": chain("[value.n]", ".map(a, a + a)", 34),
	"a text twice, again and again": chain("[value.s]", ".map(a, a + a)", 34),
	"a list that is its own part":   chain("[value.n]", ".map(a, [a] + [a])", 34) + ".map(x, x.flatten(40))",
	"pairs of pairs are equal":      chain("[[1]]", ".map(a, [a, a])", 34) + ".map(x, x == x)",
	"pairs of pairs are in a list":  chain("[[1]]", ".map(a, [a, a])", 34) + ".map(x, x in [x])",
	"pairs of pairs as a map":       chain("[[1]]", ".map(a, {'a': a, 'b': a})", 34) + ".map(x, x == x)",
	"pairs of pairs are included":   chain("[[1]]", ".map(a, [a, a])", 34) + ".map(x, [x].indexOf(x))",
	"pairs of pairs in an optional": chain("[[1]]", ".map(a, [a, a])", 34) + ".map(x, optional.of(x) == optional.of(x))",
	"split":                         "value.n.map(x, value.s.split(''))",
	"split a long text":             "[value.s + value.s + value.s + value.s + value.s + value.s + value.s].map(x, x.split(''))",
	"a pattern of repetitions":      "value.s.matches('((a|b){30}){30}b')",
	"a pattern from the value":      "value.s.matches(value.s)",
	"patterns in a loop":            "value.n.map(x, value.s.matches('(a|b|c|d){200}' + string(x)))",
	"an empty text in a loop":       "lists.range(9000).map(x, ''.matches('(a|b|c|d){1000}'))",
	"find":                          "value.s.find('(a|aa|aaa)*b{100}')",
	"find all":                      "value.s.findAll('a.*b|a')",
	"find all of nothing":           "value.s.findAll('')",
	"find a few":                    "value.n.map(x, value.s.findAll('(a*)*b|a', 10))",
	"base64":                        "value.n.map(x, base64.encode(bytes(value.s)))",
	"base64 of base64":              nested("base64.encode(bytes(%))", "value.s", 18),
	"back from base64":              "value.n.map(x, base64.decode(value.s))",
	"reverse":                       "lists.range(9000).map(x, value.n.reverse())",
	"slice":                         "lists.range(9000).map(x, value.n.slice(0, 1000))",
	"every character":               "lists.range(8000).map(x, value.w.charAt(x))",
	"every tail":                    "lists.range(8000).map(x, value.s.substring(x))",
	"index of half":                 "value.n.map(x, value.s.indexOf(value.s.substring(4000) + 'b'))",
	"last index of half":            "value.n.map(x, value.s.lastIndexOf('b' + value.s.substring(4000)))",
	"contains":                      "value.n.map(x, value.s.contains(value.t))",
	"starts with":                   "lists.range(9000).map(x, value.s.startsWith(value.t))",
	"compare":                       "lists.range(9000).map(x, value.s < value.t)",
	"equal texts":                   "lists.range(9000).map(x, value.s + 'a' == value.s + 'a')",
	"equal objects":                 "lists.range(9000).map(x, value.m == value.m)",
	"the whole value":               "lists.range(9000).map(x, value == value)",
	"in a list":                     "lists.range(9000).map(x, x in lists.range(9000))",
	"a text in a list":              "value.n.map(x, value.t in value.n.map(y, value.s))",
	"the first of an object":        "lists.range(9000).map(x, value.m.exists(k, true))",
	"a long key":                    "lists.range(9000).map(x, value.?m[value.s])",
	"an unknown long key":           "lists.range(9000).exists(x, value.m[value.s + value.s + value.s])",
	"semantic versions":             "value.n.map(x, isSemver(value.ver))",
	"compare versions":              "[semver(value.ver)].map(v, lists.range(9000).map(x, v.compareTo(v)))",
	"the query of a URL":            "[url(value.url)].map(u, lists.range(9000).map(x, u.getQuery()))",
	"URLs":                          "lists.range(9000).map(x, isURL(value.url))",
	"IP addresses":                  "lists.range(9000).map(x, isIP(value.dots))",
	"CIDRs":                         "lists.range(9000).map(x, isCIDR(value.dots))",
	"durations":                     "lists.range(9000).exists(x, duration(value.digits + 's') == duration('1s'))",
	"timestamps":                    "lists.range(9000).exists(x, timestamp(value.digits) == timestamp(0))",
	"time zones":                    "lists.range(9000).map(x, timestamp(0).getHours('Europe/Berlin'))",
	"integers":                      "lists.range(9000).exists(x, int(value.digits) == 1)",
	"doubles":                       "lists.range(9000).map(x, double(value.digits))",
	"bytes and back":                "value.n.map(x, string(bytes(value.w)))",
	"quotes of quotes":              nested("strings.quote(%)", "value.s", 36),
	"cases":                         "value.n.map(x, value.w.lowerAscii().upperAscii().trim())",
	"named formats":                 "lists.range(9000).map(x, format.dns1123Subdomain().validate(value.s))",
	"the format byte":               "lists.range(9000).map(x, format.byte().validate(value.s))",
	"the format of URIs":            "lists.range(9000).map(x, format.uri().validate(value.url))",
	"sums":                          "lists.range(9000).map(x, value.n.sum())",
	"the least text":                "lists.range(9000).map(x, [value.s, value.t].min())",
	"is it sorted":                  "lists.range(9000).map(x, value.n.isSorted())",
	"loops in loops":                nested("value.n.map(x, %)", "1", 20),
	"loops that do nothing":         nested("value.n.all(x, %)", "true", 20),
	"loops over objects":            nested("value.m.transformMap(k, v, %)", "1", 20),
	"maps of maps":                  "value.m.transformMapEntry(k, v, {k: value.m})",
	"a map of many":                 nested("value.m.transformMapEntry(k, v, {k + 'x': %})", "v", 5),
	"conditionals":                  "lists.range(9000).map(x, " + many("false ? 0", " : ", 36) + " : 1)",
	"or":                            "lists.range(9000).map(x, true || " + many("x == 1", "||", 100) + ")",
	"qualifiers":                    "lists.range(9000).map(x, value" + strings.Repeat(".?a", 36) + ")",
	"lists in a loop":               "lists.range(9000).map(x, [" + many("x", ",", 1500) + "])",
	"optionals in optionals":        "optional.of(value.s)" + strings.Repeat(".optMap(v, v + v)", 36),
	"a chain of optionals":          "optional.of(1)" + strings.Repeat(".optMap(v, v)", 36) + ".orValue(1)",
}

// harmless are the bombs that are cheap once they are counted right.
var harmless = []string{"a chain of optionals"}

// environment has the variables of the expressions over an entry.
var environment = sync.OnceValues(func() (*Environment, error) {
	return NewEnvironment(cel.Variable("key", cel.StringType), cel.Variable("value", cel.DynType))
})

func compileAny(t testing.TB, expression string) (*Program, error) {
	t.Helper()
	env, err := environment()
	if err != nil {
		t.Fatal(err)
	}
	return env.Compile("spec.record.nodeID", expression, "", func(*cel.Type) bool { return true })
}

// decode returns what expressions see of JSON.
func decode(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	seen, _ := Visible(value)
	return seen, nil
}

// allocated returns how much f allocates, and how long it takes.
func allocated(f func()) (size uint64, took time.Duration) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	f()
	took = time.Since(begin)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, took
}

func TestBombs(t *testing.T) {
	if len(bombValue) > 64<<10 {
		t.Fatalf("the value has %d bytes", len(bombValue))
	}
	value, err := decode(bombValue)
	if err != nil {
		t.Fatal(err)
	}
	for name, expression := range bombs {
		t.Run(name, func(t *testing.T) {
			if len(expression) > maxExpression {
				t.Fatalf("it has %d characters", len(expression))
			}
			program, err := compileAny(t, expression)
			if err != nil {
				t.Fatal(err)
			}
			size, took := allocated(func() { _, err = program.Evaluate(map[string]any{"key": "k", "value": value}) })
			if size > mostAllocated || took > mostTime {
				t.Errorf("it allocates %d bytes and takes %s", size, took)
			}
			if (err == nil) != slices.Contains(harmless, name) {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

// longExpressions take long to compile where parts of them are repeated, folded, or looked at again for each level.
var longExpressions = map[string]string{
	"a constant range":     "lists.range(1000000000)",
	"a constant replace":   "'" + strings.Repeat("a", 2000) + "'.replace('', '" + strings.Repeat("b", 2000) + "')",
	"a constant time":      many("duration('1s')", " == ", 200),
	"a large pattern":      "key.matches('" + strings.Repeat("x{1000}", 580) + "')",
	"many patterns":        "[" + many(`key.matches('(\\pL{9}){90}')`, ", ", 120) + "]",
	"a pattern of classes": `key.matches('` + strings.Repeat(`\\pL`, 250) + `')`,
	"optMap of optMap":     chain("optional.of(1)", ".optMap(x, x)", 36),
	"optFlatMap":           chain("optional.of(1)", ".optFlatMap(x, optional.of(x))", 36),
	"lists of lists":       "[" + many(nested("[%]", "1", 36), ", ", 50) + "]",
	"maps of maps":         "[" + many(nested("{1: %}", "1", 36), ", ", 22) + "]",
	"chains of macros":     "[" + many(chain("[1]", ".map(x, [x, x])", 24), ", ", 10) + "]",
	"macros in macros":     "[" + many(nested("[1].map(x, %)", "1", 12), ", ", 20) + "]",
	"sortBy":               "[" + many(chain("[1]", ".sortBy(x, x)", 36), ", ", 8) + "]",
	"many conditionals":    many("true ? 1", " : ", 36) + " : 1",
	"too many of them":     many("true ? 1", " : ", 400) + " : 1",
	"many brackets":        strings.Repeat("[", 4000),
	"many minus":           strings.Repeat("-", 4000) + "1",
	"many errors":          strings.Repeat("a b ", 1000),
	"many unknown names":   "[" + many("a", ",", 2000) + "]",
	"too long":             "'" + strings.Repeat("a", 1<<20) + "'",
}

// TestLongExpressions compiles them. What the garbage collector has to do with it is bound as well, loosely: a NodeRegistry
// is compiled once.
func TestLongExpressions(t *testing.T) {
	for name, expression := range longExpressions {
		t.Run(name, func(t *testing.T) {
			size, took := allocated(func() { _, _ = compileAny(t, expression) })
			if size > 512<<20 || took > 5*mostTime {
				t.Errorf("it allocates %d bytes and takes %s", size, took)
			}
		})
	}
}

// TestFunctions lists every function that an expression can call. Before one is added, say in price what it costs.
func TestFunctions(t *testing.T) {
	env, err := environment()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/functions.txt")
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(slices.Sorted(maps.Keys(env.env.Functions())), "\n") + "\n"
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

// FuzzExpression evaluates any expression over any record.
func FuzzExpression(f *testing.F) {
	for _, expression := range bombs {
		f.Add(expression, []byte(`{"s":"aaaaaaaa","t":"aaab","m":{"a":1,"b":2},"n":[1,2,3,4],"url":"http://a/?&&","ver":"1.0.0-a.b","w":"ää","dots":"1.1","digits":"99"}`))
	}
	f.Add("quantity(value.mem)", []byte(`{"mem":"1e250000000"}`))
	f.Add("value.a[0] + key", []byte(`{"a":["\ud800",1e400,{}]}`))
	f.Fuzz(func(t *testing.T, expression string, record []byte) {
		value, err := decode(record)
		if err != nil || len(record) > 64<<10 || len(expression) > maxExpression {
			return
		}
		program, err := compileAny(t, expression)
		if err != nil {
			return
		}
		size, took := allocated(func() { _, err = program.Evaluate(map[string]any{"key": "k", "value": value}) })
		if size > mostAllocated || took > mostTime || err != nil && strings.Contains(err.Error(), "internal error") {
			t.Errorf("it allocates %d bytes, takes %s, and ends with %v", size, took, err)
		}
	})
}
