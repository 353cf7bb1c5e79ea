"""What no schema sees: that manifests, settings, workflows and the tree say the same.

deploy.py FOLDER VERSION           what kustomize made of kubernetes/, proxy.yaml and so on in FOLDER
deploy.py --files FILE FOLDER      writes what the ConfigMaps of FILE hold into FOLDER
deploy.py --chart FOLDER VALUES    every key of VALUES is one of the chart's
"""

import glob
import os
import re
import sys
import tomllib

import yaml

PROBLEMS = []


def main():
    if sys.argv[1] == "--chart":
        chart(*sys.argv[2:])
    elif sys.argv[1] == "--files":
        files(*sys.argv[2:])
    else:
        folder, version = sys.argv[1:]
        proxy(objects(folder, "proxy"), version)
        agent(objects(folder, "agent"), version)
        ingress(objects(folder, "ingress"), version)
        workflows()
    for problem in PROBLEMS:
        print(problem, file=sys.stderr)
    sys.exit(bool(PROBLEMS))


def expect(fine, problem):
    if not fine:
        PROBLEMS.append(problem)


def proxy(kinds, version):
    pod = workload("proxy", kinds, version)
    haproxy, settings = data(kinds, "haproxy.cfg"), tomllib.loads(data(kinds, "haproxy-vitals.toml"))
    binds = {int(port) for port in re.findall(r"^\s*bind :(\d+)", haproxy, re.M)}
    same_ports("proxy", pod, binds)
    hard_stop = seconds(re.search(r"^\s*hard-stop-after (\S+)", haproxy, re.M)[1])
    ends_in_time("proxy", pod, hard_stop + seconds(settings["runtime"]["stop_timeout"]))
    uri = re.search(r"^\s*monitor-uri (\S+)", haproxy, re.M)[1]
    for name, probe in probes(pod):
        expect(probe["httpGet"]["path"] == uri, f"proxy: {name} asks {probe['httpGet']['path']}, HAProxy answers {uri}")
    settings_are_mounted("proxy", pod, kinds)


def agent(kinds, version):
    pod = workload("agent", kinds, version)
    settings = tomllib.loads(data(kinds, "haproxy-vitals-agent.toml"))
    ports = [int(settings[table]["listen"].rpartition(":")[2]) for table in ("agent", "metrics")]
    same_ports("agent", pod, set(ports))
    # docs/standalone.md: answers are written within 0.3 s more.
    ends_in_time("agent", pod, seconds(settings["agent"]["timeout"]) + 0.3)
    for name, probe in probes(pod):
        expect(probe["httpGet"]["path"] == "/metrics", f"agent: {name} asks {probe['httpGet']['path']}")


def ingress(kinds, version):
    (settings,) = (config for config in kinds["ConfigMap"] if "haproxy-vitals.toml" in config["data"])
    for name in glob.glob("kubernetes/ingress/*.yaml"):
        values = load(name)
        if "controller" not in values:
            continue
        controller = values["controller"]
        expect(str(controller["image"]["tag"]) == version, f"{name}: image.tag is not {version}")
        volumes = {volume["name"]: volume["configMap"]["name"] for volume in controller["extraVolumes"]}
        mounts = {mount["mountPath"]: volumes.get(mount["name"]) for mount in controller["extraVolumeMounts"]}
        folder, file = os.path.split(variables(controller["extraEnvs"])["HAPROXY_VITALS_CONFIG"])
        expect(mounts.get(folder) == settings["metadata"]["name"], f"{name}: nothing mounts the settings at {folder}")
        expect(file in settings["data"], f"{name}: the ConfigMap has no {file}")
        same_variables(name, controller["extraEnvs"])


