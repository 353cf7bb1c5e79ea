//! `container.id`, as the kernel shows it: in the process's control group (version 1), or in the mounts that a runtime makes for
//! each container (version 2, where the group's own name is hidden).

use super::read;

pub(super) fn id() -> Option<String> {
    let in_group = read::text("/proc/self/cgroup").and_then(|text| from_cgroup(&text));
    in_group.or_else(|| from_mountinfo(&read::text("/proc/self/mountinfo")?))
}

/// cgroups(7), `hierarchy:controllers:path`: the last part of a path, such as `docker-ID.scope` or `ID`.
pub(super) fn from_cgroup(text: &str) -> Option<String> {
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.filter_map(|path| path.rsplit('/').next()).find_map(|part| {
        // `cri-containerd:ID` has a colon, `docker-ID.scope` a dash.
        let part = part.strip_suffix(".scope").unwrap_or(part);
        whole_id(part.rsplit(['-', ':']).next()?)
    })
}

/// `proc_pid_mountinfo(5)`: the source of `/etc/hostname` and its like stands in the container's folder on the host.
pub(super) fn from_mountinfo(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let made = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"].contains(&point);
        if made { root.split('/').rev().find_map(whole_id) } else { None }
    })
}

/// 64 hexadecimal digits.
fn whole_id(text: &str) -> Option<String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (digits && text.len() == 64).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "3f4e5d6c7b8a90123f4e5d6c7b8a90123f4e5d6c7b8a90123f4e5d6c7b8a9012";

    #[test]
    fn control_groups_of_every_runtime_name_the_container() {
        for path in [
            "/docker/ID",
            "/system.slice/docker-ID.scope",
            "/machine.slice/libpod-ID.scope",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-ID.scope",
            "/kubepods/besteffort/pod0a/ID",
            "/kubepods-pod0a.slice:cri-containerd:ID",
            "/../ID",
        ] {
            let text = format!("12:pids:/\n3:cpu,cpuacct:{}\n0::/\n", path.replace("ID", ID));
            assert_eq!(from_cgroup(&text).as_deref(), Some(ID), "{path}");
        }
    }

    #[test]
    fn outside_a_container_there_is_none() {
        assert_eq!(from_cgroup("0::/user.slice/user-1000.slice/session-2.scope\n"), None);
        assert_eq!(from_cgroup("0::/\n"), None);
        assert_eq!(from_mountinfo("36 35 98:0 / / rw,noatime - ext3 /dev/root rw\n"), None);
    }

    #[test]
    fn the_mounts_of_a_container_name_it() {
        for root in
            ["/var/lib/docker/containers/ID/hostname", "/containers/storage/overlay-containers/ID/userdata/hostname"]
        {
            let root = root.replace("ID", ID);
            let text =
                format!("1 2 0:1 / / rw - overlay o rw\n710 700 8:1 {root} /etc/hostname rw - ext4 /dev/sda1 rw\n");
            assert_eq!(from_mountinfo(&text).as_deref(), Some(ID), "{root}");
        }
        // Another container's folder, mounted for a monitor to read.
        let other = format!("710 700 8:1 /var/lib/docker/containers/{ID}/x /mnt/x rw - ext4 /dev/sda1 rw\n");
        assert_eq!(from_mountinfo(&other), None);
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_an_id_or_none(text in "([0-9:/ a-f.-]|docker|scope|/etc/hosts|\n){0,300}") {
            for id in [from_cgroup(&text), from_mountinfo(&text)].into_iter().flatten() {
                prop_assert_eq!(id.len(), 64);
            }
        }
    }
}
