package executor

import "time"

type factKind uint8

const (
	factStarted      factKind = iota // step
	factEnded                        // step, status, reason, effect
	factAsked                        // step or planGate
	factApproved                     // step or planGate
	factRejected                     // step or planGate, reason
	factVoted                        // step or planGate: a yes that does not decide yet
	factEscalated                    // step or planGate: others were told as well
	factAnnounced                    // step or planGate: an Approver has taken the request
	factVoided                       // step: what its gate was asked about has changed, and it is to be asked again
	factHalted                       // reason: the run is cancelled, interrupted or out of time
	factRetry                        // step, until: an attempt failed and there will be another
	factDue                          // step: it has waited for its next attempt
	factDoubted                      // step: its outcome is unknown, and a person is to be asked
	factBegun                        // step, harmless: its effect is about to be sent
	factUndoStarted                  // step
	factUndoEnded                    // step, status, reason
	factRollback                     // what can be undone and is not, is to be, once the run has ended
	factRollbackOver                 // the rollback's clock has run out
	factResumed                      // another process goes on with the run
	factRefused                      // step: the dry run says that it would fail; nothing has started
)

// A fact is something that happened.
type fact struct {
	step   int32
	kind   factKind
	status Status
	reason Reason
	effect effectMark
	at     time.Duration
	until  time.Duration
}

// An effectMark says what is known of the effect of a step that ran.
type effectMark uint8

const (
	notBegun    effectMark = iota
	mayHappened            // it may have been sent
	noTrace                // it may have been sent, and left nothing to undo
)

// A transition is what observers are told of: a fact, or a step that ended because of one.
type transition struct {
	at      time.Duration
	step    int32
	kind    eventCode
	attempt uint8
	status  Status // of the step, after it
	reason  Reason
}
