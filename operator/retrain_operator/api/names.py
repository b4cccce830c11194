"""Names that users see: the API group, labels, annotations, and the key of one object."""

from typing import NamedTuple

GROUP = "retrain.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

# Labels, on RetrainJob, Job and pod alike, so that `kubectl get rtj,jobs,pods -l` answers with one selector.
LABEL_SCHEDULE = f"{GROUP}/schedule"  # spec.schedule: the RetrainSchedule that the run belongs to
LABEL_RUN = f"{GROUP}/run"  # the RetrainJob's name; on Job and pod
LABEL_TRIGGER = f"{GROUP}/trigger"  # spec.trigger: why the run exists
LABEL_ATTEMPT = f"{GROUP}/attempt"  # number of the attempt, from 1; on Job and pod
LABEL_WINDOW = f"{GROUP}/window"  # spec.window: the season or data window
LABEL_ROOT = f"{GROUP}/root"  # the first attempt's name; on retries, their Jobs and pods
LABEL_GUARD = f"{GROUP}/guard"  # hash of the guard key: at most one run with it has an unfinished Job; also on the guard's Lease
LABEL_GUARD_KEY = f"{GROUP}/guard-key"  # of a person's RetrainJob without a schedule: what it must not run beside
LABEL_ALLOW_READ = f"{GROUP}/allow-read"  # "true" on a Secret, by whoever owns it: a drift policy of the namespace may send its token
LABEL_SLOT = f"{GROUP}/slot"  # on a slot's ConfigMap: name of the slot
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"  # on a slot's ConfigMap: retrain-operator
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"  # spec.queueName, on the Job: Kueue admits it

# Annotations
ANNOTATION_REQUESTED_AT = f"{GROUP}/requestedAt"  # on a RetrainSchedule, by anybody: start a run now; each distinct value acts once
ANNOTATION_ROLLBACK_AT = f"{GROUP}/rollbackRequestedAt"  # on a RetrainSchedule: restore the slot's previous model; once for each value
ANNOTATION_RELEASE_AT = f"{GROUP}/releaseRequestedAt"  # on a RetrainSchedule: let models go live again after a rollback
ANNOTATION_DEPLOY_FROM = f"{GROUP}/deploy-from"  # on a target, by its owner: schedules, with commas, that may roll it out
ANNOTATION_MODEL_URI = f"{GROUP}/model-uri"  # on a target (a Deployment's pod template): where its model lies
ANNOTATION_MODEL_DIGEST = f"{GROUP}/model-sha256"  # on a target (a Deployment's pod template): sha256 of its model
ANNOTATION_MODEL_RUN = f"{GROUP}/model-run"  # on a target (a Deployment's pod template): RetrainJob that trained its model
ANNOTATION_SLOT = f"{GROUP}/slot"  # on a target: the slot's ConfigMap, and how often its model had changed when the target was last written
ANNOTATION_CONFIG = f"{GROUP}/config"  # on the pod: spec.config, mounted as the trainer's file through the downward API
ANNOTATION_HOLDER = f"{GROUP}/holder"  # on a guard's Lease: name of the root run that holds it

MANAGER = "retrain-operator"  # value of LABEL_MANAGED_BY
TRAINER_CONTAINER = "trainer"

SCHEDULE_NAME_MAX = 40  # "-" and eight digits of minutes leave room for "-r10" within a Job's 63 characters
RUN_NAME_MAX = 57  # a Job's name has at most 63 characters, and a retry appends "-r10" or longer
RETRY_NAME_MAX = 61  # with "-r99"


class Key(NamedTuple):
    """Namespace and name of one object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
