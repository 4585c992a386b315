"""ALOHA's and robomimic's files read as what was put in; nothing outside a file is reached, whatever it points to."""

import logging
import shutil

import h5py
import numpy as np
import pytest
import simplejpeg
from logs import hdf5 as made

from genba.config import to_toml
from genba.data.readers.hdf5 import ALOHA_JOINTS, Hdf5Reader
from genba.data.vault import Vault
from genba.errors import FormatError, ReaderError
from genba.spec.conformance import check_episode


def read(path, **options):
    return list(Hdf5Reader().read(path, **options))


@pytest.fixture
def aloha(tmp_path):
    return made.write_aloha(tmp_path / "episode_0.hdf5")


@pytest.fixture
def robomimic(tmp_path):
    return made.write_robomimic(tmp_path / "lift.hdf5")


def test_aloha_comes_back_number_by_number(aloha):
    reader = Hdf5Reader()
    assert reader.recognises(aloha)
    facts = reader.embodiment(aloha, rate_hz=50)
    (episode,) = read(aloha, rate_hz=50)
    check_episode(facts, episode)
    truth = made.aloha_values(0)
    for name, values in truth.items():
        stream = episode.streams[name]
        np.testing.assert_array_equal(stream.values, values.astype(np.float32))
        # 50 a second: 20,000,000 ns apart.
        np.testing.assert_array_equal(stream.times_ns, 20_000_000 * np.arange(made.STEPS))
    images = [made.aloha_image(0, step) for step in range(made.STEPS)]
    np.testing.assert_array_equal(episode.streams["cam_high"].values, images)
    assert episode.metadata.source == "aloha HDF5 episode_0.hdf5 at 50 Hz"


def test_units_of_alohas_arms_are_known(aloha):
    facts = Hdf5Reader().embodiment(aloha, rate_hz=50)
    qpos = facts.channel("qpos").dimensions
    assert [d.name for d in qpos] == list(ALOHA_JOINTS)
    assert [d.unit for d in qpos] == (["rad"] * 6 + ["1"]) * 2
    assert [d.unit for d in facts.channel("qvel").dimensions] == (["rad/s"] * 6 + ["1"]) * 2
    assert {d.unit for d in facts.channel("effort").dimensions} == {"1"}
    assert [d.unit for d in facts.action.continuous] == (["rad"] * 6 + ["1"]) * 2
    values = made.aloha_values(0)["action"].astype(np.float32)[:, 3]
    low, high = float(values.min()), float(values.max())
    # A tenth of the range to spare.
    assert facts.action.continuous[3].high == pytest.approx(high + 0.1 * (high - low))


@pytest.mark.parametrize("as_strings", [False, True])
def test_compressed_pictures_are_cut_at_their_padding(as_strings, tmp_path):
    path = made.write_aloha(tmp_path / "episode_0.hdf5", compressed=True, as_strings=as_strings)
    (episode,) = read(path, rate_hz=50)
    expected = [
        simplejpeg.decode_jpeg(made.jpeg(made.aloha_image(0, step)), colorspace="RGB") for step in range(made.STEPS)
    ]
    np.testing.assert_array_equal(episode.streams["cam_high"].values, expected)
    (swapped,) = read(path, rate_hz=50, channel_order="bgr")
    np.testing.assert_array_equal(swapped.streams["cam_high"].values, np.stack(expected)[..., ::-1])
    with pytest.raises(ReaderError, match="option channel_order: got 'gbr', expected 'rgb' or 'bgr'"):
        read(path, rate_hz=50, channel_order="gbr")


def test_a_folder_of_aloha_is_one_machine(tmp_path):
    folder = tmp_path / "task"
    for number in (0, 2, 10):
        made.write_aloha(folder / f"episode_{number}.hdf5", seed=number)
    reader = Hdf5Reader()
    assert reader.recognises(folder)
    assert not reader.recognises(tmp_path)
    facts = reader.embodiment(folder, rate_hz=50)
    episodes = read(folder, rate_hz=50)
    assert {episode.metadata.embodiment_id for episode in episodes} == {facts.id}
    for number, episode in zip((0, 2, 10), episodes, strict=True):
        np.testing.assert_array_equal(
            episode.streams["qpos"].values, made.aloha_values(number)["qpos"].astype(np.float32)
        )
    made.write_robomimic(folder / "episode_11.hdf5")
    with pytest.raises(FormatError, match=r"episode_11\.hdf5: got data, mask at the top, expected ALOHA's"):
        read(folder, rate_hz=50)


