"""Reasons that users see in conditions, decisions and events. One CamelCase word each, and each the subject of a test row."""

# Ready of a RetrainSchedule
SCHEDULING = "Scheduling"  # True: the spec is accepted and ticks are taken
SUSPENDED = "Suspended"  # True: accepted, but spec.suspend holds automatic starts; also a tick that was due meanwhile
INVALID_SPEC = "InvalidSpec"  # False: the spec cannot work as it stands
RUN_REFUSED = "RunRefused"  # False: the API server refuses the RetrainJobs made from jobTemplate

# A tick
SCHEDULED = "Scheduled"  # Run: it made its RetrainJob
CONCURRENCY_FORBID = "ConcurrencyForbid"  # Wait or Skip: a run of the schedule was unfinished
DEADLINE_MISSED = "DeadlineMissed"  # Skip: later than startingDeadlineSeconds
SUPERSEDED = "Superseded"  # Skip: a newer tick was due as well, and the newest is the one that runs
NAME_TAKEN = "NameTaken"  # Skip: the run's name belongs to something else; also a run whose Job's name does
CONCURRENCY_QUEUE = "ConcurrencyQueue"  # Wait: a run of the schedule is unfinished, and concurrencyPolicy is Queue
CATCHING_UP = "CatchingUp"  # Wait: missed ticks run one after another, under missedRunPolicy All
MISSED = "Missed"  # Skip: nobody looked at it within a minute, and missedRunPolicy is Skip
PAUSED = "Paused"  # Skip: too many runs failed in a row, see suspendAfterFailures; also Ready (True) meanwhile
DRY_RUN = "DryRun"  # Skip: it would have made its RetrainJob, but dryRun is set
TOO_MANY_MISSED_TICKS = "TooManyMissedTicks"  # event: more than a hundred ticks were missed

# A request to start a run by hand; a tick's reasons as well
REQUESTED = "Requested"  # Run: it made its RetrainJob
WITHDRAWN = "Withdrawn"  # Skip: the annotation was taken back before the run could start

# Paused of a RetrainSchedule
TOO_MANY_FAILURES = "TooManyFailures"  # True: as many runs in a row failed as suspendAfterFailures says
RESUMED = "Resumed"  # False: a run went well, or the spec was edited; also the event

# DriftDetected of a RetrainSchedule; also the events of a change
DRIFTED = "Drifted"  # True: a signal of the policy fires
NO_DRIFT = "NoDrift"  # False: every signal was read, and none fires
SIGNAL_UNREADABLE = "SignalUnreadable"  # Unknown: none fires, and one cannot be read; also the event of each that cannot
SIGNAL_READABLE = "SignalReadable"  # event: a signal can be read again

# Ready of a RetrainJob
PENDING = "Pending"  # False: its Job exists, its pod does not run yet
POD_NOT_RUNNING = "PodNotRunning"  # False: its pod did not run within half a minute; the message says why
QUEUED = "Queued"  # False: its Job is suspended, by a queueing system
RUNNING = "Running"  # False: its pod runs
COMPLETED = "Completed"  # True: trained, or simulated
SKIPPED = "Skipped"  # True: there was nothing to do; the trainer's own reason stands in the result
FAILED = "Failed"  # False: failed, where nothing more precise is known

# A failed run
CONTRACT_VIOLATION = "ContractViolation"  # it ended well, but without an answer as the contract asks for
RESULT_LOST = "ResultLost"  # its Job ended well, but the pod with the answer is gone
POD_LOST = "PodLost"  # its Job failed, and the pod that would say why is gone
DEADLINE_EXCEEDED = "DeadlineExceeded"  # it took longer than activeDeadlineSeconds
JOB_DELETED = "JobDeleted"  # somebody deleted its Job before it finished
OUT_OF_MEMORY = "OutOfMemory"  # the kernel killed it for its memory limit
START_ERROR = "StartError"  # its container could not start, e.g. for a command that the image does not have
JOB_REFUSED = "JobRefused"  # the API server refuses its Job
PENDING_DEADLINE_EXCEEDED = "PendingDeadlineExceeded"  # its pod did not run within pendingDeadlineSeconds
REPLACED = "Replaced"  # a newer run was made to replace it

