import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { toNumbers } from "../../src/graph/tensor.ts";
import type { Checkpoint } from "../../src/train/checkpoint.ts";
import { LostPeerError } from "../../src/train/lost_peer_error.ts";
import { readParameters, train, type TrainJob, type TrainSettings } from "../../src/train/loop.ts";
import { shareCheckpoint } from "../../src/train/share_checkpoint.ts";
import {
  HostAdamW,
  HostTensor,
  LeastSquares,
  planeData,
  type Rows,
} from "../helpers/host_training.ts";
import { peersHere, type Place, rowsOfRank } from "../helpers/peers_here.ts";

const SETTINGS: TrainSettings = {
  totalSteps: 12,
  accumulation: 2,
  schedule: { name: "linear", learningRate: 0.3, warmupSteps: 2, totalSteps: 12 },
  maxGradNorm: 1,
  stepsPerReport: 1,
  stepsPerEval: 4,
  valBatches: -1,
  saveEvery: 5,
  patience: 0,
  loadBest: true,
  seed: 5,
};

/** As the planned model does: a rank without rows has zeros. */
class RankLeastSquares extends LeastSquares {
  fillGrad(): void {
    for (const parameter of this.parameters) {
      const { values } = parameter.value as HostTensor;
      parameter.grad ??= new HostTensor(parameter.dims, new Float32Array(values.length));
    }
  }
}

interface Recorded {
  readonly job: TrainJob<Rows>;
  readonly losses: number[];
  readonly evaluated: number[];
  readonly saved: Checkpoint[];
}

// 10 rows in batches of 3: the last batch of an epoch has one.
function jobOf(peers?: Place, more: Partial<TrainJob<Rows>> = {}): Recorded {
  const model = new RankLeastSquares();
  const own = (count: number, seed?: number) => {
    const data = planeData(count, 3, seed);
    return peers === undefined ? data : rowsOfRank(data, peers);
  };
  const [losses, evaluated, saved]: [number[], number[], Checkpoint[]] = [[], [], []];
  const job: TrainJob<Rows> = {
    ...{ model, optimizer: new HostAdamW(model.parameters), settings: SETTINGS },
    ...{ data: own(10), validation: own(7, 2) },
    callbacks: {
      onReport: ({ loss }) => losses.push(loss),
      onEvaluate: ({ loss }) => evaluated.push(loss),
    },
    checkpoints: { save: (checkpoint) => `${saved.push(checkpoint)}` },
    ...(peers === undefined ? {} : { peers, signal: peers.ending }),
    ...more,
  };
  return { job, losses, evaluated, saved };
}

const parametersOf = ({ job }: Recorded) =>
  [...readParameters(job.model).values()].flatMap((tensor) => [...toNumbers(tensor)]);

Deno.test("train() on several ranks takes the steps of one process with the same batches", async () => {
  const alone = jobOf();
  await train(alone.job);
  for (const count of [2, 4]) {
    const ranks = peersHere(count).map((place) => jobOf(place));
    const outcomes = await Promise.all(ranks.map(({ job }) => train(job)));
    for (const [r, rank] of ranks.entries()) {
      assertEquals(outcomes[r].end, "finished");
      for (const key of ["losses", "evaluated"] as const) {
        assertEquals(rank[key].length, alone[key].length);
        rank[key].forEach((loss, i) => assertAlmostEquals(loss, alone[key][i], 1e-5 * loss + 1e-9));
      }
      const expected = parametersOf(alone);
      parametersOf(rank).forEach((value, i) => assertAlmostEquals(value, expected[i], 1e-4));
      // All ranks hold the same.
      assertEquals(parametersOf(rank), parametersOf(ranks[0]));
    }
  }
});

Deno.test("train() ends on all ranks after the same step once one is asked to end", async () => {
  const places = peersHere(3);
  const ranks = places.map((place, r) =>
    jobOf(place, r === 1 ? { callbacks: { onStep: ({ step }) => step === 4 && place.stop() } } : {})
  );
  const outcomes = await Promise.all(ranks.map(({ job }) => train(job)));
  assertEquals(outcomes.map(({ end }) => end), Array(3).fill("interrupted"));
  assertEquals(new Set(outcomes.map(({ step }) => step)).size, 1);
  assert(outcomes[0].step === 4 || outcomes[0].step === 5, `${outcomes[0].step}`);
});

Deno.test("train() waits on all ranks while the gate of one is closed", async () => {
  const places = peersHere(2);
  const pauses: [number, string][] = [];
  let asked = 0;
  const gate = { closedBy: () => ++asked === 3 ? "it is hot" : undefined };
  const ranks = places.map((place, r) =>
    jobOf(place, {
      ...(r === 1 ? { gate } : {}),
      settings: { ...SETTINGS, totalSteps: 4 },
      callbacks: { onPause: ({ reason }) => pauses.push([r, String(reason)]) },
    })
  );
  const outcomes = await Promise.all(ranks.map(({ job }) => train(job)));
  assertEquals(outcomes.map(({ end }) => end), ["finished", "finished"]);
  assertEquals(pauses.sort(), [[0, "another rank waits"], [1, "it is hot"]]);
});

Deno.test("train() saves a checkpoint of the last whole step if a rank is lost", async () => {
  const ranks = peersHere(2, 20).map((place) => jobOf(place));
  const ends = ranks.map(({ job }) => assertRejects(() => train(job), LostPeerError));
  await Promise.all(ends);
  const [{ saved, losses }] = ranks;
  assertEquals(saved.at(-1)!.state.step, losses.length);
  assert(losses.length > 0 && losses.length < SETTINGS.totalSteps);
});

Deno.test("shareCheckpoint() gives all ranks the checkpoint of the first", async () => {
  const alone = jobOf();
  await train(alone.job);
  const [checkpoint] = alone.saved;
  const identity = { base: "sha256:1", "--rank": "8" };
  const received = await Promise.all(
    peersHere(3).map((place) =>
      shareCheckpoint(place, place.rank === 0 ? checkpoint : undefined, identity)
    ),
  );
  const plain = ({ state, parameters, optimizer }: Checkpoint) => ({
    state,
    updates: optimizer.updates,
    values: Object.fromEntries(
      [...parameters, ...optimizer.moments].map(([name, { bytes }]) => [name, [...bytes]]),
    ),
  });
  for (const one of received) assertEquals(plain(one), plain(checkpoint));
});
