package slack

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/slack-go/slack"
)

// A dialog is what one that asks for a reason has to know when it comes back.
type dialog struct {
	Channel string `json:"channel"`
	Value   string `json:"value"`
}

const inputReason = "reason"

// view asks for the reason of a no.
func (d dialog) view(t token) (slack.ModalViewRequest, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(d); err != nil {
		return slack.ModalViewRequest{}, fmt.Errorf("slack: %w", err)
	}
	input := slack.NewPlainTextInputBlockElement(nil, inputReason)
	input.Multiline, input.MaxLength = true, maxReason
	reason := slack.NewInputBlock(inputReason, plain("Reason, which everybody will see", mostHeader), nil, input)
	reason.Optional = true
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: actionReject, PrivateMetadata: b.String(),
		Title: plain("Reject", mostHeader), Submit: plain("Reject", mostHeader), Close: plain("Cancel", mostHeader),
		Blocks: slack.Blocks{BlockSet: []slack.Block{slack.NewRichTextBlock("", section(literal("No to "+t.String()+".", 300))), reason}},
	}, nil
}
