// Package kubefault classes what goes wrong between a client and an API server.
package kubefault

import (
	"errors"
	"net"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/remedykit/remedy/internal/directclient"
)

// Passes tells whether an error may be gone when the same is asked again. A certificate that is not trusted will not be trusted
// later, although the network says so too.
func Passes(err error) bool {
	if directclient.Untrusted(err) {
		return false
	}
	if apierrors.IsConflict(err) || apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return true
	}
	_, network := errors.AsType[net.Error](err)
	return network || utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err) || utilnet.IsHTTP2ConnectionLost(err)
}
