"""Options that contradict each other."""

from __future__ import annotations

import pytest

from barman.config.conflicts import find_cloud_conflicts, find_conflicts, find_encryption_conflicts
from tests.support.settings import server_settings

GOOD = {
    "rsync": {"conninfo": "host=a", "ssh_command": "ssh a", "archiver": "on"},
    "local-rsync": {"conninfo": "host=a", "backup_method": "local-rsync", "archiver": "on"},
    "postgres": {"conninfo": "host=a", "backup_method": "postgres", "archiver": "on"},
    "snapshot": {
        "conninfo": "host=a",
        "ssh_command": "ssh a",
        "backup_method": "snapshot",
        "snapshot_provider": "aws",
        "snapshot_instance": "i",
        "snapshot_disks": "d",
    },
}


@pytest.mark.parametrize("method", GOOD)
def test_a_sound_server_of_each_method_has_no_conflicts(method):
    assert find_conflicts(server_settings(**GOOD[method])) == []


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("rsync", {"conninfo": ""}, "conninfo is missing"),
        ("rsync", {"conninfo": "what"}, "conninfo is not a connection string"),
        ("postgres", {"streaming_conninfo": "x=y"}, "streaming_conninfo"),
        ("rsync", {"streaming_archiver": "on", "wal_conninfo": "no", "slot_name": "s"}, "wal_conninfo"),
        ("postgres", {"primary_conninfo": "no"}, "primary_conninfo"),
        ("postgres", {"streaming_archiver": "on", "archiver": "off"}, "requires slot_name"),
        ("rsync", {"ssh_command": ""}, "requires ssh_command"),
        ("rsync", {"ssh_command": "ssh 'a"}, "not a command line"),
        ("local-rsync", {"ssh_command": "ssh a"}, "ssh_command"),
        ("rsync", {"backup_compression": "gzip"}, "backup_compression"),
        ("local-rsync", {"backup_compression": "gzip"}, "backup_compression"),
        ("postgres", {"tablespace_bandwidth_limit": "a:1"}, "tablespace_bandwidth_limit"),
        ("postgres", {"reuse_backup": "link"}, "reuse_backup"),
        ("postgres", {"network_compression": "on"}, "network_compression"),
        ("snapshot", {"bandwidth_limit": "7"}, "bandwidth_limit"),
        ("snapshot", {"snapshot_disks": ""}, "snapshot_disks"),
        ("snapshot", {"snapshot_provider": "gcp"}, "gcp_project"),
        ("snapshot", {"snapshot_provider": "azure"}, "azure_subscription_id"),
        ("snapshot", {"aws_snapshot_lock_duration": "3"}, "aws_snapshot_lock_mode"),
        ("snapshot", {"aws_snapshot_lock_mode": "governance"}, "exactly one"),
        (
            "snapshot",
            {
                "aws_snapshot_lock_mode": "governance",
                "aws_snapshot_lock_duration": "3",
                "aws_snapshot_lock_cool_off_period": "1",
            },
            "cool_off_period",
        ),
        ("postgres", {"aws_sse_kms_key_id": "k"}, "aws_encryption"),
        ("postgres", {"compression": "custom"}, "custom_compression_filter"),
        ("postgres", {"backup_compression": "gzip", "backup_compression_level": "12"}, "outside"),
        ("postgres", {"backup_compression": "none", "backup_compression_level": "1"}, "outside"),
        ("postgres", {"backup_compression": "lz4", "backup_compression_workers": "1"}, "workers"),
        ("postgres", {"backup_compression": "lz4", "backup_compression_format": "plain"}, "= server"),
    ],
)
def test_a_contradiction_disables_the_server_and_names_the_option(method, options, words):
    found = find_conflicts(server_settings(**{**GOOD[method], **options}))
    assert any(words in text for text in found), found


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("rsync", {"backup_compression": "none", "reuse_backup": "link", "tablespace_bandwidth_limit": "a:1"}),
        ("postgres", {"reuse_backup": "off", "backup_compression": "zstd", "backup_compression_workers": "2"}),
        ("postgres", {"streaming_archiver": "on", "archiver": "off", "slot_name": "s"}),
        ("snapshot", {"snapshot_provider": "gcp", "snapshot_gcp_project": "p"}),
        ("snapshot", {"aws_snapshot_lock_mode": "compliance", "aws_snapshot_lock_duration": "3"}),
        (
            "postgres",
            {
                "backup_compression": "gzip",
                "backup_compression_format": "plain",
                "backup_compression_location": "server",
            },
        ),
    ],
)
def test_what_may_be_combined_is_left_alone(method, options):
    assert find_conflicts(server_settings(**{**GOOD[method], **options})) == []


def test_a_password_is_not_repeated_in_a_message():
    found = find_conflicts(server_settings(**{**GOOD["postgres"], "conninfo": "password=secret what"}))
    assert found
    assert "secret" not in found[0]


def test_encryption_tells_all_it_lacks():
    assert len(find_encryption_conflicts(server_settings(encryption="gpg"))) == 4
    assert find_encryption_conflicts(server_settings()) == []
    sound = {"backup_method": "postgres", "backup_compression": "gzip", "backup_compression_format": "tar"}
    assert find_encryption_conflicts(server_settings(encryption="gpg", encryption_key_id="k", **sound)) == []


def test_storage_in_the_cloud_excludes_what_it_cannot_do():
    cloud = {"basebackups_directory": "s3://b/p", "backup_method": "postgres"}
    assert find_cloud_conflicts(server_settings(**cloud)) == []
    bad = {"backup_compression": "gzip", "encryption": "gpg", "worm_mode": "on", "compression": "pigz"}
    assert len(find_cloud_conflicts(server_settings(**{**cloud, **bad, "backup_method": "rsync"}))) == 5
    assert find_cloud_conflicts(server_settings(**bad)) == []
