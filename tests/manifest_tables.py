"""Manifests that must be refused or accepted when they are applied: by a real API server, and by the models that stand in for one.

REFUSED_BY_RULE: both say the same words, because one `Rule` speaks for both. REFUSED_BY_SCHEMA: types, enums, ranges, names of fields; the
words are the API server's. REFUSED_BY_THE_API_SERVER_ALONE: what the models let pass. CHANGES: edits of a run that is there.
"""

from typing import Any

import pytest

Body = dict[str, Any]

ABSENT: Any = object()  # the value of a field that the manifest lacks
IMAGE = "ghcr.io/example/retrain-trainer:1.0"
POD_TEMPLATE = {
    "metadata": {"labels": {"team": "ml"}},
    "spec": {
        "containers": [
            {"name": "trainer", "image": IMAGE, "env": [{"name": "SEED", "value": "1"}]},
            {"name": "proxy", "image": "proxy:1", "env": [{"name": "RETRAIN_SIDE", "value": "not the trainer's"}]},
        ]
    },
}


_REF = {"name": "config", "key": "config.json"}


def _present(fields: Body) -> Body:
    return {name: value for name, value in fields.items() if value is not ABSENT}


def template(**fields: Any) -> Body:
    return _present({"trainer": {"image": IMAGE}, **fields})


def schedule(*, name: str = "churn", of_runs: Body | None = None, labels: Body | None = None, **fields: Any) -> Body:
    """A RetrainSchedule. of_runs, labels: spec and labels of its jobTemplate."""
    job_template = {"spec": template() if of_runs is None else of_runs} | ({"metadata": {"labels": labels}} if labels else {})
    return {
        "apiVersion": "retrain.dev/v1alpha1",
        "kind": "RetrainSchedule",
        "metadata": {"name": name},
        "spec": _present({"schedule": "0 2 * * 0", "jobTemplate": job_template, **fields}),
    }


def run(*, name: str = "once", **fields: Any) -> Body:
    """A RetrainJob."""
    return {"apiVersion": "retrain.dev/v1alpha1", "kind": "RetrainJob", "metadata": {"name": name}, "spec": template(**fields)}


def signal(**fields: Any) -> Body:
    """A signal of a drift policy."""
    return _present({"name": "psi", "configMap": _REF, "above": 0.2, **fields})


def policy(*signals: Body, **fields: Any) -> Body:
    """A RetrainSchedule with a drift policy and no cron."""
    return schedule(schedule=ABSENT, policy={"signals": list(signals), **fields})


def pod_template(*containers: Body) -> Body:
    return {"podTemplate": {"spec": {"containers": list(containers)}}}


_FIVE_FIELDS = ["spec.schedule", "write five cron fields 'minute hour day-of-month month day-of-week', e.g. '0 2 * * 0'", "@daily"]
_TO_TIME_ZONE = ["spec.schedule", "put the time zone into spec.timeZone"]
_WINDOW = ["spec.window", "write letters, digits, '-', '_' and '.' only", "e.g. 2025-26"]
_SPEC = "spec.jobTemplate.spec"
_CONTRACT = "variables that start with RETRAIN_ belong to the trainer contract: choose another name"
_ALONE = "podTemplate stands alone: move image, env, resources and the other fields into its container 'trainer'"
_QUANTITY = "write quantities as Kubernetes takes them, e.g. cpu: 500m and memory: 4Gi"

_SIGNALS = "spec.policy.signals"
_ONE_SOURCE = "set exactly one of configMap, prometheus, lastRun and staleness"


def _deploying(**deploy: Any) -> Body:
    return schedule(of_runs=template(deploy={"slot": "production"} | deploy))


