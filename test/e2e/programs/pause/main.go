// Pause holds the namespaces of a pod: it sleeps until it is told to end. It is the whole of the image that the
// container runtime starts first in every pod.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	<-ended
}
