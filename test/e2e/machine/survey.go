//go:build linux

package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// state is what a survey of the host found: lines by subject.
type state map[string][]string

// emptyGroups is the subject of control groups without a process. What other programs on the host start and end comes and
// goes meanwhile, so only those that are new count: no process of the machine is left that could be in one.
const emptyGroups = "control groups without a process"

// survey looks at everything of the host that a cluster could leave something in.
func survey() (state, error) {
	found := state{}
	for subject, look := range map[string]func() ([]string, error){
		"interfaces":              command("ip", "-o", "link", "show"),
		"addresses":               command("ip", "-4", "-o", "address", "show"),
		"routes":                  command("ip", "-4", "route", "show", "table", "all"),
		"network namespaces":      command("ip", "netns", "list"),
		"packet filter, IPv4":     command("iptables-save"),
		"packet filter, IPv6":     command("ip6tables-save"),
		"mounts":                  lines("/proc/self/mountinfo"),
		"namespaces of processes": namespaces,
		emptyGroups:               cgroups,
		"kernel settings":         settings,
		"folders":                 folders,
	} {
		lines, err := look()
		if err != nil {
			return nil, fmt.Errorf("survey the host's %s: %w", subject, err)
		}
		slices.Sort(lines)
		found[subject] = lines
	}
	return found, nil
}

// leftovers surveys the host again, and returns an error that says what is other than before.
func leftovers(before state) error {
	after, err := survey()
	if err != nil {
		return err
	}
	var differences []error
	for _, subject := range slices.Sorted(maps.Keys(before)) {
		for _, line := range difference(after[subject], before[subject]) {
			differences = append(differences, fmt.Errorf("%s: new: %s", subject, line))
		}
		if subject == emptyGroups {
			continue
		}
		for _, line := range difference(before[subject], after[subject]) {
			differences = append(differences, fmt.Errorf("%s: gone: %s", subject, line))
		}
	}
	if len(differences) > 0 {
		return fmt.Errorf("the machine is not as it was:\n%w", errors.Join(differences...))
	}
	total := 0
	for _, lines := range after {
		total += len(lines)
	}
	fmt.Printf("==> the host is as it was: %d facts of %d kinds compared\n", total, len(after))
	return nil
}

// difference returns what is in a and not in b.
func difference(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(line string) bool {
		_, found := slices.BinarySearch(b, line)
		return found
	})
}

// passing is what changes by itself in the output of a command: counters and the time of the call.
var passing = regexp.MustCompile(`\[\d+:\d+\]|(?m:^#.*$)| expires \d+sec`)

func command(name string, args ...string) func() ([]string, error) {
	return func() ([]string, error) {
		command := exec.Command(name, args...) //nolint:gosec // The commands are those of survey.
		var stderr bytes.Buffer
		command.Stderr = &stderr
		out, err := command.Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %s", name, err, stderr.String())
		}
		return split(passing.ReplaceAllString(string(out), "")), nil
	}
}

func lines(path string) func() ([]string, error) {
	return func() ([]string, error) {
		content, err := os.ReadFile(path)
		return split(string(content)), err
	}
}

func split(text string) []string {
	return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return strings.TrimSpace(line) == "" })
}

// namespaces returns the namespaces that processes live in. One of the machine's that is left shows here.
func namespaces() ([]string, error) {
	links, err := filepath.Glob("/proc/[0-9]*/ns/*")
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, link := range links {
		// A process may have ended since.
		if target, err := os.Readlink(link); err == nil {
			found[target] = true
		}
	}
	return slices.Collect(maps.Keys(found)), nil
}

func cgroups() ([]string, error) {
	roots, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, root := range roots {
		groups, err := groupsBelow(root)
		if err != nil {
			return nil, err
		}
		for _, group := range groups {
			if processes, err := os.ReadFile(filepath.Join(group, "cgroup.procs")); err == nil && len(processes) == 0 {
				found = append(found, group)
			}
		}
	}
	return found, nil
}

// busySettings are files of /proc/sys that hold no setting but a figure that changes by itself.
var busySettings = regexp.MustCompile(`^/proc/sys/(fs/(dentry-state|file-nr|inode-nr|inode-state|aio-nr|quota/.*)|` +
	`kernel/(random/.*|ns_last_pid|pty/nr)|net/netfilter/nf_conntrack_count)$`)

// settings returns the kernel's settings.
func settings() ([]string, error) {
	var found []string
	err := filepath.WalkDir("/proc/sys", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || busySettings.MatchString(path) {
			return err
		}
		// Some can only be written to.
		if value, err := os.ReadFile(path); err == nil { //nolint:gosec // Nobody makes links in /proc/sys.
			found = append(found, path+"="+strings.TrimSpace(string(value)))
		}
		return nil
	})
	return found, err
}

// folders returns the entries of the folders that the parts of a cluster write to.
func folders() ([]string, error) {
	looked := append([]string{"/etc", "/etc/cni", "/opt", "/usr/libexec", "/usr/libexec/kubernetes", "/var/lib/cni", "/var/lib/kubelet", "/var/lib/containerd"}, ownFolders...)
	var found []string
	for _, folder := range looked {
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, entry := range entries {
			found = append(found, filepath.Join(folder, entry.Name()))
		}
	}
	return found, nil
}
