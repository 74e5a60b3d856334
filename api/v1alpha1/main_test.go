package v1alpha1_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/testenv"
)

// env is the API server that the tests of this package share.
var env *testenv.Env

func TestMain(m *testing.M) {
	testenv.Main(m, &env)
}

// strictClient returns a client whose requests fail if an object has a field that the API does not know.
func strictClient(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := rollcallv1alpha1.AddToScheme(scheme); err != nil {
		t.Fatalf("add the types to a scheme: %v", err)
	}
	c, err := client.New(env.Config, client.Options{Scheme: scheme, FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		t.Fatalf("make a client: %v", err)
	}
	return c
}
