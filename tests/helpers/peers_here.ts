/** The processes of a distributed run as tasks of this one: what they give each other lies in its memory. */
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import type { DeviceTensor } from "../../src/runtime/runner.ts";
import { LostPeerError } from "../../src/train/lost_peer_error.ts";
import type { Peers } from "../../src/train/peers.ts";
import type { BatchSource } from "../../src/train/step.ts";
import type { HostTensor, Rows } from "./host_training.ts";

/** What the tasks have brought to one meeting, and those who wait for the rest. */
interface Meeting {
  readonly brought: unknown[];
  readonly wake: ((brought: readonly unknown[]) => void)[];
}

/** A place in a job of `count` tasks. */
export interface Place extends Peers {
  /** Asks all to end. */
  stop(): void;
}

/**
 * Makes the places of a job.
 *
 * @param lostAfter meetings after which the last task no longer comes
 */
export function peersHere(count: number, lostAfter = Infinity): readonly Place[] {
  const meetings: Meeting[] = [];
  return Array.from({ length: count }, (_, rank): Place => {
    const ending = new AbortController();
    let [met, wantsEnd] = [0, false];
    const meet = <T>(own: T): Promise<readonly T[]> => {
      const number = met++;
      if (number >= lostAfter) return Promise.reject(new LostPeerError("rank 1 is gone"));
      const meeting = meetings[number] ??= { brought: [], wake: [] };
      meeting.brought[rank] = own;
      return new Promise((resolve) => {
        meeting.wake.push(resolve as (brought: readonly unknown[]) => void);
        if (meeting.wake.length < count) return;
        for (const wake of meeting.wake) wake(meeting.brought);
      });
    };
    const sumOf = async (own: readonly number[]) => {
      const all = await meet(own);
      return own.map((_, i) => all.reduce((sum, values) => sum + values[i], 0));
    };
    const valuesOf = (tensors: readonly (DeviceTensor | undefined)[]) =>
      tensors.flatMap((tensor) => [...toNumbers(tensor!.read())]);
    return {
      rank,
      count,
      share: { index: rank, of: count },
      ending: ending.signal,
      stop: () => wantsEnd = true,
      async sum(numbers) {
        const sums = await sumOf([...numbers, wantsEnd ? 1 : 0]);
        if (sums.at(-1)! > 0) ending.abort();
        return sums.slice(0, -1);
      },
      waited: 0,
      gradientSums(parameters) {
        const early = new Map<string, number[]>();
        return {
          onGradient: ({ name }, grad) => early.set(name, valuesOf([grad])),
          async end() {
            const own = parameters.flatMap(({ name, grad }) => early.get(name) ?? valuesOf([grad]));
            const sums = await sumOf(own);
            for (const { dims, grad } of parameters) {
              const values = sums.splice(0, (grad as HostTensor).values.length);
              grad!.write(float32(dims, Float32Array.from(values)));
            }
          },
        };
      },
      async align(parameters) {
        const all = await meet(valuesOf(parameters.map(({ value }) => value)));
        return all.some((values) => values.join() !== all[0].join());
      },
      async broadcast(bytes) {
        const [first] = await meet(bytes);
        return first;
      },
    };
  });
}

/** A rank's rows of each batch: every `count`-th. */
export function rowsOfRank(
  data: BatchSource<Rows>,
  { rank, count }: Pick<Peers, "rank" | "count">,
): BatchSource<Rows> {
  return {
    batches: (epoch) => data.batches(epoch),
    async batch(epoch, index) {
      const { rows, tokenCount } = await data.batch(epoch, index);
      const own = rows.filter((_, i) => i % count === rank);
      return { rows: own, tokenCount: tokenCount * own.length / rows.length };
    },
  };
}
