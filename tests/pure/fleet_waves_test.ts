import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/errors.ts";
import {
  openWave,
  publishOrder,
  releaseBefore,
  releasesOf,
  withdrawOrder,
} from "../../src/fleet/operator/orders.ts";
import { type Order, type Release, releaseId } from "../../src/fleet/release/order.ts";
import { judge } from "../../src/fleet/release/verdict.ts";
import { opening, parseWaves, positionOf, type Wave } from "../../src/fleet/release/waves.ts";
import { orderOf, releaseOf, reportOf } from "../helpers/releases.ts";

const BOXES = Array.from({ length: 50 }, (_, i) => `box-${i}`);
const NOW = new Date("2026-02-03T04:05:06.789Z");
const RELEASE = releaseId(releaseOf("a"));

const openTo = (open: number, boxes = BOXES) =>
  boxes.filter((box) => positionOf(box, RELEASE) < open);

Deno.test("parseWaves() reads per cent and numbers of boxes, and refuses waves that do not grow", () => {
  assertEquals(parseWaves(["1", "10%", "100"]), ["1%", "10%", "100%"]);
  assertEquals(parseWaves(["1box", "5boxes", "0.5", "100"]), ["1boxes", "5boxes", "0.5%", "100%"]);
  for (const waves of [[], ["0"], ["101"], ["-1"], ["ten"], ["10", "10"], ["5boxes", "2boxes"]]) {
    assertThrows(() => parseWaves(waves), UsageError, "waves must");
  }
});

Deno.test("opening() opens a wave for exactly as many known boxes, each wave for those of the one before", () => {
  const counts = ["1%", "2boxes", "10%", "33%", "100%"].map((wave) =>
    openTo(opening(wave, BOXES, RELEASE)).length
  );
  assertEquals(counts, [1, 2, 5, 17, 50]);
  assertEquals(openTo(opening("80boxes", BOXES, RELEASE)).length, 50);
  const [few, more] = ["10%", "33%"].map((wave) => openTo(opening(wave, BOXES, RELEASE)));
  assert(few.every((box) => more.includes(box)));
  assertEquals([opening("10%", [], RELEASE), opening("3boxes", [], RELEASE)], [0.1, 0]);
});

Deno.test("positionOf() spreads boxes evenly, and differently for each release", () => {
  const many = Array.from({ length: 4000 }, (_, i) => `jetson-${i}`);
  const positions = many.map((box) => positionOf(box, RELEASE));
  for (const part of [0.1, 0.5, 0.9]) {
    assertAlmostEquals(positions.filter((at) => at < part).length / many.length, part, 0.025);
  }
  const first = (release: string) => {
    const positions = BOXES.map((box) => positionOf(box, release));
    return BOXES[positions.indexOf(Math.min(...positions))];
  };
  const firsts = new Set(["a", "b", "c", "d"].map(first));
  assert(firsts.size > 1, [...firsts].join());
});

const known = (order: Order, states: string[], losses: [number, number][] = []) =>
  states.map((state, i) =>
    reportOf(
      `box-${i}`,
      order,
      state as "promoted",
      losses[i] && { loss: losses[i][0], lossInUse: losses[i][1] },
    )
  );

Deno.test("judge() opens the next wave when enough boxes report well, for long enough", () => {
  const order = orderOf({ policy: { minReported: 0.75, maxRejected: 0.25, soakSeconds: 60 } });
  const is = (states: string[], seconds = 60, more: Partial<Order> = {}) =>
    judge({ ...order, ...more }, known(order, states), seconds).is;
  assertEquals(is(["promoted", "promoted", "promoted", "waiting"]), "next");
  assertEquals(is(["promoted", "promoted", "promoted", "rejected"]), "next");
  assertEquals(is(["promoted", "promoted", "fetching", "waiting"]), "wait");
  assertEquals(is(["promoted", "promoted", "promoted", "promoted"], 59), "wait");
  assertEquals(is(["promoted", "promoted", "promoted", "promoted"], 60, { wave: 1 }), "done");
  assertEquals(is([]), "wait");
  assertEquals(is(["promoted"], 60, { open: 0 }), "widen");
  assertEquals(is(["waiting"], 60, { target: null }), "done");
  // A decision about another release counts for nothing.
  const other = orderOf({ target: releaseOf("other") });
  assertEquals(judge(order, known(other, Array(4).fill("promoted")), 60).is, "wait");
});

Deno.test("judge() stops a release that too many boxes reject or fail at, or that measures worse", () => {
  const order = orderOf();
  const verdict = (states: string[], losses: [number, number][] = []) =>
    judge(order, known(order, states, losses), 0);
  assertEquals(verdict(["rejected", "waiting"]).is, "stop");
  assertEquals(verdict(["failed", ...Array(9).fill("promoted")]).is, "next");
  assertEquals(verdict(["failed", "rejected", ...Array(8).fill("waiting")]).is, "stop");
  const allowed = [...Array(19).fill("promoted"), "rejected"];
  assertEquals(verdict(allowed, [...Array(19).fill([0.9, 1]), [2, 1]]).is, "next");
  const worse = verdict(allowed, [...Array(19).fill([0.9, 1]), [9, 1]]);
  assert(worse.is === "stop" && worse.why.includes("30.5% higher"), JSON.stringify(worse));
});

Deno.test("orders have growing numbers, keep withdrawn releases out, and no wave takes a box back", () => {
  const { fleet, policy } = orderOf();
  const rollOut = (target: Release, waves: readonly Wave[]) => ({ fleet, target, waves, policy });
  const [a, b] = [releaseOf("a", "a"), releaseOf("b", "b", "2026-01-03T03:04:05.678Z")];
  const moment = { now: NOW, boxes: BOXES };
  const first = publishOrder(undefined, rollOut(a, ["10%", "20%", "100%"]), moment);
  assertEquals(first.sequence, Math.floor(NOW.getTime() / 1000));
  // Most boxes were removed from the list: 20% of what is left is less than was open.
  const second = openWave(first, 1, { now: NOW, boxes: BOXES.slice(0, 3) });
  assertEquals(second.sequence, first.sequence + 1);
  assert(second.open >= first.open);
  const next = publishOrder(second, rollOut(b, ["100%"]), moment);
  const releases = releasesOf([next, second, first]);
  assertEquals(releases.map(({ name }) => name), ["b", "a"]);
  const back = withdrawOrder(next, releaseBefore(next, releases), [], "stopped", moment);
  assertEquals([back.target?.name, back.open, back.withdrawn], ["a", 1, [releaseId(b)]]);
  const again = withdrawOrder(back, releaseBefore(back, releases), releases, "back", moment);
  assertEquals([again.target, again.withdrawn.toSorted()], [
    null,
    [releaseId(a), releaseId(b)].toSorted(),
  ]);
  assertEquals(releaseBefore(again, releases), null);
  // A store that lost its orders: the time is a greater number than any order given before.
  const later = publishOrder(undefined, rollOut(b, ["100%"]), {
    now: new Date(NOW.getTime() + 60_000),
    boxes: [],
  });
  assert(later.sequence > again.sequence);
});
