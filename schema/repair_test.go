package schema_test

import (
	"fmt"

	"github.com/remedykit/remedy/schema"
)

func repairLine(r schema.Repair) string {
	return fmt.Sprintf("%d:%d: repaired: %s: %s @ %s", r.Line, r.Column, r.Kind, r.Message, r.Pointer)
}
