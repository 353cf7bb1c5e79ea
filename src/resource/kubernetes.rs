//! `k8s.*`: Kubernetes tells a container nothing of itself unless its manifest asks for it (downward API). So names are agreed:
//!
//! | attribute | variable, the first that is set |
//! |---|---|
//! | `k8s.namespace.name` | `K8S_NAMESPACE_NAME`, `POD_NAMESPACE`, the service account's `namespace` file |
//! | `k8s.pod.name` | `K8S_POD_NAME`, `POD_NAME` |
//! | `k8s.pod.uid` | `K8S_POD_UID`, `POD_UID`, the control group, the mounts |
//! | `k8s.node.name` | `K8S_NODE_NAME`, `NODE_NAME` |
//! | `k8s.container.name` | `K8S_CONTAINER_NAME`, `CONTAINER_NAME` |
//!
//! Outside a cluster (no `KUBERNETES_SERVICE_HOST`) only the names that begin with `K8S_` count: the others mean other things
//! to other programs.

use super::detect::{Found, texts};
use super::read;
use crate::config::Environment;

pub(super) fn detect(environment: &Environment) -> Found {
    let inside = environment.value("KUBERNETES_SERVICE_HOST").is_some();
    let named = |sure: &str, usual: &str| {
        let usual = || environment.value(usual).filter(|_| inside);
        environment.value(sure).or_else(usual).and_then(read::value)
    };
    let file = |path| if inside { read::text(path) } else { None };
    let namespace = || file(NAMESPACE).and_then(|text| read::value(&text));
    let uid = || {
        let in_group = file("/proc/self/cgroup").and_then(|text| pod_uid(&text));
        in_group.or_else(|| pod_uid(&file("/proc/self/mountinfo")?))
    };
    texts([
        ("k8s.namespace.name", named("K8S_NAMESPACE_NAME", "POD_NAMESPACE").or_else(namespace)),
        ("k8s.pod.name", named("K8S_POD_NAME", "POD_NAME")),
        ("k8s.pod.uid", named("K8S_POD_UID", "POD_UID").or_else(uid)),
        ("k8s.node.name", named("K8S_NODE_NAME", "NODE_NAME")),
        ("k8s.container.name", named("K8S_CONTAINER_NAME", "CONTAINER_NAME")),
    ])
}

/// The first UUID after `pod` or `pods/`: the kubelet's control groups are called `pod<uid>` or `kubepods-pod<uid>.slice`, the
/// latter with `_` for `-`, and its folders `/var/lib/kubelet/pods/<uid>`.
pub(super) fn pod_uid(text: &str) -> Option<String> {
    text.match_indices("pod").find_map(|(at, _)| {
        let rest = text.get(at + 3..)?;
        let rest = rest.strip_prefix("s/").unwrap_or(rest);
        uuid(rest.get(..36)?)
    })
}

/// RFC 9562, section 4, lower case.
fn uuid(text: &str) -> Option<String> {
    let text = text.replace('_', "-");
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let lengths: Vec<_> = text.split('-').map(str::len).collect();
    (lengths == [8, 4, 4, 4, 12] && text.split('-').all(digits)).then_some(text)
}

const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Value;
    use proptest::prelude::*;

    const UID: &str = "0a1b2c3d-1111-2222-3333-444455556666";

    fn found(variables: &[(&str, &str)]) -> Vec<(&'static str, String)> {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let text = |value| if let Value::Text(text) = value { text } else { String::new() };
        detect(&environment).into_iter().map(|(name, value)| (name, text(value))).collect()
    }

    #[test]
    fn usual_names_count_inside_a_cluster_only() {
        let usual = [
            ("POD_NAMESPACE", "edge"),
            ("POD_NAME", "haproxy-1"),
            ("POD_UID", UID),
            ("NODE_NAME", "node-1"),
            ("CONTAINER_NAME", "haproxy"),
        ];
        assert!(found(&usual).is_empty());
        let inside = [&usual[..], &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]].concat();
        let expected = [
            ("k8s.namespace.name", "edge"),
            ("k8s.pod.name", "haproxy-1"),
            ("k8s.pod.uid", UID),
            ("k8s.node.name", "node-1"),
            ("k8s.container.name", "haproxy"),
        ];
        assert_eq!(found(&inside), expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn sure_names_count_everywhere_and_first() {
        let sure = [("K8S_POD_NAME", "sure"), ("POD_NAME", "usual")];
        assert_eq!(found(&sure), [("k8s.pod.name", "sure".to_owned())]);
        assert_eq!(found(&[("K8S_NODE_NAME", " n ")]), [("k8s.node.name", "n".to_owned())]);
    }

    #[test]
    fn the_kubelets_names_hold_the_pods_uid() {
        for text in [
            format!("0::/kubepods/burstable/pod{UID}/abc"),
            format!("0::/kubepods.slice/kubepods-burstable-pod{}.slice/cri-containerd-0.scope", UID.replace('-', "_")),
            format!("710 700 8:1 /var/lib/kubelet/pods/{UID}/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw"),
        ] {
            assert_eq!(pod_uid(&text).as_deref(), Some(UID), "{text}");
        }
        assert_eq!(pod_uid("0::/kubepods/podium"), None);
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_a_uid_or_none(text in "(pod|pods/|[0-9a-f]{8}|[-_/é]){0,40}") {
            if let Some(uid) = pod_uid(&text) {
                prop_assert_eq!(uid.len(), 36);
            }
        }
    }
}
