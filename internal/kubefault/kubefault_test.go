package kubefault_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/remedykit/remedy/internal/kubefault"
)

// refused is the error of a client whose API server answers with a status.
func refused(t *testing.T, status int, reason metav1.StatusReason) error {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, status)
	}))
	defer s.Close()
	return list(t, &rest.Config{Host: s.URL})
}

func list(t *testing.T, config *rest.Config) error {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	_, err = client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	require.Error(t, err)
	return fmt.Errorf("list pods: %w", err)
}

func TestWhatPassesIsAskedAgain(t *testing.T) {
	for status, reason := range map[int]metav1.StatusReason{409: metav1.StatusReasonConflict, 410: metav1.StatusReasonExpired, 500: metav1.StatusReasonInternalError, 504: metav1.StatusReasonTimeout} {
		require.True(t, kubefault.Passes(refused(t, status, reason)), status)
	}
	require.True(t, kubefault.Passes(refused(t, 410, metav1.StatusReasonGone)), "what a list goes on from is no longer kept")
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	require.True(t, kubefault.Passes(list(t, &rest.Config{Host: closed.URL})))
	for _, final := range []error{
		refused(t, 401, metav1.StatusReasonUnauthorized), refused(t, 403, metav1.StatusReasonForbidden), refused(t, 404, metav1.StatusReasonNotFound), refused(t, 422, metav1.StatusReasonInvalid),
		apierrors.NewBadRequest("no"), apierrors.NewAlreadyExists(schema.GroupResource{}, "x"), errors.New("something"),
	} {
		require.False(t, kubefault.Passes(final), final)
	}
	require.False(t, kubefault.Passes(nil))
}

func TestACertificateThatIsNotTrustedDoesNotPass(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	unknown := list(t, &rest.Config{Host: s.URL})
	require.ErrorContains(t, unknown, "certificate signed by unknown authority")
	require.False(t, kubefault.Passes(unknown))
	other := &rest.Config{Host: s.URL, TLSClientConfig: rest.TLSClientConfig{CAData: pemOf(s), ServerName: "elsewhere"}}
	require.False(t, kubefault.Passes(list(t, other)), "nor one for another name")
}

func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
