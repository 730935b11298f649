package applet

import (
	"fmt"
	"os"
)

// platforms are the variables that name the platform of a build: BuildKit's, in a stage that has
// it as ARG, and the one that sets the default of `docker build --platform`.
var platforms = [...]string{"TARGETPLATFORM", "DOCKER_DEFAULT_PLATFORM"}

// Guest parses the value of --arch, or if that is empty, the first variable that is set. If none
// is, it gives the zero value.
func Guest[T any](named string, parse func(string) (T, error)) (guest T, err error) {
	if named != "" {
		return parse(named)
	}
	for _, variable := range platforms {
		if said := os.Getenv(variable); said != "" {
			if guest, err = parse(said); err != nil {
				err = fmt.Errorf("%s=%s: %w", variable, said, err)
			}
			break
		}
	}
	return guest, err
}
