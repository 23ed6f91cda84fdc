// Package executor runs plans.
//
// An [Executor] starts a [Run] of a plan: each step starts the moment its own dependencies have succeeded, within a
// limit, longest remaining path first; a step that a policy gates waits for a [github.com/remedykit/remedy/approval.Decision] without
// holding anything; what happens is told to every [Observer] in order; what came out is a [Report], which can say of
// every step why it ended as it did. [Executor.Simulate] runs the same schedule on virtual time.
//
//	ex, err := executor.New(executor.Config{Handlers: handlers, Policy: approval.IncidentTable(), Approver: approver})
//	report, err := ex.Run(ctx, plan, executor.RunOptions{Confidence: approval.Confidence{Value: 0.85, Given: true}})
//
// # States
//
// A step is [Pending] until its dependencies have succeeded, then [WaitingApproval] if it is gated and not yet
// approved, then [Running] as soon as a slot is free, and ends as [Succeeded], [Failed], [Rejected], [Blocked] (a
// dependency did not succeed, or a limit kept its effect from being sent), [Cancelled] (the run stopped before it
// started), [Skipped] (a step that it depends on was rejected, and the run goes on), or [Unknown] (nobody can say whether
// it took effect). What was taken back is [RolledBack], what could not be is [RollbackFailed].
//
// The run fails when a mutating step or a verification gate fails, is rejected or can no longer run. Then no new
// mutating step starts and steps that nobody has approved are cancelled; what runs may finish, and reading steps whose
// dependencies succeeded still run, as do steps that are marked always once all that they depend on has ended. Any other failure leaves the run
// [RunSucceededWithWarnings].
//
// Config.OnFailure and Config.OnReject change that.
//
// # Attempts
//
// An attempt that failed with an error marked by [github.com/remedykit/remedy/actions.Transient], before its effect may
// have been sent, is followed by another; steps that only read are tried again in any case. A step that waits for its next
// attempt holds no slot. An effect that may have been sent is never sent again blindly.
//
// # Rollback
//
// When a run has failed, was cancelled or breached a [Guard], the steps that took effect, or may have, are undone: the
// undo of a step waits for those of all steps that depended on it or wrote the same object after it, and of those that
// could start, that of the step which ended last goes first. A rollback does not end with the caller's context but with its own
// clock, a failed undo holds up no other, and what somebody else has changed since is reported and not overwritten. With
// [RollbackManual] the [Report] says what could be undone and [Executor.Rollback] does it.
//
// # Journal
//
// With a [journal.Journal] every fact is durable before anything follows from it that the world can see: the intent before
// an effect, the question before it is asked, the event before observers hear of it. [Executor.Start] with the ID of a
// run that the journal has goes on with it, in the same process or another: what succeeded is not run again, approvals
// still count, and of a step that may have taken effect its Prober is asked, or else a person. A process that has lost
// its run to another has no later effect. [Replay] reads a run without going on with it.
//
// # Clocks
//
// A step's time-out runs while an attempt of it runs; its context ends with it. A handler that goes on although its context
// has ended is abandoned after the grace, and its step is Unknown. The run's clock stops while nothing runs and a gate
// waits. A gate's clock runs from the ask, and when it is up the answer is no.
//
// # Interrupt and cancel
//
// When the context given to [Executor.Start] ends the run is interrupted: nothing new starts, what runs is told
// so and gets the grace, nothing is undone, and a run with a journal can be resumed. [Executor.Cancel] ends a run for good: what runs is told so and gets the grace, too, but steps
// marked always still start, and go on when they run already. A cancel or an interrupt that keeps no step from
// succeeding does not count.
//
// # Concurrency
//
// All methods may be called from several goroutines, and by handlers, approvers and observers, which run outside every
// lock. Events of one run reach observers one after another, in the order in which things happened. A run owns one
// goroutine beside those that run its steps, call its approver and tell its observers; a run that waits for people owns
// no other.
package executor
