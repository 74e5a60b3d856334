//go:build linux

package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// hierarchies returns where the hierarchies of control groups are mounted: several of version 1, one of version 2.
func hierarchies() ([]string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) > 2 && (fields[2] == "cgroup" || fields[2] == "cgroup2") {
			found = append(found, fields[1])
		}
	}
	return found, nil
}

// makeCgroups makes the control group in every hierarchy. The kubelet wants it to be there.
func makeCgroups(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil { //nolint:gosec // As all control groups are.
			return fmt.Errorf("make a control group: %w", err)
		}
		// A new group of version 1 has no processors and no memory, until it is told which.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if err := inherit(root, name, file); err != nil {
				return err
			}
		}
	}
	return nil
}

// inherit copies a setting of a control group from its parent, if they have it and it is not set.
func inherit(root, name, file string) error {
	path := filepath.Join(root, name, file)
	own, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || len(strings.TrimSpace(string(own))) > 0 {
		return nil
	}
	value, err := os.ReadFile(filepath.Join(root, file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, value, 0o600) //nolint:gosec // The path is that of a control group.
}

// removeCgroups removes the control group from every hierarchy, with all below it. The kernel refuses while the
// processes that were killed are not quite gone, so it is tried until ctx ends.
func removeCgroups(ctx context.Context, name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		var failed error
		for _, root := range roots {
			failed = errors.Join(failed, removeTree(filepath.Join(root, name)))
		}
		if failed == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove the control groups: %w", failed)
		case <-ticker.C:
		}
	}
}

// removeTree removes a control group and those below it, the lowest first. Their files can't be removed and need not be.
func removeTree(root string) error {
	groups, err := groupsBelow(root)
	if err != nil {
		return err
	}
	for _, group := range slices.Backward(groups) {
		if err := os.Remove(group); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// groupsBelow returns a control group and those below it, parents first.
func groupsBelow(root string) ([]string, error) {
	var groups []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			groups = append(groups, path)
		}
		return err
	})
	return groups, err
}
