package cel

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/remedykit/remedy/approval"
)

// The bounds of a condition.
const (
	// CostLimit bounds what one evaluation may do, in CEL's units of cost: about one for each part of the expression that is
	// looked at, each turn of a macro, and each ten characters that are compared. A condition that would go beyond it has failed.
	CostLimit = 100_000
	// LengthLimit is the most characters of a condition.
	LengthLimit = 4096
)

// The bounds that only a condition of ill will reaches.
const (
	depthLimit   = 64     // of brackets in brackets
	nestingLimit = 2      // of macros in macros
	regexLimit   = 10_000 // instructions of a compiled regular expression
)

// ParsePolicy reads a policy as approval.ParsePolicy does, and its conditions as CEL. Every fault is named with its line, those of
// conditions with their character too.
func ParsePolicy(data []byte) (*approval.Policy, error) {
	return approval.ParsePolicy(data, Compile)
}

// Compile reads a condition; it is an [approval.Compiler]. plan tells that the rule is about the plan as a whole, so that there is
// no step. The Condition is safe for concurrent use.
//
// The error names the first fault, and has a method Position() (line, column int), both from 1.
func Compile(when string, plan bool) (approval.Condition, error) {
	env, err := environment(plan)
	if err != nil {
		return nil, fmt.Errorf("cel: %w", err)
	}
	ast, issues := env.Compile(when)
	if err := issues.Err(); err != nil {
		return nil, explain(issues.Errors(), err, plan)
	}
	if !ast.OutputType().IsExactType(types.BoolType) {
		return nil, &fault{1, 1, fmt.Sprintf("the condition is %s; it must be true or false%s", ast.OutputType(), hint(ast.OutputType()))}
	}
	cost, err := env.EstimateCost(ast, sizes{})
	if err != nil {
		return nil, fmt.Errorf("cel: %w", err)
	}
	if cost.Min > CostLimit {
		return nil, &fault{1, 1, fmt.Sprintf("the condition costs at least %d whatever the plan, and %d is the most", cost.Min, CostLimit)}
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(CostLimit))
	if err != nil {
		return nil, &fault{1, 1, oneLine(err.Error())}
	}
	return condition{program}, nil
}

func environment(plan bool) (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.ParserExpressionSizeLimit(LengthLimit),
		cel.ParserRecursionLimit(depthLimit),
		cel.RegexProgramSizeLimit(regexLimit),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.ASTValidators(
			cel.ValidateTimestampLiterals(),
			cel.ValidateDurationLiterals(),
			cel.ValidateRegexLiterals(),
			cel.ValidateComprehensionNestingLimit(nestingLimit),
			zoneLiterals{},
		),
	}
	return cel.NewEnv(append(options, vocabulary(plan)...)...)
}

type condition struct{ program cel.Program }

// Holds evaluates the condition.
func (c condition) Holds(s *approval.Subject) (bool, error) {
	v, _, err := c.program.Eval(activation{s})
	if err != nil {
		return false, err
	}
	b, ok := v.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the condition came out as %s and not as true or false", v.Type().TypeName())
	}
	return bool(b), nil
}