def test_robomimic_comes_back_number_by_number(robomimic, caplog):
    reader = Hdf5Reader()
    assert reader.recognises(robomimic)
    with caplog.at_level(logging.WARNING):
        episodes = read(robomimic)
    facts = reader.embodiment(robomimic)
    assert facts.id.startswith("log/robomimic-lift-")
    # The environment states 20 a second.
    assert facts.control.period_s == 1 / 20
    # In the order of their numbers, which is not that of their letters.
    for name, episode in zip(made.DEMONSTRATIONS, episodes, strict=True):
        check_episode(facts, episode)
        truth, times_ns = made.robomimic_values(0, name), 50_000_000 * np.arange(made.DEMONSTRATIONS[name])
        for channel, key in {
            "robot0_eef_pos": "obs/robot0_eef_pos",
            "robot0_gripper_qpos": "obs/robot0_gripper_qpos",
            "action": "actions",
        }.items():
            np.testing.assert_array_equal(episode.streams[channel].values, truth[key].astype(np.float32))
            np.testing.assert_array_equal(episode.streams[channel].times_ns, times_ns)
        np.testing.assert_array_equal(episode.streams["agentview_image"].values, truth["obs/agentview_image"])
        # What an action led to is known one step later.
        for channel in ("rewards", "dones"):
            np.testing.assert_array_equal(episode.streams[channel].values[:, 0], truth[channel])
            np.testing.assert_array_equal(episode.streams[channel].times_ns, times_ns + 50_000_000)
        assert "states" not in episode.streams
        assert episode.metadata.instruction == "lift the cube"
        assert episode.metadata.outcome == {"return": 1.0}
    assert episodes[0].metadata.source == (
        "robomimic HDF5 lift.hdf5 data/demo_2 at 20 Hz; left out: obs/agentview_depth, states, next_obs"
    )
    assert "at 20 Hz; in mask train; left out:" in episodes[1].metadata.source
    assert "states is left out: what no sensor sees" in caplog.text
    assert "obs/agentview_depth is left out: float32[4, 40, 40, 1], for which there is no channel" in caplog.text


def test_a_rate_that_is_not_stated_is_asked_for(aloha, tmp_path):
    with pytest.raises(
        ReaderError, match=r"states no rate; give the option rate_hz; ALOHA's authors recorded at 50 Hz"
    ):
        read(aloha)
    silent = made.write_robomimic(tmp_path / "silent.hdf5", rate_hz=None)
    with pytest.raises(ReaderError, match=r"silent\.hdf5: states no rate; give the option rate_hz$"):
        read(silent)
    assert read(silent, rate_hz=10)[0].streams["action"].times_ns[1] == 100_000_000
    for wrong in (0, -5, "fast", float("nan")):
        with pytest.raises(ReaderError, match=r"option rate_hz: got .*, expected a number more than 0"):
            read(silent, rate_hz=wrong)


def test_a_rate_that_is_stated_is_not_overruled(robomimic):
    with pytest.raises(ReaderError, match=r"option rate_hz: got 10, but the file states 20 \(control_freq\)"):
        read(robomimic, rate_hz=10)


def test_episodes_are_named_by_content(aloha, tmp_path):
    first = read(aloha, rate_hz=50)[0].metadata
    copy = shutil.copy(aloha, tmp_path / "episode_7.hdf5")
    assert read(copy, rate_hz=50)[0].metadata.episode_id == first.episode_id
    with h5py.File(copy, "a") as file:
        file["action"][0, 0] += 0.001
    assert read(copy, rate_hz=50)[0].metadata.episode_id != first.episode_id


def test_episodes_survive_the_vault(robomimic, tmp_path):
    reader, vault = Hdf5Reader(), Vault.open(tmp_path / "vault", create=True)
    vault.keep_embodiment(reader.embodiment(robomimic))
    for episode in reader.read(robomimic, owner="lab"):
        vault.append(episode)
        stored = vault.read(episode.metadata.episode_id)
        assert stored.metadata == episode.metadata
        np.testing.assert_array_equal(stored.streams["rewards"].values, episode.streams["rewards"].values)


def test_facts_that_the_user_gives_are_held_to(aloha, tmp_path):
    path = tmp_path / "mine.toml"
    text = to_toml(Hdf5Reader().embodiment(aloha, rate_hz=50)).replace("log/aloha", "arm/mine")
    path.write_text(text)
    assert read(aloha, rate_hz=50, embodiment=path)[0].metadata.embodiment_id.startswith("arm/mine")
    path.write_text(text.replace('name = "qpos"', 'name = "joints"'))
    with pytest.raises(ReaderError, match="has no channel 'qpos'"):
        read(aloha, rate_hz=50, embodiment=path)


def change(path, key, values):
    with h5py.File(path, "a") as file:
        del file[key]
        if values is not None:
            file[key] = values


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("observations/qpos", np.zeros((5, 14)), r"observations/qpos: got 5 steps, expected 6 as in /action"),
        ("observations/qpos", np.full((6, 14), np.inf), "/observations/qpos: row 0: got inf, expected a number"),
        ("action", np.zeros(6), r"/action: got float64\[6\], expected numbers \[steps, dimension\]"),
        ("action", np.zeros((0, 14)), "/action: got no step, expected at least one"),
        ("action", None, "got compress_len, observations at the top, expected ALOHA's"),
        (
            "observations/images/cam_high",
            np.zeros((6, 100), np.uint8),
            "cam_high: frame 0: got bytes of no known image format",
        ),
        (
            "observations/qpos",
            np.array([b"x"] * 6, dtype=h5py.string_dtype()),
            r"/observations/qpos: got values of type object, expected numbers or bytes",
        ),
    ],
)
def test_what_the_layout_does_not_allow_is_named(key, values, message, tmp_path):
    path = made.write_aloha(tmp_path / "episode_0.hdf5", compressed=True)
    change(path, key, values)
    with pytest.raises(FormatError, match=message):
        read(path, rate_hz=50)


