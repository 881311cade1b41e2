"""What a RayJob may hold, as a JSON schema: no CRD is on this machine.

Fields by the API reference of KubeRay 1.6 and, for pods, of Kubernetes: those that we use and
their neighbors. A real cluster's own check is stricter.
"""

from __future__ import annotations


def fields(required: str, optional: str = "", **typed: object) -> dict[str, object]:
    """A JSON schema of an object that has no other fields."""
    names = dict.fromkeys(f"{required} {optional}".split(), True)
    return {
        "type": "object",
        "required": required.split(),
        "properties": {**names, **typed},
        "additionalProperties": False,
    }


STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
NUMBER = {"type": "integer", "minimum": 0}
AMOUNTS = {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
CONTAINER = fields(
    "name image resources",
    "command args workingDir imagePullPolicy lifecycle",
    env={"type": "array", "items": fields("name", "value valueFrom")},
    ports={"type": "array", "items": fields("containerPort", "name protocol")},
    resources=fields("requests limits", requests=AMOUNTS, limits=AMOUNTS),
    securityContext=fields(
        "", "allowPrivilegeEscalation readOnlyRootFilesystem capabilities runAsUser"
    ),
    volumeMounts={"type": "array", "items": fields("name mountPath", "readOnly subPath")},
)
POD = fields(
    "containers",
    "nodeSelector tolerations affinity restartPolicy terminationGracePeriodSeconds "
    "serviceAccountName imagePullSecrets priorityClassName",
    automountServiceAccountToken={"type": "boolean"},
    containers={"type": "array", "items": CONTAINER, "minItems": 1},
    securityContext=fields(
        "", "runAsNonRoot runAsUser runAsGroup fsGroup fsGroupChangePolicy seccompProfile"
    ),
    volumes={
        "type": "array",
        "items": fields(
            "name",
            "emptyDir configMap secret hostPath nfs",
            persistentVolumeClaim=fields("claimName", "readOnly"),
        ),
    },
)
TEMPLATE = fields("spec", metadata=fields("", "annotations", labels=STRINGS), spec=POD)
HEAD = fields(
    "rayStartParams template",
    "enableIngress headService",
    serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    rayStartParams=STRINGS,
    template=TEMPLATE,
)
WORKERS = fields(
    "groupName rayStartParams template replicas",
    "idleTimeoutSeconds numOfHosts scaleStrategy suspend",
    groupName=NAME,
    replicas=NUMBER,
    minReplicas=NUMBER,
    maxReplicas=NUMBER,
    rayStartParams=STRINGS,
    template=TEMPLATE,
)
CLUSTER = fields(
    "headGroupSpec",
    "autoscalerOptions enableInTreeAutoscaling gcsFaultToleranceOptions managedBy suspend "
    "headServiceAnnotations",
    rayVersion={"type": "string"},
    authOptions=fields("mode", "secretName", mode={"enum": ["disabled", "token"]}),
    headGroupSpec=HEAD,
    workerGroupSpecs={"type": "array", "items": WORKERS},
)
RAYJOB = fields(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=fields("name", "namespace labels annotations", name=NAME),
    spec=fields(
        "entrypoint rayClusterSpec",
        "clusterSelector deletionStrategy entrypointNumCpus entrypointNumGpus "
        "entrypointResources jobId managedBy metadata runtimeEnvYAML submitterConfig "
        "submitterPodTemplate suspend",
        entrypoint={"type": "string"},
        backoffLimit=NUMBER,
        ttlSecondsAfterFinished=NUMBER,
        activeDeadlineSeconds={"type": "integer", "minimum": 1},
        shutdownAfterJobFinishes={"type": "boolean"},
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"]},
        rayClusterSpec=CLUSTER,
    ),
)
