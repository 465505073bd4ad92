package judge

import (
	"os"
	"testing"

	"clusterpair.dev/internal/helper/helpertest"
)

func TestMain(m *testing.M) {
	helpertest.Main()
	os.Exit(m.Run())
}