def test_demonstrations_that_differ_are_named(robomimic):
    change(robomimic, "data/demo_10/obs/robot0_eef_pos", np.zeros((5, 4)))
    message = (
        r"data/demo_10: robot0_eef_pos: got numbers of \[4\], expected numbers of \[3\] as in lift\.hdf5 data/demo_2"
    )
    with pytest.raises(FormatError, match=message):
        read(robomimic)


def test_a_damaged_picture_is_named(tmp_path):
    path = made.write_aloha(tmp_path / "episode_0.hdf5", compressed=True)
    with h5py.File(path, "a") as file:
        file["observations/images/cam_high"][3] = 0
    with pytest.raises(
        FormatError, match=r"episode_0\.hdf5: /observations/images/cam_high: frame 3: got bytes of no known"
    ):
        read(path, rate_hz=50)


@pytest.fixture
def secret(tmp_path):
    """A file beside the log that nobody gave to the reader."""
    path = tmp_path / "secret.hdf5"
    with h5py.File(path, "w") as file:
        file["qpos"] = np.ones((made.STEPS, 14))
        file["raw"] = np.ones(1)
    return path


def test_external_links_are_refused(aloha, secret):
    change(aloha, "observations/qpos", h5py.ExternalLink(str(secret), "/qpos"))
    with pytest.raises(
        FormatError, match=r"/observations/qpos: got a link to '.*secret\.hdf5', .*links are not followed"
    ):
        read(aloha, rate_hz=50)


def test_links_that_lead_nowhere_are_refused_too(aloha):
    change(aloha, "observations/qpos", h5py.SoftLink("/nowhere"))
    with pytest.raises(FormatError, match="/observations/qpos: got a link to '/nowhere'"):
        read(aloha, rate_hz=50)


def test_virtual_data_sets_are_refused(aloha, secret):
    layout = h5py.VirtualLayout((made.STEPS, 14), np.float64)
    layout[:] = h5py.VirtualSource(str(secret), "qpos", (made.STEPS, 14))
    with h5py.File(aloha, "a") as file:
        del file["observations/qpos"]
        file.create_virtual_dataset("observations/qpos", layout)
    with pytest.raises(FormatError, match="/observations/qpos: got data that lie in other files"):
        read(aloha, rate_hz=50)


def test_external_storage_is_refused(aloha, tmp_path):
    outside = tmp_path / "outside.raw"
    outside.write_bytes(bytes(made.STEPS * 14 * 8))
    with h5py.File(aloha, "a") as file:
        del file["observations/qpos"]
        file.create_dataset("observations/qpos", (made.STEPS, 14), np.float64, external=[(str(outside), 0, 672)])
    with pytest.raises(FormatError, match="/observations/qpos: got data that lie in other files"):
        read(aloha, rate_hz=50)


def test_a_size_that_stored_bytes_cannot_have_is_refused(aloha):
    with h5py.File(aloha, "a") as file:
        del file["observations/qpos"]
        # A terabyte of numbers that were never written.
        file.create_dataset("observations/qpos", (10**10, 14), np.float64, chunks=(1000, 14))
    with pytest.raises(
        FormatError, match=r"qpos: got float64\[10000000000, 14\], 1120000000000 bytes, in 0 stored ones"
    ):
        read(aloha, rate_hz=50)


def test_what_the_layout_does_not_know_is_named(aloha):
    with h5py.File(aloha, "a") as file:
        file["relative_action"] = np.zeros((made.STEPS, 14))
        file.create_group("observations/touch")
    (episode,) = read(aloha, rate_hz=50)
    assert episode.metadata.source.endswith("at 50 Hz; left out: observations/touch, relative_action")


def test_a_name_that_is_no_text_is_refused(aloha):
    with h5py.File(aloha, "a") as file:
        file["observations"].create_dataset(b"q\xff", data=np.zeros(made.STEPS))
    with pytest.raises(FormatError, match=r"/observations: got a member named b'q\\xff', expected UTF-8"):
        read(aloha, rate_hz=50)


def test_other_files_are_not_recognised(aloha, tmp_path):
    reader, other = Hdf5Reader(), tmp_path / "other.hdf5"
    assert not reader.recognises(tmp_path / "none.hdf5")
    other.write_bytes(b"hello")
    assert not reader.recognises(other)
    with pytest.raises(FormatError, match=r"other\.hdf5: the file: not HDF5 that can be read"):
        read(other, rate_hz=50)
    other.unlink()
    with h5py.File(other, "w") as file:
        file["poses"] = np.zeros(3)
    assert not reader.recognises(other)
    with pytest.raises(FormatError, match=r"got poses at the top, expected ALOHA's .* or robomimic's"):
        read(other, rate_hz=50)
    aloha.write_bytes(aloha.read_bytes()[:3000])
    with pytest.raises(FormatError, match=r"episode_0\.hdf5: the file: not HDF5 that can be read"):
        read(aloha, rate_hz=50)