def workload(name, kinds, version):
    """Its pod, after what holds for both."""
    (deployment,) = kinds["Deployment"]
    template = deployment["spec"]["template"]
    labels, pod = template["metadata"]["labels"], template["spec"]
    (container,) = pod["containers"]
    expect(container["image"].endswith(f":{version}"), f"{name}: {container['image']} is not of version {version}")

    selectors = [("Deployment", deployment["spec"]["selector"]["matchLabels"])]
    selectors += [("Service", service["spec"]["selector"]) for service in kinds["Service"]]
    selectors += [("PodDisruptionBudget", budget["spec"]["selector"]["matchLabels"]) for budget in kinds["PodDisruptionBudget"]]
    selectors += [("NetworkPolicy", policy["spec"]["podSelector"]["matchLabels"]) for policy in kinds["NetworkPolicy"]]
    selectors += [("spread", spread["labelSelector"]["matchLabels"]) for spread in pod["topologySpreadConstraints"]]
    for kind, selector in selectors:
        expect(selector and selector.items() <= labels.items(), f"{name}: {kind} selects {selector}, the pods are {labels}")

    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    for service in kinds["Service"]:
        for port in service["spec"]["ports"]:
            expect(port["targetPort"] in named, f"{name}: Service: no port {port['targetPort']}")
    for probe, what in probes(pod):
        expect(what["httpGet"]["port"] in named, f"{name}: {probe}: no port {what['httpGet']['port']}")
    let_in = {port["port"] for policy in kinds["NetworkPolicy"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    expect(let_in == set(named.values()), f"{name}: NetworkPolicy lets in {let_in}, the ports are {set(named.values())}")

    context, own = pod["securityContext"], container["securityContext"]
    expect(context["runAsNonRoot"] and context["runAsUser"] > 0, f"{name}: may be root")
    expect(context["seccompProfile"] == {"type": "RuntimeDefault"}, f"{name}: no seccomp profile")
    expect(own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"], f"{name}: more rights than it needs")
    expect(own["capabilities"] == {"drop": ["ALL"]}, f"{name}: capabilities")
    expect(not pod["automountServiceAccountToken"], f"{name}: has a token of the API server")
    expect({"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), f"{name}: a probe is missing")
    expect("memory" in container["resources"]["limits"], f"{name}: memory has no limit")
    return pod


def same_ports(name, pod, listens):
    ports = {port["containerPort"] for port in pod["containers"][0]["ports"]}
    expect(ports == listens, f"{name}: containerPort {sorted(ports)}, it listens on {sorted(listens)}")


def ends_in_time(name, pod, needs):
    needs += pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = pod["terminationGracePeriodSeconds"]
    expect(needs + 2 <= grace, f"{name}: terminationGracePeriodSeconds is {grace}, its end takes {needs} s")


def probes(pod):
    return [(name, what) for name, what in pod["containers"][0].items() if name.endswith("Probe")]


def settings_are_mounted(name, pod, kinds):
    container = pod["containers"][0]
    configs = {config["metadata"]["name"]: config["data"] for config in kinds["ConfigMap"]}
    volumes = {volume["name"]: configs.get(volume.get("configMap", {}).get("name"), {}) for volume in pod["volumes"]}
    files = {f"{mount['mountPath']}/{file}" for mount in container["volumeMounts"] for file in volumes[mount["name"]]}
    path = variables(container["env"])["HAPROXY_VITALS_CONFIG"]
    expect(path in files, f"{name}: HAPROXY_VITALS_CONFIG={path}, mounted are {sorted(files)}")
    same_variables(name, container["env"])


# Those of ours stand in docs/configuration.md or src/resource/kubernetes.rs, those of OpenTelemetry in the list of them.
def same_variables(name, env):
    known = "".join(open(file).read() for file in ("docs/configuration.md", "docs/opentelemetry-variables.md", "src/resource/kubernetes.rs"))
    for variable in variables(env):
        expect(f"`{variable}`" in known, f"{name}: nothing reads {variable}")


def variables(env):
    return {entry["name"]: entry.get("value") for entry in env}


# A workflow runs tasks, and those there are.
def workflows():
    for name in sorted(glob.glob(".github/workflows/*.yml")):
        text = open(name).read()
        for task in sorted(set(re.findall(r"\btasks/([a-z][a-z-]*)", text))):
            expect(os.access(f"tasks/{task}", os.X_OK), f"{name}: there is no tasks/{task}")


def chart(folder, values):
    def missing(ours, theirs, path):
        for key, value in ours.items():
            name = re.escape(f".Values.{path}{key}") + r"(?![\w.])"
            if key not in theirs:
                # What a chart leaves out of its defaults it may read all the same.
                expect(re.search(name, templates), f"{values}: the chart has no {path}{key}")
            elif isinstance(value, dict) and theirs[key] and not re.search(r"toYaml \(?" + name, templates):
                missing(value, theirs[key], f"{path}{key}.")

    templates = "".join(open(file).read() for file in glob.glob(f"{folder}/templates/*")).replace("$ctlr.", ".Values.controller.")
    missing(load(values), load(f"{folder}/values.yaml"), "")


def files(manifests, folder):
    os.makedirs(folder, exist_ok=True)
    for config in kinds_of(manifests)["ConfigMap"]:
        for file, text in config["data"].items():
            with open(f"{folder}/{file}", "w") as stream:
                stream.write(text)


def objects(folder, base):
    return kinds_of(f"{folder}/{base}.yaml")


def kinds_of(manifests):
    kinds = {}
    with open(manifests) as stream:
        for item in yaml.safe_load_all(stream):
            kinds.setdefault(item["kind"], []).append(item)
    return kinds


def data(kinds, file):
    (config,) = (config for config in kinds["ConfigMap"] if file in config["data"])
    return config["data"][file]


def load(file):
    with open(file) as stream:
        return yaml.safe_load(stream)


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


main()
