package schema

// A field of a recommendation.
type field uint8

const (
	fieldUnknown field = iota
	fieldID
	fieldAction
	fieldDescription
	fieldConfidence
	fieldParameters
	fieldDependencies
	fieldRationale
	fieldRisk
	fieldRequiresApproval
	fieldTarget
	fieldName
	fieldTimeout
	fieldCount
)

// fieldNames are the canonical names.
var fieldNames = [fieldCount]string{
	"", "id", "action", "description", "confidence", "parameters", "dependencies", "rationale", "risk",
	"requiresApproval", "targetResource", "name", "timeout",
}

// canonicalField returns the field that a canonical name names.
func canonicalField(name string) field {
	switch name {
	case "id":
		return fieldID
	case "action":
		return fieldAction
	case "description":
		return fieldDescription
	case "confidence":
		return fieldConfidence
	case "parameters":
		return fieldParameters
	case "dependencies":
		return fieldDependencies
	case "rationale":
		return fieldRationale
	case "risk":
		return fieldRisk
	case "requiresApproval":
		return fieldRequiresApproval
	case "targetResource":
		return fieldTarget
	case "name":
		return fieldName
	case "timeout":
		return fieldTimeout
	}
	return fieldUnknown
}

// lookUpField returns the field that any declared spelling names.
func lookUpField(name string) field {
	if len(name) > 40 {
		return fieldUnknown
	}
	switch foldName(name) {
	case "id", "stepnumber":
		return fieldID
	case "action", "actiontype":
		return fieldAction
	case "description":
		return fieldDescription
	case "confidence", "prob", "probability", "effectivenessprobability":
		return fieldConfidence
	case "parameters", "params":
		return fieldParameters
	case "dependencies", "deps", "dependson":
		return fieldDependencies
	case "rationale", "why", "explanation", "reasoning":
		return fieldRationale
	case "risk", "risklevel":
		return fieldRisk
	case "requiresapproval", "approvalrequired", "needsapproval":
		return fieldRequiresApproval
	case "targetresource", "target":
		return fieldTarget
	case "name":
		return fieldName
	case "timeout":
		return fieldTimeout
	}
	return fieldUnknown
}

// isStepNumber tells the spelling of an id that is a number.
func isStepNumber(name string) bool { return foldName(name) == "stepnumber" }

// suggestField returns the canonical name of the field that a misspelled name probably means.
func suggestField(name string) string {
	spelled := nearest(name, append(fieldNames[1:], "stepNumber", "actionType", "probability", "params", "dependsOn", "deps",
		"explanation", "reasoning", "riskLevel", "approvalRequired", "needsApproval", "target")...)
	return fieldNames[lookUpField(spelled)]
}
