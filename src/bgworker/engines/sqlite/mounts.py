"""Which file system a path is on, and whether other machines may be on it too. Pure.

SQLite's log needs memory that all its users share, so all of them must run on one kernel; on many
network file systems locks are not kept either. Such a queue would lose jobs without a word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bgworker.values import dataclass

# fmt: off
_REMOTE = frozenset(
    (
        "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fakeowner", "fhgfs",
        "gfs", "gfs2", "glusterfs", "gpfs", "hgfs", "lustre", "mmfs", "ncpfs", "nfs", "nfs4",
        "ocfs2", "orangefs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
        "wekafs",
    )
)
# fmt: on
# fmt: off
_REMOTE_FUSE = frozenset(
    (
        "afp_client", "blobfuse", "blobfuse2", "ceph", "ceph-fuse", "cephfs", "curlftpfs",
        "cvmfs2", "davfs", "davfs2", "gcsfuse", "geesefs", "glusterfs", "goofys",
        "google-drive-ocamlfuse", "grpcfuse", "gvfsd-fuse", "hdfs", "hubicfuse", "juicefs",
        "lizardfs", "mfs", "moosefs", "mount-s3", "mountpoint-s3", "nfs", "objectivefs",
        "onedriver", "osxfs", "prl_fsd", "rclone", "s3backer", "s3fs", "saunafs", "seaweedfs",
        "smbnetfs", "sshfs", "vmhgfs-fuse", "wdfs", "weed",
    )
)
# fmt: on
"""What comes after ``fuse.``; any other FUSE file system (ntfs, encryption, overlays) is local."""
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of ``/proc/self/mountinfo``."""

    number: str
    parent: str
    point: str
    type: str

    @property
    def is_remote(self) -> bool:
        """Whether another machine can change its files."""
        kind, _, program = self.type.partition(".")
        if kind in {"fuse", "fuseblk"}:
            return program.lower() in _REMOTE_FUSE
        return self.type in _REMOTE


def mount_of(path: str, mountinfo: str) -> Mount | None:
    """The mount an absolute, real path is on; ``None`` if the text does not tell.

    From the root down, as the kernel walks: a mount is hidden by a later one above it, and of two
    at one place the upper one is the child of the other.
    """
    mounts = _parse(mountinfo)
    known = {mount.number for mount in mounts}
    tops = [m for m in mounts if m.parent not in known or m.parent == m.number]
    found = _nearest(path, tops)
    while found is not None:
        below = [m for m in mounts if m.parent == found.number != m.number]
        nearest = _nearest(path, below)
        if nearest is None:
            return found
        mounts.remove(nearest)
        found = nearest
    return None


def _nearest(path: str, mounts: Sequence[Mount]) -> Mount | None:
    """Of those that are on the way to ``path``, the first on the way."""
    on_the_way = [m for m in mounts if _is_below(path, m.point)]
    return min(on_the_way, key=lambda mount: len(mount.point), default=None)


def _is_below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")


def _parse(mountinfo: str) -> list[Mount]:
    """Lines that are not as expected are left out."""
    found = []
    for line in mountinfo.splitlines():
        mount, _, system = line.partition(" - ")
        fields, kind = mount.split(" "), system.split(" ")[0]
        if len(fields) >= 6 and kind:
            point = _ESCAPE.sub(lambda octal: chr(int(octal[1], 8)), fields[4])
            found.append(Mount(fields[0], fields[1], point, kind))
    return found