# A run that does not start
DUPLICATE_GUARD = "DuplicateGuard"  # Skipped: another run of the same schedule and window has not finished
REPLACING = "Replacing"  # Pending: the run that it replaces is being ended
GUARD_ENDING = "GuardEnding"  # Pending: the Job of a run that was deleted is not gone yet, or its pod has not ended
STOPPING = "Stopping"  # Pending or Running: it is being ended before its time, or its Job is gone and its pod has not ended

# Deployed of a RetrainJob; most are events as well
DEPLOYING = "Deploying"  # Unknown: the model is trained, and it is being decided whether it goes live
ROLLING_OUT = "RollingOut"  # Unknown: the slot has the model, and its targets are being rolled out
ROLLING_BACK = "RollingBack"  # Unknown: the rollout took too long, and the targets are being rolled back to the model before
DEPLOYED = "Deployed"  # True: the slot has the model, and all targets were seen to serve it
GATE_FAILED = "GateFailed"  # False: a gate did not pass; the message has the comparison
HELD_BY_ROLLBACK = "HeldByRollback"  # False: a rollback holds deploys until a run with other data, or until it is released
NEWER_DEPLOYED = "NewerDeployed"  # False: a newer run's model went live before it, or a newer run replaces this one
SLOT_TAKEN = "SlotTaken"  # False: a ConfigMap with the slot's name is not ours
SLOT_UNREADABLE = "SlotUnreadable"  # False: somebody edited the slot's record, and it cannot be read
SLOT_UNNAMED = "SlotUnnamed"  # False: a run without a schedule and without a guard-key label has no slot
TARGET_NOT_FOUND = "TargetNotFound"  # False: a target does not exist, or its kind is not served
TARGET_NOT_OPTED_IN = "TargetNotOptedIn"  # False: a target does not name the schedule in its annotation retrain.dev/deploy-from
TARGET_UNFIT = "TargetUnfit"  # False: an InferenceService has no spec.predictor.model to set storageUri in
DEPLOY_REFUSED = "DeployRefused"  # False: the API server refuses the write to the slot or to a target
ROLLOUT_TIMEOUT = "RolloutTimeout"  # False: a target did not serve the model within rolloutTimeoutSeconds
ROLLED_BACK = "RolledBack"  # False: somebody rolled the model back before its rollout was complete; also events of rollbacks

# Rollback of a slot, events on the RetrainSchedule
ROLLBACK_IMPOSSIBLE = "RollbackImpossible"  # there is nothing to go back to
ROLLBACK_TIMEOUT = "RollbackTimeout"  # a target did not serve the restored model in time
RELEASED = "Released"  # a rollback holds no deploys any more

# Events
RUN_CREATED = "RunCreated"  # on the schedule: a tick, a request or drift made a RetrainJob
RUN_ACCEPTED = "RunAccepted"  # on a run that a person or Git made: its Job was made
RUN_STARTED = "RunStarted"  # on the run: its pod runs
RETRY_CREATED = "RetryCreated"  # on a failed attempt: the next one was made
RETRY_GIVEN_UP = "RetryGivenUp"  # on a failed attempt: the next one cannot be made, and why
TICK_WAITS = "TickWaits"  # on the schedule: a run of it is unfinished
TICK_SKIPPED = "TickSkipped"  # on the schedule: a tick made no run, and why
NOTIFICATION_FAILED = "NotificationFailed"  # on the run: a webhook could not be told, and why
CREATE_FAILED = "CreateFailed"  # a missing right or quota, or creates fail and fail; tried again. Also Ready (False), and a tick's Wait
RECONCILE_FAILED = "ReconcileFailed"  # what is to be done about an object is refused, or fails by a bug; it is tried again
