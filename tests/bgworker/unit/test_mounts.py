"""Which mount a path is on, from recorded texts of ``/proc/self/mountinfo``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgworker.engines.sqlite.mounts import mount_of

LAPTOP = r"""
22 27 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
23 27 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:13 - proc proc rw
27 1 253:1 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw,errors=remount-ro
30 27 0:27 / /tmp rw,nosuid,nodev shared:9 - tmpfs tmpfs rw,size=8022272k
96 27 0:45 / /srv/team\040files rw,relatime shared:50 - cifs //nas/team rw,vers=3.1.1,cache=strict
97 27 0:46 / /users/ada/server rw,relatime shared:51 - fuse.sshfs ada@server: rw,user_id=1000
98 27 0:47 / /mnt/nas rw,relatime shared:52 - nfs4 nas:/export rw,vers=4.2
99 98 0:48 / /mnt/nas/local rw,relatime shared:53 - xfs /dev/sdb1 rw
100 27 8:33 / /media/stick rw,relatime shared:54 - fuseblk /dev/sdc1 rw,user_id=0
101 27 0:49 / /users/ada/secret rw,relatime shared:55 - fuse.gocryptfs /users/ada/.secret rw
102 27 0:50 / /mnt/all rw,relatime shared:56 - fuse.mergerfs a:b rw
103 27 0:51 / /run/user/1000/gvfs rw,relatime shared:57 - fuse.gvfsd-fuse gvfsd-fuse rw
104 27 0:52 / /mnt/bucket rw,relatime shared:58 - fuse.s3fs s3fs rw
"""
CONTAINER = r"""
571 463 0:62 / / rw,relatime master:195 - overlay overlay rw,lowerdir=/l/A,upperdir=/u
572 571 0:65 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
575 571 0:66 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
580 571 254:1 /volumes/data/_data /data rw,relatime master:1 - ext4 /dev/vda1 rw
581 571 0:70 / /host rw,relatime - fakeowner /run/host_mark/Users rw
582 571 0:71 / /share rw,relatime - virtiofs share rw
583 571 0:72 / /lib9 rw,relatime - 9p share rw,trans=virtio
584 571 0:73 / /gluster rw,relatime - fuse.glusterfs server:/vol rw
585 571 0:74 / /ceph rw,relatime - ceph 10.0.0.1:6789:/ rw
586 571 0:75 / /smb rw,relatime - smb3 //server/share rw
"""
STACKED = r"""
1 1 0:1 / / rw - rootfs rootfs rw
27 1 253:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 27 0:40 / /a/b rw - nfs server:/b rw
41 27 0:41 / /a rw - tmpfs tmpfs rw
50 27 0:50 / /over rw - ext4 /dev/vdb rw
51 50 0:51 / /over rw - nfs server:/over rw
60 27 0:60 / /under rw - nfs server:/under rw
61 60 0:61 / /under rw - xfs /dev/vdc rw
"""


@pytest.mark.parametrize(
    ("text", "path", "kind", "remote"),
    [
        (LAPTOP, "/users/ada/jobs.db", "ext4", False),
        (LAPTOP, "/tmp/jobs.db", "tmpfs", False),
        (LAPTOP, "/tmpfile/jobs.db", "ext4", False),
        (LAPTOP, "/srv/team files/jobs.db", "cifs", True),
        (LAPTOP, "/srv/team", "ext4", False),
        (LAPTOP, "/users/ada/server/a/b/jobs.db", "fuse.sshfs", True),
        (LAPTOP, "/mnt/nas/jobs.db", "nfs4", True),
        (LAPTOP, "/mnt/nas/local/jobs.db", "xfs", False),
        (LAPTOP, "/media/stick/jobs.db", "fuseblk", False),
        (LAPTOP, "/users/ada/secret/jobs.db", "fuse.gocryptfs", False),
        (LAPTOP, "/mnt/all/jobs.db", "fuse.mergerfs", False),
        (LAPTOP, "/run/user/1000/gvfs/jobs.db", "fuse.gvfsd-fuse", True),
        (LAPTOP, "/mnt/bucket/jobs.db", "fuse.s3fs", True),
        (CONTAINER, "/app/jobs.db", "overlay", False),
        (CONTAINER, "/data/jobs.db", "ext4", False),
        (CONTAINER, "/host/jobs.db", "fakeowner", True),
        (CONTAINER, "/share/jobs.db", "virtiofs", True),
        (CONTAINER, "/lib9/jobs.db", "9p", True),
        (CONTAINER, "/gluster/jobs.db", "fuse.glusterfs", True),
        (CONTAINER, "/ceph/jobs.db", "ceph", True),
        (CONTAINER, "/smb/jobs.db", "smb3", True),
        (STACKED, "/jobs.db", "ext4", False),
        (STACKED, "/a/b/jobs.db", "tmpfs", False),
        (STACKED, "/over/jobs.db", "nfs", True),
        (STACKED, "/under/jobs.db", "xfs", False),
    ],
)
def test_the_mount_of_a_path(text: str, path: str, kind: str, remote: bool) -> None:
    found = mount_of(path, text.strip())

    assert found is not None
    assert (found.type, found.is_remote) == (kind, remote)


def test_the_mount_point_is_told_as_it_is_written() -> None:
    found = mount_of("/srv/team files/jobs.db", LAPTOP)

    assert found is not None
    assert found.point == "/srv/team files"


numbers = st.integers(1, 5).map(str)
strange = st.builds("{} {} 0:1 / /{} rw - {} x".format, numbers, numbers, st.text(), st.text())


@given(st.text(), st.lists(strange | st.text()))
def test_no_text_is_too_strange(path: str, lines: list[str]) -> None:
    found = mount_of("/" + path, "\n".join(lines))

    assert found is None or f"/{path}/".startswith(found.point.rstrip("/") + "/")


few = st.integers(1, 3).map(str)
places = st.sampled_from(["/", "/a", "/a/b"])


@given(st.lists(st.builds("{} {} 0:1 / {} rw - ext4 x".format, few, few, places), max_size=8))
def test_mounts_that_hide_one_another_end_the_walk(lines: list[str]) -> None:
    """Numbers that stand twice, parents in a circle: no kernel writes that, but others may."""
    found = mount_of("/a/b/jobs.db", "\n".join(lines))

    assert found is None or any(line.split()[4] == found.point for line in lines)


@given(st.lists(st.sampled_from(LAPTOP.splitlines() + STACKED.splitlines())))
def test_no_order_of_lines_ends_in_a_circle(lines: list[str]) -> None:
    found = mount_of("/a/b/jobs.db", "\n".join(lines))

    points = {line.split()[4] for line in lines if line} & {"/", "/a", "/a/b"}
    assert (found is None) == (not points)
    assert found is None or found.point in points
