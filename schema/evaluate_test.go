package schema_test

import (
	"context"
	"encoding/json"
	"fmt"

	"clusterpair.dev/internal/defect"
	"clusterpair.dev/internal/helper"
	"clusterpair.dev/schema"
	"clusterpair.dev/schema/cuepolicy"
)

// Each question goes through JSON, as it does between two programs.
func init() {
	var shelf cuepolicy.Shelf
	operations := map[string]helper.Operation{
		schema.LoadOperation:     helper.Does(shelf.Load),
		schema.EvaluateOperation: helper.Does(shelf.Evaluate),
	}
	schema.SetTestAsk(func(operation string, in, out any) error {
		body, err := json.Marshal(in)
		if err != nil {
			return err
		}
		var answer any
		err = defect.Safely(operation, func() (err error) {
			answer, err = operations[operation](context.Background(), body)
			return err
		})
		if err != nil {
			return err
		}
		if body, err = json.Marshal(answer); err != nil {
			return fmt.Errorf("%s: %w", operation, err)
		}
		return json.Unmarshal(body, out)
	})
}
