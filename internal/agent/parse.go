package agent

import (
	"errors"
	"flag"
	"io"
	"os"
	"strings"
)

// Environment returns the value of an environment variable, and false if it is not set, as os.LookupEnv does.
type Environment func(name string) (string, bool)

// value returns the variable, empty if it is not set.
func (e Environment) value(name string) string {
	v, _ := e(name)
	return v
}

// Parse returns the configuration of the arguments, which exclude the program's name, and the environment. An argument
// goes before a variable, and an empty variable is as good as none. The errors are flag.ErrHelp, once the help was printed to out, and
// *ConfigError.
func Parse(arguments []string, environment Environment, out io.Writer) (Config, error) {
	var c Config
	flags := flag.NewFlagSet("rollcall-agent", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	BindFlags(flags, &c)
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			flags.SetOutput(out)
			flags.Usage()
			return Config{}, err
		}
		return Config{}, refuse("%v; see --help", err)
	}
	if flags.NArg() > 0 {
		return Config{}, refuse("the argument %q is not understood: all settings are flags, see --help", flags.Arg(0))
	}
	if err := readEnvironment(flags, environment); err != nil {
		return Config{}, err
	}
	if err := c.complete(environment, os.Hostname); err != nil {
		return Config{}, err
	}
	return c, c.validate()
}

// Variable returns the name of the environment variable that stands for a flag.
func Variable(flagName string) string {
	return "ROLLCALL_" + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// readEnvironment sets the flags that were not given and that have a variable.
func readEnvironment(flags *flag.FlagSet, environment Environment) error {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var wrong error
	flags.VisitAll(func(f *flag.Flag) {
		value := environment.value(Variable(f.Name))
		if given[f.Name] || value == "" || wrong != nil {
			return
		}
		if err := setAll(f.Value, value); err != nil {
			wrong = refuse("invalid value of %s: %v", Variable(f.Name), err)
		}
	})
	return wrong
}

// setAll sets a flag from a variable. What can be given more than once as a flag has commas between in a variable.
func setAll(flag flag.Value, value string) error {
	if _, ok := flag.(*metadata); !ok {
		return flag.Set(value)
	}
	for pair := range strings.SplitSeq(value, ",") {
		if err := flag.Set(pair); err != nil {
			return err
		}
	}
	return nil
}
