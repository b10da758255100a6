"""What the operators that docker/kubernetes counts on take, as far as it is used here: by hand, from their
references. A field that is not here is a mistake in a manifest, or is to be added with its type.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
PERIOD: Schema = {"type": "string", "pattern": r"^\d+(ms|s|m|h|d|w|y)$"}


def record(required: dict[str, Schema], **optional: Schema) -> Schema:
    """An object with these fields and no others."""
    known = {**required, **optional}
    return {"type": "object", "properties": known, "required": list(required), "additionalProperties": False}


def several(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


def manifest(version: str, kind: str, spec: Schema) -> Schema:
    metadata = record({"name": TEXT}, namespace=TEXT, labels=TEXTS, annotations=TEXTS)
    head = {"apiVersion": {"const": version}, "kind": {"const": kind}}
    return record({**head, "metadata": metadata, "spec": spec})


_SCALING = record({}, stabilizationWindowSeconds={**COUNT, "maximum": 3600})
_PROMETHEUS = record(
    {
        "type": {"const": "prometheus"},
        # KEDA takes numbers of a scaler as texts.
        "metadata": record(
            {
                "serverAddress": TEXT,
                "query": TEXT,
                "threshold": {"type": "string", "pattern": r"^\d+(\.\d+)?$"},
            }
        ),
    },
    metricType={"enum": ["AverageValue", "Value"]},
)
SCALED_OBJECT = record(
    {"scaleTargetRef": record({"name": TEXT}), "triggers": several(_PROMETHEUS)},
    minReplicaCount=COUNT,
    maxReplicaCount=COUNT,
    cooldownPeriod=COUNT,
    advanced=record(
        {},
        horizontalPodAutoscalerConfig=record({}, behavior=record({}, scaleDown=_SCALING, scaleUp=_SCALING)),
    ),
)
_RELABELING = record({"sourceLabels": several(TEXT), "targetLabel": TEXT})
POD_MONITOR = record(
    {
        "selector": record({"matchLabels": TEXTS}),
        "podMetricsEndpoints": several(
            record({"port": TEXT}, path=TEXT, interval=PERIOD, relabelings=several(_RELABELING))
        ),
    }
)
_ALERT = record({"alert": TEXT, "expr": TEXT, "labels": TEXTS, "annotations": TEXTS}, **{"for": PERIOD})
PROMETHEUS_RULE = record({"groups": several(record({"name": TEXT, "rules": several(_ALERT)}))})

OF_OPERATORS: dict[str, Schema] = {
    "ScaledObject": manifest("keda.sh/v1alpha1", "ScaledObject", SCALED_OBJECT),
    "PodMonitor": manifest("monitoring.coreos.com/v1", "PodMonitor", POD_MONITOR),
    "PrometheusRule": manifest("monitoring.coreos.com/v1", "PrometheusRule", PROMETHEUS_RULE),
}
