package farm

import (
	"context"
	"slices"
	"time"

	"binproxy/emu/config"
)

// renewal is how long Renew waits for another change of the image.
var renewal = 10 * time.Second

// Renew puts in place again what was replaced since Install, by programs that know nothing of
// links in place: a package manager, ln, mv. The newer files are kept, like by another Install of
// the same paths. What was removed, or is no guest program any more, stays as it is. An image in
// which nothing was replaced costs no more than a look at each place.
func Renew(cfg config.Config, shell string) error {
	j, err := readJournal(cfg.Dir)
	if err != nil {
		return err
	}
	scan := newScanner(cfg, shell)
	if !slices.ContainsFunc(j.replaced(cfg.Self()), func(place string) bool {
		f, ok := scan.look(place)
		return ok && f.routed()
	}) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), renewal)
	defer cancel()
	_, err = install(ctx, cfg, Options{Shell: shell, replaced: true})
	return err
}

// replaced are the places that have another file than the link to self.
func (j *journal) replaced(self string) []string {
	var found []string
	for _, place := range j.places {
		if !leadsTo(place, self) && exists(place) {
			found = append(found, place)
		}
	}
	return found
}