REFUSED_BY_RULE = [
    pytest.param(
        run(data={"uri": "s3://lake/x", "maxAgeSeconds": 3600}),
        ["spec.data", "set data.check: Skip beside data.maxAgeSeconds"],
        id="maxAgeSeconds without the check",
    ),
    pytest.param(
        run(data={"uri": "postgresql://reader:hunter2@db/shop", "format": "sql"}),
        ["spec.data", "leave the password out of data.uri"],
        id="a database's password",
    ),
    pytest.param(schedule(schedule="0 2 * *"), _FIVE_FIELDS, id="four cron fields"),
    pytest.param(schedule(schedule="0 0 2 * * 0"), [*_FIVE_FIELDS, "seconds are not supported"], id="six cron fields: seconds"),
    pytest.param(schedule(schedule=""), _FIVE_FIELDS, id="empty schedule"),
    pytest.param(schedule(schedule="@reboot"), [*_FIVE_FIELDS, "@hourly @daily @weekly @monthly @yearly"], id="@reboot"),
    pytest.param(schedule(schedule="@every 1h"), _FIVE_FIELDS, id="@every"),
    pytest.param(schedule(schedule="TZ=Europe/London 0 2 * * 0"), _TO_TIME_ZONE, id="TZ= in the schedule"),
    pytest.param(schedule(schedule="CRON_TZ=Europe/London 0 2 * * 0"), _TO_TIME_ZONE, id="CRON_TZ= in the schedule"),
    pytest.param(schedule(schedule="61 * * * *"), ["spec.schedule", "minute: write 0 to 59"], id="minute 61"),
    pytest.param(schedule(schedule="0 24 * * *"), ["spec.schedule", "hour: write 0 to 23"], id="hour 24"),
    pytest.param(schedule(schedule="* * 32 * *"), ["spec.schedule", "day of month: write 1 to 31"], id="day 32"),
    pytest.param(schedule(schedule="0 2 1 13 *"), ["spec.schedule", "month: write 1 to 12 or JAN to DEC"], id="month 13"),
    pytest.param(schedule(schedule="0 2 * * 8"), ["spec.schedule", "day of week: write 0 to 7 or SUN to SAT"], id="weekday 8"),
    pytest.param(schedule(schedule="0 2 L * *"), ["spec.schedule", "day of month: write", "not R, L, W, # or ?"], id="L: last day"),
    pytest.param(schedule(timeZone="Local"), ["spec.timeZone", "name an IANA time zone such as Europe/London"], id="timeZone Local"),
    pytest.param(schedule(timeZone="Europe London"), ["spec.timeZone", "name an IANA time zone"], id="timeZone with a blank"),
    pytest.param(schedule(timeZone=""), ["spec.timeZone", "name an IANA time zone"], id="timeZone empty"),
    pytest.param(schedule(window="2025/26"), _WINDOW, id="window that is no label value"),
    pytest.param(run(window="2025-"), _WINDOW, id="a run's window that ends in a dash"),
    pytest.param(schedule(name="c" * 41), ["choose a name of at most 40 characters"], id="schedule name of 41 characters"),
    pytest.param(run(name="c" * 58), ["choose a name of at most 57 characters"], id="run name of 58 characters"),
    pytest.param(
        run(schedule="Churn!"), ["spec.schedule", "write the name of a RetrainSchedule"], id="run of a schedule with no such name"
    ),
    pytest.param(schedule(labels={"team": "a team"}), ["jobTemplate.metadata.labels", "write labels as Kubernetes"], id="label value"),
    pytest.param(schedule(labels={"a team": "ml"}), ["jobTemplate.metadata.labels", "write labels as Kubernetes"], id="label key"),
    pytest.param(schedule(of_runs=template(trainer={})), [f"{_SPEC}.trainer", "set trainer.image"], id="no image"),
    pytest.param(
        schedule(of_runs=template(trainer={"image": IMAGE, "podTemplate": POD_TEMPLATE})),
        [f"{_SPEC}.trainer", _ALONE],
        id="image and podTemplate",
    ),
    pytest.param(run(trainer={"env": [], "podTemplate": POD_TEMPLATE}), ["spec.trainer", _ALONE], id="env and podTemplate"),
    pytest.param(
        run(trainer=pod_template({"name": "main", "image": IMAGE})),
        ["spec.trainer.podTemplate", "name the container that trains 'trainer'"],
        id="podTemplate without a container named trainer",
    ),
    pytest.param(
        run(trainer=pod_template({"name": "trainer", "env": [{"name": "RETRAIN_MODE", "value": "x"}]})),
        ["spec.trainer.podTemplate", _CONTRACT],
        id="RETRAIN_ variable in a podTemplate",
    ),
    pytest.param(
        run(trainer={"image": IMAGE, "env": [{"name": "RETRAIN_RUN_ID", "value": "7"}]}),
        ["spec.trainer.env", _CONTRACT],
        id="RETRAIN_ variable",
    ),
    pytest.param(
        run(trainer={"image": IMAGE, "env": [{"name": "KEY", "value": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
        ["spec.trainer.env", "set value or valueFrom, not both"],
        id="variable with value and valueFrom",
    ),
    pytest.param(
        run(trainer={"image": IMAGE, "resources": {"limits": {"memory": "4GB"}}}),
        ["spec.trainer.resources.limits", _QUANTITY],
        id="quantity in GB",
    ),
    pytest.param(
        schedule(of_runs=template(config={"task": "tabular"}, configFrom={"configMapKeyRef": _REF})),
        [_SPEC, "set config or configFrom, not both"],
        id="config and configFrom",
    ),
    pytest.param(
        schedule(of_runs=template(config={"task": "tabular", "params": {"max_iter": 9}})),
        [_SPEC, "without retune the model configuration is required: give config.estimator for task tabular"],
        id="task tabular without estimator and without retune",
    ),
    pytest.param(
        run(config={"task": "recommender"}, retune=ABSENT),
        ["spec", "config.algorithm for task recommender", "or set retune"],
        id="task recommender without algorithm and without retune",
    ),
    pytest.param(run(retune={"storage": "s3://b/tuning"}), ["spec.retune.storage", "name a folder on a volume"], id="retune storage on S3"),
    pytest.param(run(retune={"storage": "tuning"}), ["spec.retune.storage", "e.g. file:///tuning"], id="retune storage without a root"),
    pytest.param(
        run(retune={"metric": "roc auc"}), ["spec.retune.metric", "write the name of one metric, e.g. roc_auc"], id="retune metric"
    ),
    pytest.param(
        run(configFrom={"configMapKeyRef": _REF, "secretKeyRef": _REF}),
        ["spec.configFrom", "set exactly one of configFrom.configMapKeyRef and configFrom.secretKeyRef"],
        id="configFrom both",
    ),
    pytest.param(run(configFrom={}), ["spec.configFrom", "set exactly one of configFrom.configMapKeyRef"], id="configFrom nothing"),
    pytest.param(schedule(schedule=ABSENT), ["spec", "set schedule, policy or both"], id="neither schedule nor policy"),
    pytest.param(policy(signal(name="PSI")), [_SIGNALS, "write a name of lower-case letters"], id="signal in capitals"),
    pytest.param(policy(signal(configMap=ABSENT)), [_SIGNALS, _ONE_SOURCE], id="signal of nothing"),
    pytest.param(policy(signal(lastRun={"metric": "roc_auc"})), [_SIGNALS, _ONE_SOURCE], id="signal of two sources"),
    pytest.param(policy(signal(above=ABSENT)), [_SIGNALS, "set above, below or both"], id="signal without threshold"),
    pytest.param(
        policy(signal(configMap=ABSENT, staleness={"maxAgeSeconds": 60})),
        [_SIGNALS, "staleness has maxAgeSeconds as its threshold"],
        id="staleness with a threshold",
    ),
    pytest.param(policy(signal(below=0.3)), [_SIGNALS, "set below no higher than above"], id="signal that always fires"),
    *(
        pytest.param(
            policy(signal(configMap=ABSENT, prometheus={"url": url, "query": "up"})), [_SIGNALS, "write the server's base URL"], id=url
        )
        for url in (
            "http://user:secret@prometheus:9090",
            "http://prometheus:9090@169.254.169.254",
            "http://prometheus:9090/?x=1",
            "http://prometheus:9090#169.254.169.254",
            "http:\\\\prometheus:9090",
            "ftp://prometheus:9090",
            "file:///etc/passwd",
            "prometheus:9090",
        )
    ),
    pytest.param(_deploying(slot="Production"), [f"{_SPEC}.deploy.slot", "write lowercase letters, digits and '-'"], id="slot in capitals"),
    pytest.param(
        _deploying(gates=[{"metric": "auc"}]),
        [f"{_SPEC}.deploy.gates", "say what the metric must show: set min, max, minImprovement or minSamples"],
        id="a gate that asks for nothing",
    ),
    pytest.param(
        _deploying(gates=[{"metric": "auc", "min": 0.9, "max": 0.8}]),
        [f"{_SPEC}.deploy.gates", "set min to at most max"],
        id="a gate that nothing passes",
    ),
    pytest.param(
        _deploying(gates=[{"metric": "auc", "min": 0, "relative": True}]),
        [f"{_SPEC}.deploy.gates", "set minImprovement beside relative"],
        id="relative without minImprovement",
    ),
    pytest.param(
        _deploying(targets=[{"kind": "Deployment", "name": "Churn API"}]),
        [f"{_SPEC}.deploy.targets", "write the name of an object in the run's namespace"],
        id="a target that is no name",
    ),
    pytest.param(
        _deploying(autoRollback=True), [f"{_SPEC}.deploy", "name targets beside autoRollback"], id="autoRollback with nothing to roll back"
    ),
]

_REQUIRED = "Required value"
REFUSED_BY_SCHEMA = [
    pytest.param(schedule(jobTemplate=ABSENT), "spec.jobTemplate", _REQUIRED, id="no jobTemplate"),
    pytest.param(schedule(of_runs=template(trainer=ABSENT)), f"{_SPEC}.trainer", _REQUIRED, id="no trainer"),
    pytest.param(run(trainer=ABSENT), "spec.trainer", _REQUIRED, id="a run without trainer"),
    pytest.param(run(data={"format": "csv"}), "spec.data.uri", _REQUIRED, id="data without uri"),
    pytest.param(run(output={}), "spec.output.uri", _REQUIRED, id="output without uri"),
    pytest.param(run(configFrom={"secretKeyRef": {"name": "config"}}), "spec.configFrom.secretKeyRef.key", _REQUIRED, id="key not named"),
    pytest.param(schedule(shedule="@daily"), "spec.shedule", 'unknown field "spec.shedule"', id="unknown field"),
    pytest.param(
        run(trainer={"image": IMAGE, "gpu": 1}), "spec.trainer.gpu", 'unknown field "spec.trainer.gpu"', id="unknown field of the trainer"
    ),
    pytest.param(schedule(schedule=5), "spec.schedule", "must be of type string", id="a number as schedule"),
    pytest.param(schedule(suspend="yes"), "spec.suspend", "must be of type boolean", id="a text as suspend"),
    pytest.param(
        schedule(successfulJobsHistoryLimit="3"), "spec.successfulJobsHistoryLimit", "must be of type integer", id="a text as limit"
    ),
    pytest.param(run(config=["tabular"]), "spec.config", "must be of type object", id="a list as config"),
    pytest.param(
        run(trainer={"image": IMAGE, "resources": {"limits": {"cpu": 0.5}}}),
        "spec.trainer.resources.limits.cpu",
        "must be of type integer,string",
        id="a fraction as quantity",
    ),
    pytest.param(run(scheduledTime="tonight"), "spec.scheduledTime", "must be of type date-time", id="a text as time"),
    pytest.param(run(scheduledTime="2026-01-04T02:00:00+99:00"), "spec.scheduledTime", "should match", id="a time with an offset of days"),
    pytest.param(schedule(successfulJobsHistoryLimit=-1), "spec.successfulJobsHistoryLimit", "greater than or equal to 0", id="limit -1"),
    pytest.param(schedule(failedJobsHistoryLimit=-1), "spec.failedJobsHistoryLimit", "greater than or equal to 0", id="failed limit -1"),
    pytest.param(schedule(failedJobsHistoryLimit=1001), "spec.failedJobsHistoryLimit", "less than or equal to 1000", id="limit 1001"),
    pytest.param(schedule(startingDeadlineSeconds=9), "spec.startingDeadlineSeconds", "greater than or equal to 10", id="deadline 9 s"),
    pytest.param(run(activeDeadlineSeconds=0), "spec.activeDeadlineSeconds", "greater than or equal to 1", id="active deadline 0 s"),
    pytest.param(schedule(window="w" * 64), "spec.window", "may not be more than 63", id="window of 64 characters"),
    pytest.param(
        schedule(concurrencyPolicy="Wait"),
        "spec.concurrencyPolicy",
        'supported values: "Forbid", "Allow", "Replace", "Queue"',
        id="concurrencyPolicy Wait",
    ),
    pytest.param(
        schedule(missedRunPolicy="Oldest"),
        "spec.missedRunPolicy",
        'supported values: "Latest", "All", "Skip"',
        id="missedRunPolicy Oldest",
    ),
    pytest.param(schedule(maxCatchUp=0), "spec.maxCatchUp", "greater than or equal to 1", id="maxCatchUp 0"),
    pytest.param(schedule(maxCatchUp=101), "spec.maxCatchUp", "less than or equal to 100", id="maxCatchUp 101"),
    pytest.param(schedule(suspendAfterFailures=0), "spec.suspendAfterFailures", "greater than or equal to 1", id="suspendAfterFailures 0"),
    pytest.param(schedule(dryRun="yes"), "spec.dryRun", "must be of type boolean", id="a text as dryRun"),
    pytest.param(run(mode="DryRun"), "spec.mode", 'supported values: "Execute", "Simulate"', id="mode DryRun"),
    pytest.param(
        run(trigger="Mood"), "spec.trigger", 'supported values: "Schedule", "Manual", "Drift", "Retry"', id="trigger that there is not"
    ),
    pytest.param(policy(), "spec.policy.signals", "should have at least 1 items", id="policy without signals"),
    pytest.param(policy(*(signal(name=f"s{i}") for i in range(17))), "spec.policy.signals", "must have at most 16 items", id="17 signals"),
    pytest.param(policy(signal(), signal()), "spec.policy.signals", "Duplicate value", id="two signals of one name"),
    pytest.param(policy(signal(), intervalSeconds=9), "spec.policy.intervalSeconds", "greater than or equal to 10", id="interval 9 s"),
    pytest.param(policy(signal(), maxRunsPerDay=0), "spec.policy.maxRunsPerDay", "greater than or equal to 1", id="no run in a day"),
    pytest.param(policy(signal(), mode="Force"), "spec.policy.mode", 'supported values: "Recommend", "Execute"', id="policy mode Force"),
    pytest.param(policy(signal(forChecks=0)), "spec.policy.signals", "greater than or equal to 1", id="for no check"),
    pytest.param(policy(signal(above="0.2")), "spec.policy.signals", "must be of type number", id="a text as threshold"),
    pytest.param(
        policy(signal(configMap=ABSENT, prometheus={"url": "http://p:9090", "query": "up", "insecureSkipVerify": True})),
        "insecureSkipVerify",
        "unknown field",
        id="TLS that is not checked",
    ),
    pytest.param(
        run(data={"uri": "s3://lake/x", "check": "Maybe"}), "spec.data.check", 'supported values: "Always", "Skip"', id="data check Maybe"
    ),
    pytest.param(
        run(data={"uri": "s3://lake/x", "select": "Oldest"}),
        "spec.data.select",
        'supported values: "Newest", "All"',
        id="data select Oldest",
    ),
    pytest.param(
        run(data={"uri": "s3://lake/x", "check": "Skip", "maxAgeSeconds": 0}),
        "spec.data.maxAgeSeconds",
        "greater than or equal to 1",
        id="data maxAgeSeconds 0",
    ),
    pytest.param(
        run(data={"uri": "s3://lake/x", "format": "xlsx"}),
        "spec.data.format",
        'supported values: "csv", "parquet", "sql"',
        id="data format xlsx",
    ),
    pytest.param(
        run(trainer={"image": IMAGE, "imagePullPolicy": "Sometimes"}),
        "spec.trainer.imagePullPolicy",
        'supported values: "Always", "IfNotPresent", "Never"',
        id="imagePullPolicy Sometimes",
    ),
    pytest.param(run(trainer={"podTemplate": {}}), "spec.trainer.podTemplate", _REQUIRED, id="empty podTemplate"),
    pytest.param(run(retune={"trials": 0}), "spec.retune.trials", "greater than or equal to 1", id="retune: 0 trials"),
    pytest.param(run(retune={"trials": 1001}), "spec.retune.trials", "less than or equal to 1000", id="retune: 1001 trials"),
    pytest.param(run(retune={"timeoutSeconds": 0}), "spec.retune.timeoutSeconds", "greater than or equal to 1", id="retune: no time"),
    pytest.param(
        run(retune={"direction": "Up"}), "spec.retune.direction", 'supported values: "Maximize", "Minimize"', id="retune: direction Up"
    ),
    pytest.param(run(retune={"jobs": 4}), "spec.retune.jobs", 'unknown field "spec.retune.jobs"', id="retune: unknown field"),
    pytest.param(run(retune=True), "spec.retune", "must be of type object", id="retune: true"),
    pytest.param(
        _deploying(gates=[{"metric": "auc", "min": 0}] * 17), f"{_SPEC}.deploy.gates", "must have at most 16 items", id="17 gates"
    ),
    pytest.param(_deploying(weight=101), f"{_SPEC}.deploy.weight", "less than or equal to 100", id="weight above 100"),
]

REFUSED_BY_THE_API_SERVER_ALONE = [
    pytest.param(run(config={"task": ["tabular"]}), "spec.config.task", "must be of type string", id="a list as task"),
    pytest.param(
        run(trainer={"image": IMAGE, "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}),
        "spec.trainer.env",
        'Duplicate value: {"name":"A"}',
        id="a variable twice",
    ),
]

_FULL_TEMPLATE = template(
    mode="Simulate",
    deploy={
        "slot": "production",
        "weight": 10,
        "gates": [
            {
                "metric": "ndcg@20",
                "direction": "Maximize",
                "min": 0.1,
                "max": 1,
                "minImprovement": -0.01,
                "relative": True,
                "minSamples": 1,
            },
            {"metric": "mae", "max": 3},
        ],
        "onNoChampion": "Block",
        "onIncomparable": "Pass",
        "targets": [{"kind": "Deployment", "name": "churn-api"}, {"kind": "InferenceService", "name": "churn"}],
        "rolloutTimeoutSeconds": 60,
        "autoRollback": True,
        "historyLimit": 20,
    },
    trainer={
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "imagePullSecrets": [{"name": "registry"}],
        "command": ["train"],
        "args": ["--quiet"],
        "env": [{"name": "A", "value": ""}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "b"}}}],
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "resources": {"limits": {"cpu": 2, "memory": "4Gi", "nvidia.com/gpu": "1"}, "requests": {"cpu": "0.5", "memory": "1e9"}},
        "volumes": [{"name": "models", "emptyDir": {}}],
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
        "serviceAccountName": "trainer",
        "automountServiceAccountToken": True,
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "batch",
    },
    config={"task": "tabular", "estimator": "sklearn.svm.SVC", "params": {"max_iter": 200, "layers": [1, {"deep": [0.5]}]}},
    data={"uri": "s3://lake/churn/*.parquet", "format": "parquet", "check": "Skip", "maxAgeSeconds": 604_800, "select": "All"},
    output={"uri": "s3://models/churn"},
    retune={"trials": 1000, "timeoutSeconds": 3600, "metric": "ndcg@20", "direction": "Maximize", "storage": "file:///tuning/churn"},
    activeDeadlineSeconds=1,
)
ACCEPTED = [
    pytest.param(
        run(data={"uri": "postgresql+psycopg://reader@db.shop:5432/shop", "format": "sql", "check": "Skip"}),
        id="a database, whose port is no password",
    ),
    pytest.param(schedule(), id="schedule: minimal"),
    pytest.param(
        schedule(
            name="c" * 40,
            schedule="H H(1-4) * * MON-FRI",
            timeZone="America/Argentina/Buenos_Aires",
            suspend=True,
            startingDeadlineSeconds=10,
            missedRunPolicy="All",
            maxCatchUp=100,
            concurrencyPolicy="Queue",
            window="2025-26",
            dryRun=True,
            suspendAfterFailures=3,
            successfulJobsHistoryLimit=0,
            failedJobsHistoryLimit=1000,
            of_runs=_FULL_TEMPLATE,
            labels={"team": "ml", "example.com/cost-centre": "", "app.kubernetes.io/part-of": "Churn_1.0"},
        ),
        id="schedule: everything",
    ),
    pytest.param(policy(signal()), id="schedule: a policy alone"),
    pytest.param(
        schedule(
            policy={
                "mode": "Execute",
                "intervalSeconds": 10,
                "cooldownSeconds": 0,
                "maxRunsPerDay": 24,
                "signals": [
                    signal(above=0.2, below=-1, forChecks=3),
                    signal(name="auc", configMap=ABSENT, above=ABSENT, below=0.8, lastRun={"metric": "roc_auc"}),
                    signal(name="age", configMap=ABSENT, above=ABSENT, staleness={"maxAgeSeconds": 604800}),
                    signal(
                        name="drift-share",
                        configMap=ABSENT,
                        prometheus={
                            "url": "https://prometheus.example.com/eu-1",
                            "query": "max(feature_drift)",
                            "timeoutSeconds": 30,
                            "bearerTokenSecret": {"name": "prometheus", "key": "token"},
                            "caConfigMap": {"name": "ca", "key": "ca.crt"},
                        },
                    ),
                    *(
                        signal(name=f"p{i}", configMap=ABSENT, prometheus={"url": url, "query": "up"})
                        for i, url in enumerate(["http://10.0.0.1:9090", "http://[fd00::1]:9090/", "http://prometheus"])
                    ),
                ],
            },
        ),
        id="schedule: every kind of signal",
    ),
    pytest.param(schedule(of_runs=template(trainer={"podTemplate": POD_TEMPLATE})), id="schedule: podTemplate"),
    pytest.param(schedule(of_runs=template(configFrom={"configMapKeyRef": _REF})), id="schedule: configuration from a ConfigMap"),
    *(
        pytest.param(schedule(concurrencyPolicy=concurrency, missedRunPolicy=missed), id=f"schedule: {concurrency} and {missed}")
        for concurrency in ("Forbid", "Allow", "Replace", "Queue")
        for missed in ("Latest", "All", "Skip")
    ),
    pytest.param(schedule(timeZone="Etc/GMT+1", window="w"), id="schedule: zone with a plus, window of one letter"),
    pytest.param(run(), id="run: minimal"),
    pytest.param(
        run(
            name="c" * 57,
            schedule="churn",
            trigger="Schedule",
            scheduledTime="2026-01-04T02:00:00Z",
            window="w" * 63,
            suspend=True,
            previous={"run": "churn-29458680", "dataVersion": "a", "configHash": "b", "completionTime": "2026-01-01T02:03:04Z"},
            **_FULL_TEMPLATE,
        ),
        id="run: everything",
    ),
    pytest.param(
        run(
            trigger="Drift",
            reasons=["psi: 0.31 is above 0.2"],
            metrics={"psi": 0.31, "auc": 1},
            thresholds={"psi": {"above": 0.2}, "auc": {"below": 0.8}},
        ),
        id="run: made by drift",
    ),
    pytest.param(run(configFrom={"secretKeyRef": _REF}), id="run: configuration from a Secret"),
    pytest.param(run(trainer={"podTemplate": POD_TEMPLATE}), id="run: podTemplate"),
    pytest.param(run(data={"uri": "sklearn:iris"}), id="run: data alone"),
    pytest.param(run(retune={}), id="run: retune with defaults"),
    pytest.param(run(retune={"storage": "/tuning"}, config={"task": "tabular"}), id="run: retune, no estimator"),
    pytest.param(run(retune={}, config={"task": "recommender"}), id="run: retune, no algorithm"),
    pytest.param(run(config={"task": "recommender", "algorithm": "ease"}), id="run: algorithm without params"),
    pytest.param(run(config={"task": "segment", "layers": 3}), id="run: a task of another trainer"),
    pytest.param(run(config={"rows": 3}), id="run: a configuration without a task"),
]

# Each way of writing a field that cron.py accepts. What its own tests accept is here as well.
ACCEPTED_CRON = [
    "@yearly", "@annually", "@monthly", "@weekly", " @daily ", "@midnight", "@hourly",
    "* * * * *", "0 2 * * 0", "  0\t2  * * 0 ", "0 2 * * 0\n", "05 02 * * *", "0005 02 01 012 07",
    "59 23 31 12 7", "0,30,15-16 2 * * *", "*,5 2 1 1 *", "*/15 */2 */10 */3 */2", "*/90 2 * * *", "40/10 2 * * *", "0-59/007 2 * * *",
    "5-5 2 * * *", "0 2 * * 5-7", "0 2 * * 1-7/3", "0 2 * * 7/2", "0 2 * * mOn,SAT", "0 2 * * Mon-Fri/2", "0 0 1 feb,DEC *",
    "0 0 1 JAN-dec/2 *", "0 0 1,15,31 1-3,6-9/2 mon,wed-fri", "0 0 29 2 *",
    "H H * * *", "H H H H H", "H/15 H/6 H/10 H/3 H/2", "H(0-9) H(1-5) H(1-28) H(JAN-jun) H(mon-FRI)", "H(30-59)/10 H(0-7)/3 * * *",
]  # fmt: skip

# (expression, the fields that the messages name; none: the whole)
REFUSED_CRON = [
    pytest.param("0 0 2 * * 0 2025", [], id="a year"),
    pytest.param("@Daily", [], id="a macro in capitals"),
    pytest.param("@daily *", [], id="a macro and a field"),
    pytest.param("60 24 0 0 8", ["minute", "hour", "day of month", "month", "day of week"], id="each field just above or below"),
    pytest.param("0-60 20-24 1-32 1-13 1-8", ["minute", "hour", "day of month", "month", "day of week"], id="ranges that end outside"),
    pytest.param("100 2 * * *", ["minute"], id="three digits"),
    pytest.param("*/0 H/0 * * *", ["minute", "hour"], id="steps of 0"),
    pytest.param("R R(0-5) * * *", ["minute", "hour"], id="random R"),
    pytest.param("h 0,H * * *", ["minute", "hour"], id="h, and H in a list"),
    pytest.param("H( H(60) H() * *", ["minute", "hour", "day of month"], id="H half written"),
    pytest.param("0,,5 ,1 1, * *", ["minute", "hour", "day of month"], id="empty items"),
    pytest.param("-5 1.5 1-2-3 *-5 *", ["minute", "hour", "day of month", "month"], id="no numbers"),
    pytest.param("0 2 15W mon jan", ["day of month", "month", "day of week"], id="names where they do not belong"),
    pytest.param("0 2 ? * 2#1", ["day of month", "day of week"], id="? and #"),
    pytest.param("0 2 * * friL", ["day of week"], id="the last Friday"),
]

_RUN: Body = {
    "mode": "Execute",
    "config": {"task": "tabular", "estimator": "sklearn.svm.SVC", "target": "a"},
    "data": {"uri": "sklearn:iris"},
    "output": {"uri": "file:///models"},
    "window": "2025-26",
    "schedule": "churn",
    "activeDeadlineSeconds": 60,
}
# (a run, the same edited, the field that the refusal names; None: the edit is accepted)
CHANGES = [
    pytest.param(_RUN, {**_RUN, "config": {**_RUN["config"], "target": "b"}}, "config", id="config"),
    pytest.param(_RUN, {**_RUN, "config": {**_RUN["config"], "params": {}}}, "config", id="a field more in config"),
    pytest.param(_RUN, {**_RUN, "trainer": {"image": f"{IMAGE}-2"}}, "trainer", id="trainer"),
    pytest.param(_RUN, {**_RUN, "data": {"uri": "sklearn:wine"}}, "data", id="data"),
    pytest.param(_RUN, {**_RUN, "data": {"uri": "sklearn:iris", "check": "Skip"}}, "data", id="data check"),
    pytest.param(_RUN, {**_RUN, "retune": {}}, "retune", id="retune added"),
    pytest.param(_RUN, {**_RUN, "output": {"uri": "file:///other"}}, "output", id="output"),
    pytest.param(_RUN, {**_RUN, "window": "2026-27"}, "window", id="window"),
    pytest.param(_RUN, {**_RUN, "mode": "Simulate"}, "mode", id="mode"),
    pytest.param(_RUN, {**_RUN, "trigger": "Schedule"}, "trigger", id="trigger"),
    pytest.param(_RUN, {**_RUN, "schedule": "other"}, "schedule", id="schedule"),
    pytest.param(_RUN, {**_RUN, "schedule": ABSENT}, "schedule", id="schedule removed"),
    pytest.param(_RUN, {**_RUN, "data": ABSENT}, "data", id="data removed"),
    pytest.param(_RUN, {**_RUN, "activeDeadlineSeconds": ABSENT}, "activeDeadlineSeconds", id="active deadline removed"),
    pytest.param(_RUN, {**_RUN, "scheduledTime": "2026-01-04T02:00:00Z"}, "scheduledTime", id="scheduledTime added"),
    pytest.param({}, _RUN | {"window": ABSENT}, "config", id="config added"),
    pytest.param({"metrics": {"psi": 0.3}}, {"metrics": {"psi": 0.4}}, "metrics", id="snapshot of metrics"),
    pytest.param({"thresholds": {"psi": {"above": 1}}}, {"thresholds": {"psi": {"above": 2}}}, "thresholds", id="snapshot of thresholds"),
    pytest.param({"reasons": ["a"]}, {"reasons": ["a", "b"]}, "reasons", id="snapshot of reasons"),
    pytest.param(_RUN, {**_RUN, "suspend": True}, None, id="suspend may be switched on"),
    pytest.param({**_RUN, "suspend": True}, {**_RUN, "suspend": False}, None, id="suspend may be switched off"),
    pytest.param({**_RUN, "suspend": True}, _RUN, None, id="suspend may be removed"),
    pytest.param(_RUN, _RUN, None, id="nothing"),
]
