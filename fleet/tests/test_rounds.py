import json
import tempfile
import tomllib
import unittest
from pathlib import Path

import numpy as np
from flwr.app import Array, ConfigRecord, Error, Message

from graft_fleet.history import History
from graft_fleet.layout import Layer, LayoutError, parse_layers, split
from graft_fleet.patient_grid import PatientGrid
from graft_fleet.peft_files import load
from graft_fleet.seeded import seeded_a
from graft_fleet.settings import SettingError, Settings, read_settings
from graft_fleet.strategy import FleetStrategy

from .boxes import LAYERS, Boxes, layers_of_rank, lines, reply_content, vector_for


class Rounds(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "run"

    def run_fleet(self, boxes, **config):
        """Run a fleet of boxes; returns its strategy and the boxes, which know what they were asked."""
        config = {"save-path": str(self.folder), "rank": 2, "lora-alpha": 4, "rounds": 1} | {
            name.replace("_", "-"): value for name, value in config.items()
        }
        settings = read_settings(config)
        history = History(settings)
        strategy = FleetStrategy(settings, history, history.start())
        grid = Boxes(dict(enumerate(boxes, 1)))
        strategy.start(
            PatientGrid(grid, settings.reply_share, pause=0.01),
            strategy.arrays(),
            settings.rounds,
            timeout=settings.round_timeout,
        )
        return strategy, grid

    def test_boxes_are_asked_what_the_contract_says_and_get_the_global_adapter(self):
        _, grid = self.run_fleet(
            [box(1), box(2)], rounds=2, target_modules="q, v", base_digest="ab"
        )
        first, last = grid.asked[0], grid.asked[-1]
        self.assertEqual(first.metadata.message_type, "train")
        self.assertEqual(
            dict(first.content["config"]),
            {
                **{"graft-protocol": 1, "round": 1, "aggregation": "stack", "rank": 2},
                **{"lora-alpha": 4.0, "target-modules": ["q", "v"], "learning-rate": 2e-4},
                **{"max-steps": 50, "batch-size": 4, "seed": 0, "base-digest": "ab"},
            },
        )
        self.assertEqual(parse_layers(first.content["layout"]["layers"]), ())
        self.assertEqual(first.content["adapter"]["adapter"].numpy().size, 0)
        self.assertEqual(last.content["config"]["round"], 2)
        self.assertEqual(parse_layers(last.content["layout"]["layers"]), LAYERS)
        self.assertEqual(last.content["adapter"]["adapter"].numpy().shape, (sum_of_sizes(LAYERS),))

    def test_poisoned_updates_are_left_out_with_their_reason(self):
        good = vector_for(LAYERS, 1)
        infinite = good.copy()
        infinite[3] = np.inf
        bad = {
            "not finite": reply_content(infinite),
            "its layout has": reply_content(good[:-1]),
            "must be float32": reply_content(good.astype(np.float64)),
            "cannot be read": reply_content(Array("float32", (1,), "numpy.ndarray", b"junk")),
            "no JSON": reply_content(good, text="["),
            "the rank of": reply_content(vector_for(layers_of_rank(300), 1), layers_of_rank(300)),
            "in the fleet": reply_content(good, (Layer("other", 2, 6, 8), *LAYERS[1:])),
            "those of the fleet have 3": reply_content(good[:-15], LAYERS[:2]),
            "is no number > 0": reply_content(good, examples=0),
            '"train-loss" is no finite number': reply_content(good, loss=float("nan")),
            'must be "AB"': reply_content(good, parts="B"),
        }
        boxes = [box(1), box(2), *(always(content) for content in bad.values())]
        boxes.append(lambda m: Message(Error(0, "out of memory"), reply_to=m))
        strategy, _ = self.run_fleet(boxes)
        (line,) = lines(self.folder)
        self.assertEqual(line["replies"], 2)
        reasons = {rejected["box"]: rejected["reason"] for rejected in line["rejected"]}
        for i, part in enumerate([*bad, "out of memory"], 3):
            self.assertIn(part, reasons[i])
        self.assertEqual(len(reasons), len(bad) + 1)
        self.assertTrue(np.all(np.isfinite(strategy.adapter.vector)))

    def test_a_long_update_is_clipped(self):
        huge = vector_for(LAYERS, 4) * 1000
        boxes = [box(1), box(2), box(3), always(reply_content(huge))]
        with_it, _ = self.run_fleet(boxes)
        (line,) = lines(self.folder)
        self.assertEqual(line["clipped"], [4])
        norm = np.linalg.norm(split(with_it.adapter.vector, with_it.adapter.layers, "AB")[0][1])
        self.assertLess(norm, 100)

    def test_average_names_its_inexactness_and_private_is_exact(self):
        vectors = [vector_for(LAYERS, seed) for seed in (1, 2, 3)]
        average, _ = self.run_fleet(
            [always(reply_content(v, examples=n)) for v, n in zip(vectors, (1, 2, 5), strict=True)],
            **{"aggregation": "average", "norm_limit": 0.0},
        )
        mean = np.average(vectors, axis=0, weights=(1, 2, 5))
        np.testing.assert_allclose(average.adapter.vector, mean, rtol=1e-5, atol=1e-6)
        wrong = right = 0
        for i in range(2):
            pairs = [split(v, LAYERS, "AB")[i] for v in vectors]
            exact = np.average([b @ a for a, b in pairs], axis=0, weights=(1, 2, 5))
            a, b = split(mean, LAYERS, "AB")[i]
            wrong += np.sum((exact - b @ a) ** 2)
            right += np.sum(exact**2)
        (line,) = lines(self.folder)
        self.assertAlmostEqual(line["inexactness"], np.sqrt(wrong / right), 5)
        self.assertGreater(line["inexactness"], 0.1)

        self.folder = self.folder.with_name("private")
        halves = [vector_for(LAYERS, seed, "B") for seed in (1, 2, 3)]
        boxes = [
            always(reply_content(v, examples=n, parts="B"))
            for v, n in zip(halves, (1, 2, 5), strict=True)
        ]
        self.run_fleet(boxes, aggregation="private", norm_limit=0.0, seed=3)
        saved, _ = load(self.folder / "round-0001")
        for i, frozen in enumerate(seeded_a(LAYERS, 3)[:2]):
            parts = [split(v, LAYERS, "B")[i][1] for v in halves]
            wanted = np.average([b @ frozen for b in parts], axis=0, weights=(1, 2, 5))
            a, b = saved.matrices[i]
            np.testing.assert_allclose(b @ a, wanted, rtol=1e-5, atol=1e-6)

    def test_flowers_robust_strategies_ignore_a_box_that_shouts(self):
        vectors = [vector_for(LAYERS, 0) + 0.01 * vector_for(LAYERS, seed) for seed in range(1, 6)]
        vectors.append(vectors[0] + 1000)
        boxes = [always(reply_content(v)) for v in vectors]
        for robust in ("median", "trimmed-mean", "krum", "multi-krum"):
            self.folder = self.folder.with_name(robust)
            settings = {"norm_limit": 0.0, "robust": robust, "malicious": 1, "min_replies": 4}
            found, _ = self.run_fleet(boxes, aggregation="average", min_boxes=6, **settings)
            self.assertLess(np.abs(found.adapter.vector - vectors[0]).max(), 0.2, robust)

    def test_flowers_differential_privacy_clips_and_adds_noise(self):
        zeros = np.zeros(sum_of_sizes(LAYERS, "B"), np.float32)
        for dp in ("fixed", "adaptive"):
            self.folder = self.folder.with_name(dp)
            boxes = [always(reply_content(zeros + 50, parts="B", examples=n)) for n in range(1, 41)]
            found, _ = self.run_fleet(
                boxes,
                **{"aggregation": "private", "dp": dp, "clipping_norm": 2.0, "rounds": 1},
                **{"noise_multiplier": 0.5, "min_replies": 40, "min_boxes": 40},
            )
            (line,) = lines(self.folder)
            # Without clipping the mean would be 50.
            size = np.sqrt(zeros.size)
            self.assertLess(abs(found.adapter.vector.mean() - 2 / size), 0.1, dp)
            deviation = found.adapter.vector.std()
            self.assertTrue(0.3 < deviation / (0.5 * 2 / 40) < 3, f"{dp}: {deviation}")
            self.assertAlmostEqual(line["epsilon"], 2 + 2 * np.sqrt(2 * np.log(1e5)), 6)

    def test_a_round_ends_with_enough_replies_or_at_its_deadline(self):
        silent = lambda message: None  # noqa: E731
        self.run_fleet([box(1), box(2), box(3), silent], reply_share=0.75)
        self.assertEqual(lines(self.folder)[0]["replies"], 3)
        self.folder = self.folder.with_name("late")
        strategy, _ = self.run_fleet([box(1), silent], round_timeout=0.05)
        self.assertIsNone(strategy.adapter)
        self.assertEqual(lines(self.folder)[0]["saved"], False)

    def test_a_run_goes_on_from_its_last_round(self):
        once, _ = self.run_fleet([box(1), box(2)], rounds=2)
        with self.assertRaisesRegex(SettingError, "resume=true"):
            self.run_fleet([box(1), box(2)])
        with self.assertRaisesRegex(SettingError, "seed of the run"):
            self.run_fleet([box(1), box(2)], resume=True, seed=7)
        _, grid = self.run_fleet([box(1), box(2)], resume=True)
        self.assertEqual(grid.asked[0].content["config"]["round"], 3)
        np.testing.assert_array_equal(
            grid.asked[0].content["adapter"]["adapter"].numpy(), once.adapter.vector
        )
        self.assertEqual([line["round"] for line in lines(self.folder)], [1, 2, 3])

    def test_a_line_that_a_power_loss_cut_is_written_again(self):
        self.run_fleet([box(1), box(2)], rounds=2)
        path = self.folder / "rounds.jsonl"
        text = path.read_text()
        path.write_text(text[:-20])
        _, grid = self.run_fleet([box(1), box(2)], resume=True)
        self.assertEqual(grid.asked[0].content["config"]["round"], 2)
        self.assertEqual([line["round"] for line in lines(self.folder)], [1, 2])

    def test_evaluations_are_means_over_rows(self):
        def answer(loss, examples):
            def reply(message):
                if message.metadata.message_type == "train":
                    return box(examples)(message)
                content = reply_content(np.zeros(1, np.float32))
                content["metrics"]["num-examples"] = examples
                content["metrics"]["loss"] = loss
                return content

            return reply

        self.run_fleet([answer(1.0, 1), answer(2.0, 3)], fraction_evaluate=1.0)
        _, line = lines(self.folder)
        self.assertEqual((line["loss"], line["evaluated"]), (1.75, 2))

    def test_losses_on_rows_held_out_are_means_over_the_boxes_that_have_them(self):
        def answer(seed, examples, **losses):
            content = reply_content(vector_for(LAYERS, seed), examples=examples)
            for name, loss in losses.items():
                content["metrics"][f"loss-{name}"] = loss
            return always(content)

        self.run_fleet(
            [answer(1, 1, before=3.0, after=2.0), answer(2, 3, before=1.0, after=1.0), box(3)]
        )
        (line,) = lines(self.folder)
        self.assertAlmostEqual(line["loss-before"], 1.5)
        self.assertAlmostEqual(line["loss-after"], 1.25)

    def test_settings_that_cannot_be_are_refused_by_name(self):
        for config, words in (
            ({"ronds": 3}, "ronds is no setting"),
            ({"rounds": "3"}, "rounds must be of type int"),
            ({"aggregation": "mean"}, "one of stack, average, private"),
            ({"rank": 0}, "rank must be between 1"),
            ({"robust": "krum"}, "take aggregation"),
            ({"dp": "fixed"}, 'needs aggregation = "private"'),
        ):
            with self.assertRaisesRegex(SettingError, words):
                read_settings(config)

    def test_defaults_are_those_that_flwr_run_gives(self):
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
        config = project["tool"]["flwr"]["app"]["config"]
        self.assertEqual(read_settings(config), Settings())
        self.assertEqual(len(config), len(Settings.__dataclass_fields__))

    def test_layouts_that_another_machine_wrote_are_checked(self):
        for text in ("[" * 100_000, "{}", '[{"name":"a","rank":1,"in":true,"out":2}]', "[1]"):
            with self.assertRaises(LayoutError):
                parse_layers(text)
        with self.assertRaisesRegex(LayoutError, "twice"):
            parse_layers(json.dumps([{"name": "a", "rank": 1, "in": 1, "out": 1}] * 2))


def box(seed):
    """A box that answers the same at every time."""
    return always(reply_content(vector_for(LAYERS, seed)))


def always(content):
    def reply(message):
        assert isinstance(message.content["config"], ConfigRecord)
        return content

    return reply


def sum_of_sizes(layers, parts="AB"):
    return sum(layer.count(parts) for layer in layers)
