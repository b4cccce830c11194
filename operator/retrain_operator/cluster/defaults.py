"""What the API server adds to the Jobs and pods it is given, as far as the operator or a person would notice. Seen on 1.36."""

from retrain_operator.cluster.protocol import Body


def job_defaults(job: Body, stored: Body | None) -> Body:
    uid, name = job["metadata"]["uid"], job["metadata"]["name"]
    given = job["spec"]
    of_job = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    template = given["template"]
    metadata = template.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), **of_job}
    spec = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "suspend": False,
        "manualSelector": False,
        "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}},
        # With a failure policy a pod counts only once it has ended: how it ends decides what it counts as.
        "podReplacementPolicy": "Failed" if "podFailurePolicy" in given else "TerminatingOrFailed",
        **given,
        "template": {
            **template,
            "metadata": {**metadata, "labels": labels},
            "spec": {"terminationGracePeriodSeconds": 30, **template["spec"]},
        },
    }
    defaulted = {**job, "spec": spec}
    if stored is None:
        defaulted["status"] = {}
        if not job["metadata"].get("labels"):
            defaulted["metadata"] = {**job["metadata"], "labels": labels}
    return defaulted


def pod_defaults(pod: Body, stored: Body | None) -> Body:
    if stored is not None:
        return pod
    spec = {"restartPolicy": "Always", "terminationGracePeriodSeconds": 30, **pod["spec"]}
    return {**pod, "spec": spec, "status": {"phase": "Pending", "qosClass": "BestEffort"}}
