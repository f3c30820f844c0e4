"""The benchmark's arithmetic: what the guest's words mean, medians, ratios, the table and its JSON."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from bench import boots, detection, host, sizes, suite, table
from bench.__main__ import main
from bench.table import Row, Section
from builder import image_files
from builder.accel import Accel

DMESG = """\
[    0.000000] Linux version 6.12.117
[    1.900000] systemd[1]: this mentions Run /init as init process
[    2.345678] Run /usr/lib/aetheros/early-mounts as init process
"""
MANAGER = "UserspaceTimestampMonotonic=2600000\nFinishTimestampMonotonic=0\n"


def test_a_ratio_is_ours_divided_by_the_baselines_and_of_medians() -> None:
    row = Row("boot", "boot", "s", [1.0, 2.0, 90.0], [4.0, 8.0])
    assert row.ratio == pytest.approx(2.0 / 6.0)


def test_where_one_side_has_no_figure_there_is_no_ratio() -> None:
    assert Row("initrd", "initrd", "MB", [], [128.0]).ratio is None
    assert Row("initrd", "initrd", "MB", [4.0], []).ratio is None
    assert Row("initrd", "initrd", "MB", [4.0], [0.0]).ratio is None


def test_figures_have_three_significant_digits_and_no_exponent() -> None:
    assert [table.figure(value) for value in (0.0123, 0.25, 4.851, 98.36, 1356.3, 0, None)] == [
        "0.012",
        "0.250",
        "4.85",
        "98.4",
        "1356",
        "0",
        "-",
    ]


def test_the_table_shows_both_sides_the_ratio_and_how_far_samples_lie_apart() -> None:
    rows = [Row("a", "kernel to init", "s", [2.0, 1.0, 4.0], [8.0]), Row("b", "initrd", "MB", [], [128.0])]
    shown = table.text(["a machine"], [Section("Boot", rows, "a note"), Section("Nothing")]).splitlines()
    assert shown[:3] == ["a machine", "", "Boot"]
    assert shown[3].split() == ["unit", "ours", "baseline", "ratio"]
    assert shown[4].split() == ["kernel", "to", "init", "s", "2.00", "(1.00-4.00)", "8.00", "0.250"]
    assert shown[5].split() == ["initrd", "MB", "-", "128", "-"]
    assert len({len(line) for line in shown[3:6]}) == 1  # the columns end in the same place
    assert shown[6].strip() == "a note"
    assert "Nothing" not in "\n".join(shown)


def test_json_carries_every_sample_and_survives_a_round_trip() -> None:
    sections = [Section("Boot", [Row("a", "kernel to init", "s", [2.0, 1.0], [])])]
    found = json.loads(json.dumps(table.as_json({"machine": "m"}, sections)))
    assert found["machine"] == "m"
    [row] = found["sections"][0]["rows"]
    assert (row["ours"], row["baseline"], row["ratio"]) == (1.5, None, None)
    assert row["samples"] == {"ours": [2.0, 1.0], "baseline": []}


def test_what_no_boot_measured_has_no_row() -> None:
    quantities = {"x": ("x", "s"), "y": ("y", "s")}
    [row] = table.rows_of(quantities, [{"x": 1.0}, {}], [{"x": 3.0}])
    assert (row.key, row.ours, row.baseline) == ("x", [1.0], [3.0])


def test_boot_times_come_from_the_kernels_log_and_systemds_clocks() -> None:
    found = boots.boot_times(DMESG, MANAGER, "ActiveEnterTimestampMonotonic=5250000\n")
    assert found == {
        "kernel_to_init": 2.345678,
        "kernel_to_systemd": 2.6,
        "kernel_to_ready": 5.25,
    }  # a boot that has not finished has no such time


def test_an_answers_speed_counts_tokens_after_the_first_piece() -> None:
    assert boots.answer_speed([40.0, 41.0, 45.0], 11) == {"first_token": 40.0, "tokens_per_second": 2.0}
    assert boots.answer_speed([40.0], 1) == {"first_token": 40.0}
    with pytest.raises(ValueError, match="no answer"):
        boots.answer_speed([], 0)


def test_memory_is_in_millions_of_bytes_and_what_the_kernel_keeps_is_told_apart() -> None:
    meminfo = "MemTotal:   2000000 kB\nMemFree:      1 kB\nMemAvailable:  1750000 kB\nHugePages:  0\n"
    found = boots.used_memory(meminfo, 2 << 30)
    assert found == {
        "memory_used": pytest.approx(256.0),
        "memory_kept": pytest.approx(((2 << 30) - 2_048_000_000) / 1e6),
    }


def test_a_process_has_a_proportional_size_only_where_its_kernel_tells_it() -> None:
    status = "Name:\tagentd\nVmRSS:\t   25000 kB\nRssAnon:\t   12000 kB\nRssFile:\t   13000 kB\n"
    assert boots.process_memory(status, "agentd") == {"agentd_rss": 25.6, "agentd_own": 12.288}
    rollup = "5ff-7ff ---p 00000000 00:00 0  [rollup]\nRss:   25000 kB\nPss:   20000 kB\nPss_Dirty:  1 kB\n"
    assert boots.process_memory(status + rollup, "agentd")["agentd_pss"] == 20.48


def test_an_ext4s_use_leaves_out_its_journal_and_tables() -> None:
    header = "Block count:   1000\nOverhead clusters: 100\nFree blocks:  600\nBlock size:    4096\n"
    assert sizes.ext4_used(header) == 300 * 4096


def test_files_count_for_their_package_and_the_model_for_none() -> None:
    files = {"/usr/bin/a": 5, "/usr/lib/b": 7, "/usr/x.pyc": 1, f"{image_files.MODELS}m.gguf": 1000}
    found = image_files.by_package(files, {"/usr/bin/a": "one", "/usr/lib/b": "one"})
    assert found == {"one": 12, image_files.UNPACKAGED: 1}
    assert image_files.largest({"a": 1, "b": 3, "c": 3}, 2) == ["b", "c"]


def test_a_packages_paths_are_those_of_the_disk() -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name in ("./bin/ls", "./usr/bin/x", "./lib64/ld.so", "./boot/vmlinuz-6.12", "./library/x"):
            archive.addfile(tarfile.TarInfo(name))
        folder = tarfile.TarInfo("./bin")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    assert list(image_files.tar_names(data.getvalue())) == [
        "/usr/bin/ls",
        "/usr/bin/x",
        "/usr/lib64/ld.so",
        "/usr/lib/modules/6.12/vmlinuz",
        "/library/x",
    ]


def test_build_steps_stand_in_their_order_with_the_images_side_by_side() -> None:
    steps = {
        "image": 20.0,
        "kernel": 640.0,
        "llama-x86-64-v3": 300.0,
        "tools": 90.0,
        "boot m": 3.0,
        "baseline": 60.0,
    }
    rows = suite.build_section(steps, (10.0, 40.0)).rows
    assert [row.title for row in rows] == [
        "tools tree",
        "kernel",
        "llama.cpp for x86-64-v3",
        "image",
        "image again, its packages installed",
    ]
    assert [row.ratio for row in rows[-2:]] == [pytest.approx(1 / 3), 0.25]


def test_what_the_guest_waited_for_is_not_counted_as_instructions() -> None:
    noted = "13.50 9.99\ncpu  100 0 200 850 50 0 0 0 0 0\ncpu0 100 0 200 850 50 0 0 0 0 0\nintr 1\n"
    assert boots.busy_seconds(noted, ticks=100) == pytest.approx(13.5 - 8.5 - 0.5)


def test_a_mistaken_use_is_told_with_a_hint(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["qemu-x86_64", "--repeat", "0"]) == 2
    assert main(["qemu-x86_64", "--json", str(tmp_path / "no/such.json")]) == 2
    said = capsys.readouterr().err
    assert said.count("error:") == said.count("hint:") == 2


def test_a_host_is_quiet_only_while_others_leave_the_processors_alone() -> None:
    before = host.Processors(at=0.0, busy=10.0, stolen=0.0, own=1.0)
    after = host.Processors(at=100.0, busy=110.0, stolen=2.0, own=81.0)
    assert after.shares_since(before, 2) == {"others_share": 0.1, "stolen_share": 0.01}
    found = {**host.facts(Accel("tcg", "asked for")), "others_share": 0.1, "stolen_share": 0.01}
    assert "NOT QUIET: other programs used 10%" in host.lines(found)[-1]
    assert "NOT QUIET" not in host.lines({**found, "others_share": 0.02})[-1]


def test_what_ended_children_computed_is_the_benchmarks_own() -> None:
    before = host.processors()
    subprocess.run([sys.executable, "-c", "sum(range(5_000_000))"], check=True)
    after = host.processors()
    assert after.own - before.own > 0.02
    assert after.busy - before.busy >= after.own - before.own - 0.1


def test_the_way_from_a_report_is_measured_in_a_cache_without_configurations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETHER_CACHE", str(tmp_path / "cache"))
    for name in ("tools", "kernel-config", "drivers"):
        (tmp_path / "cache" / name).mkdir(parents=True)
    folder = detection.shared_cache(tmp_path / "beside")
    assert sorted(path.name for path in folder.iterdir()) == ["drivers", "machines-of-the-bench", "tools"]
    assert (folder / "tools").readlink() == tmp_path / "cache/tools"
