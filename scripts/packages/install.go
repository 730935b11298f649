package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"strings"
	"time"

	"binproxy/emu/apt"
)

// machine is where packages are installed. APT_CONFIG and DPKG_ROOT can make it another than the
// system.
type machine struct {
	log                 io.Writer
	asking, downloading apt.Patience // before it is known whether there is a network, and after
}

func usual(log io.Writer) machine {
	m := machine{log: log, asking: apt.Once(), downloading: apt.Once()}
	m.asking.Answer, m.asking.Retries = 6*time.Second, 1
	m.asking.Stall = time.Minute
	return m
}

// bring installs missing packages, and returns the reasons for failures, by package.
func (m machine) bring(packages []string) map[string]string {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return all(packages, "there is no apt-get")
	}
	if os.Geteuid() != 0 {
		return all(packages, "installing takes root")
	}
	fmt.Fprintln(m.log, "packages: installing", strings.Join(packages, " "))
	s := &sieve{machine: m, lacking: map[string]string{}}
	// A source that is down does not end the run: it may be somebody else's, and another may have
	// what is needed.
	said, err := s.get(m.asking, "update")
	if err != nil && !apt.Answered(said) {
		// All of them may have been downloaded before.
		s.log = io.Discard
		if _, failed := s.get(m.downloading, append(install("--no-download"), packages...)...); failed == nil {
			return nil
		}
		reason := err.Error()
		if !isObstacle(err) {
			reason = "no package archive answers: " + reason
		}
		return all(packages, reason)
	}
	s.pass(s.pass(packages, "--download-only"))
	return s.lacking
}

func all(packages []string, reason string) map[string]string {
	lacking := map[string]string{}
	for _, name := range packages {
		lacking[name] = reason
	}
	return lacking
}

// install never removes one package for another.
func install(flags ...string) []string {
	return append([]string{"install", "--no-install-recommends", "--no-remove"}, flags...)
}

// sieve finds what cannot be installed, by halves: apt-get does nothing for a list with one
// package that cannot be had. Its --fix-missing would install the others, but also without their
// dependencies.
type sieve struct {
	machine
	lacking  map[string]string // the reason, by package
	obstacle string            // the reason why apt-get can do nothing for any package
	mended   bool              // dpkg --configure -a was called
}

// pass makes apt-get install packages, or do with them what flags say, and returns those for which
// it worked.
func (s *sieve) pass(packages []string, flags ...string) []string {
	if len(packages) == 0 {
		return nil
	}
	if s.obstacle != "" {
		s.lack(packages, s.obstacle)
		return nil
	}
	_, failed := s.get(s.downloading, append(install(flags...), packages...)...)
	if failed == nil {
		return packages
	}
	left, err := absent(packages) // if only some failed, the others are installed
	if err != nil {
		failed, left = err, packages
	}
	switch {
	case err != nil || isObstacle(failed):
		s.obstacle = failed.Error()
		s.lack(left, s.obstacle)
		return nil
	case len(packages) == 1:
		s.lack(left, failed.Error())
		return nil
	}
	half := len(left) / 2
	return append(s.pass(left[:half], flags...), s.pass(left[half:], flags...)...)
}

func (s *sieve) lack(packages []string, reason string) { maps.Copy(s.lacking, all(packages, reason)) }

// get calls apt-get. It first configures what an interrupted dpkg has left.
func (s *sieve) get(patience apt.Patience, args ...string) (string, error) {
	get := apt.Get{Patience: patience, Echo: s.log}
	said, err := get.Run(context.Background(), args...)
	if err == nil || s.mended || !strings.Contains(said, "dpkg was interrupted") {
		return said, err
	}
	s.mended = true
	fmt.Fprintln(s.log, "packages: dpkg was interrupted in what it did last; it goes on with that: dpkg --configure -a")
	cmd := exec.Command("dpkg", "--force-confdef", "--force-confold", "--configure", "-a")
	cmd.Env, cmd.Stdout, cmd.Stderr = apt.Environ(), s.log, s.log
	// If that fails, apt-get may still be able to go on, or says why not.
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(s.log, "packages: dpkg --configure -a:", err)
	}
	return get.Run(context.Background(), args...)
}

func isObstacle(failed error) bool {
	var e *apt.Error
	return errors.As(failed, &e) && e.Obstacle()
}
