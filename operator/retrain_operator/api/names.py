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

# Annotations
ANNOTATION_CONFIG = f"{GROUP}/config"  # on the pod: spec.config, mounted as the trainer's file through the downward API

TRAINER_CONTAINER = "trainer"

SCHEDULE_NAME_MAX = 40  # "-" and eight digits of minutes leave room for "-r10" within a Job's 63 characters
RUN_NAME_MAX = 57  # a Job's name has at most 63 characters, and a retry appends "-r10" or longer


class Key(NamedTuple):
    """Namespace and name of one object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
