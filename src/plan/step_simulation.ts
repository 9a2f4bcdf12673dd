/**
 * Simulates the memory of a training step: every call takes and releases what the runtime would
 * ({@linkcode callMemory}), in an arena that behaves like the runtime's ({@linkcode Arena}).
 */
import { Arena, type Block } from "./arena.ts";
import { BoundSizes } from "../graph/size.ts";
import type { Graph } from "../graph/types.ts";
import type { PlannedCall } from "./call.ts";
import { type CallMemory, callMemoryAt, callPeak } from "./call_memory.ts";
import { gradientName } from "./names.ts";
import {
  leavesSpan,
  nameInOtherSpan,
  type PlannedRuns,
  plannedRuns,
  type Schedule,
} from "./schedule.ts";

/** The calls of each part of a batch, which are computed in parallel, in the order of the parts. */
export type PredictedStep = readonly Schedule[];

/** An arena with its blocks by name. */
export class StepSimulation {
  readonly arena = new Arena();
  /** The slabs that hold the tensors between calls, one per part of a batch. */
  readonly #slabs: number[] = [];
  readonly #calls = new Map<Graph, Map<BoundSizes, CallMemory>>();
  /** Number of nodes per session, by the calls' keys. */
  readonly #nodes = new Map<string, number>();
  readonly #held = new Map<string, Block>();

  get slabBytes(): number {
    return this.#slabs.reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Nodes of the sessions that have run. */
  get nodeCount(): number {
    return [...this.#nodes.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Makes tensors that stay; returns their bytes. */
  preprocess(calls: readonly PlannedCall[]): number {
    const before = this.arena.usedBytes;
    const sizes = new BoundSizes(new Map());
    for (const call of calls) this.#run([{ shard: 0, call, sizes, placements: new Map() }]);
    return this.arena.usedBytes - before;
  }

  /** Runs calls whose results are read and freed. */
  once(step: PredictedStep): void {
    const before = new Set(this.#held.keys());
    this.#runAll(step);
    for (const name of this.#held.keys()) if (!before.has(name)) this.#free(name);
  }

  /** Runs a step, after which its sums of gradients replace those of the previous micro-batch. */
  train(step: PredictedStep): void {
    const sums = [...this.#held].filter(([name]) => name.startsWith(GRADIENT));
    for (const [name] of sums) this.#held.delete(name);
    const before = new Set(this.#held.keys());
    this.#runAll(step);
    for (const [, block] of sums) this.arena.release(block);
    for (const name of this.#held.keys()) {
      if (!before.has(name) && !name.startsWith(GRADIENT)) this.#free(name);
    }
  }

  /** Frees the sums of gradients. */
  zeroGradients(): void {
    for (const name of this.#held.keys()) if (name.startsWith(GRADIENT)) this.#free(name);
  }

  #runAll(parts: PredictedStep): void {
    for (const [shard, { memory }] of parts.entries()) {
      this.#slabs[shard] = Math.max(this.#slabs[shard] ?? 0, memory.bytes);
    }
    const planned = parts.map(plannedRuns);
    const readLast = lastReads(planned);
    const next = parts.map(() => 0);
    for (let i = 0; i < Math.max(...planned.map(({ length }) => length)); i++) {
      const runs = planned.map((calls) => calls[i]?.runs ?? []);
      for (let k = 0; k < Math.max(...runs.map(({ length }) => length)); k++) {
        const running = parts.flatMap(({ sizes, memory: { placements } }, shard): ShardCall[] => {
          const call = runs[shard][k];
          const isElsewhere = call === undefined || call.isShared && shard > 0;
          return isElsewhere ? [] : [{ shard, call, sizes, placements }];
        });
        this.#run(running);
      }
      for (const [shard, { release }] of parts.entries()) {
        const end = next[shard] + runs[shard].length;
        for (const name of release.slice(next[shard], end).flat()) this.#free(name);
        next[shard] = end;
      }
      for (const name of readLast.get(i) ?? []) this.#free(name);
    }
    if (readLast.size > 0) this.#meet(parts);
  }

  /**
   * Runs the largest call of each span so that all are at their peaks at the same time. Spans wait only for
   * what they read, so that over a step's many calls each call of one meets each call of another.
   */
  #meet(spans: PredictedStep): void {
    const largest = spans.map((span, shard) => this.#largest(span, shard));
    const last = Math.max(...largest.map(({ node }) => node));
    const shards = this.#compute(
      largest.map(({ running }) => running),
      largest.map(({ node }) => last - node),
    );
    for (const { memory, elsewhere, blocks } of shards) {
      for (const buffer of new Set(memory.outputs.values())) {
        if (blocks[buffer] !== undefined && !elsewhere.has(buffer)) {
          this.arena.release(blocks[buffer]);
        }
      }
    }
  }

  /** A span's call that takes most memory, and the number of the node that does. */
  #largest(
    { calls, sizes, memory: { placements } }: Schedule,
    shard: number,
  ): { readonly running: ShardCall; readonly node: number } {
    const largest = new Map<Graph, PlannedCall>();
    // Of a call's parts, the first has most rows.
    for (const call of calls) if (!largest.has(call.graph)) largest.set(call.graph, call);
    const peaks = [...largest.values()].map((call) => {
      const memory = this.#memoryOf(call, sizes);
      const peak = callPeak(memory, placedBuffers(call, memory, placements));
      return { running: { shard, call, sizes, placements }, ...peak };
    });
    return peaks.reduce((most, other) => other.bytes > most.bytes ? other : most);
  }

  /**
   * Runs the calls of several shards in step with each other, which gives the most memory that these calls
   * can take together, and keeps their results.
   */
  #run(running: readonly ShardCall[]): void {
    const shards = this.#compute(running);
    const made = new Map<string, Block>();
    for (const [i, { shard, call, placements }] of running.entries()) {
      const { memory, blocks } = shards[i];
      for (const [output, name] of call.fetches) {
        if (placements.has(name)) continue;
        const block = blocks[memory.outputs.get(output)!];
        // Keys and values belong to each span; a sum is shared: each shard releases that of the one before.
        const key = leavesSpan(name) ? ofSpan(shard, name) : name;
        const before = made.get(key);
        if (before !== undefined) this.arena.release(before);
        made.set(key, block);
      }
    }
    for (const [name, block] of made) {
      // The sum of a call's earlier part, to which this one has added.
      this.#free(name);
      this.#held.set(name, block);
    }
  }

  /**
   * Runs calls node by node beside each other, without releasing their results.
   *
   * @param delays nodes of the others that run before each call begins; default none
   */
  #compute(
    running: readonly ShardCall[],
    delays: readonly number[] = running.map(() => 0),
  ): readonly ComputedCall[] {
    const shards = running.map(({ call, sizes, placements }) => {
      const memory = this.#memoryOf(call, sizes);
      const elsewhere = placedBuffers(call, memory, placements);
      return { memory, elsewhere, blocks: [] as Block[] };
    });
    const count = Math.max(0, ...shards.map(({ memory }, i) => delays[i] + memory.nodes.length));
    for (let turn = 0; turn < count; turn++) {
      const nodes = shards.map(({ memory }, i) => memory.nodes[turn - delays[i]]);
      for (const [i, { elsewhere, blocks }] of shards.entries()) {
        for (const { buffer, bytes } of nodes[i]?.takes ?? []) {
          if (!elsewhere.has(buffer)) blocks[buffer] = this.arena.take(bytes);
        }
      }
      const scratch = nodes.flatMap((node) =>
        (node?.scratchBytes ?? []).map((bytes) => this.arena.take(bytes))
      );
      for (const block of scratch) this.arena.release(block);
      for (const [i, { blocks }] of shards.entries()) {
        for (const buffer of nodes[i]?.releases ?? []) this.arena.release(blocks[buffer]);
      }
    }
    return shards;
  }

  #memoryOf(call: PlannedCall, sizes: BoundSizes): CallMemory {
    let ofGraph = this.#calls.get(call.graph);
    if (ofGraph === undefined) this.#calls.set(call.graph, ofGraph = new Map());
    const own = call.sizes ?? sizes;
    let memory = ofGraph.get(own);
    if (memory === undefined) ofGraph.set(own, memory = callMemoryAt(call, own));
    this.#nodes.set(call.key, memory.nodes.length);
    return memory;
  }

  #free(name: string): void {
    const block = this.#held.get(name);
    // Released by a schedule, but owned by the caller.
    if (block === undefined) return;
    this.#held.delete(name);
    this.arena.release(block);
  }
}

/** A call of one of the parts that run in parallel, and the tensors that lie elsewhere. */
interface ShardCall {
  readonly shard: number;
  readonly call: PlannedCall;
  readonly sizes: BoundSizes;
  readonly placements: ReadonlyMap<string, unknown>;
}

/** A call that has run: its memory, the buffers that lie elsewhere, and the blocks of the others. */
interface ComputedCall {
  readonly memory: CallMemory;
  readonly elsewhere: ReadonlySet<number>;
  readonly blocks: readonly Block[];
}

/** The buffers of a call's outputs that have a place between calls. */
function placedBuffers(
  { fetches }: PlannedCall,
  { outputs }: CallMemory,
  placements: ReadonlyMap<string, unknown>,
): ReadonlySet<number> {
  const placed = [...fetches].filter(([, name]) => placements.has(name));
  return new Set(placed.map(([output]) => outputs.get(output)!));
}

const ofSpan = (shard: number, name: string) => `${name} of span ${shard}`;

/** The call after which all spans have read what passes between them: names by call. */
function lastReads(
  parts: readonly (readonly PlannedRuns[])[],
): ReadonlyMap<number, readonly string[]> {
  const last = new Map<string, number>();
  for (const [shard, calls] of parts.entries()) {
    for (const [i, { planned: { feeds, fetches } }] of calls.entries()) {
      for (const name of [...feeds.values(), ...fetches.values()]) {
        const other = nameInOtherSpan(name);
        const key = leavesSpan(name)
          ? ofSpan(shard, name)
          : other && ofSpan(other.where === "before" ? shard - 1 : shard + 1, other.name);
        if (key !== undefined) last.set(key, Math.max(last.get(key) ?? 0, i));
      }
    }
  }
  const found = new Map<number, string[]>();
  for (const [key, i] of last) found.set(i, [...found.get(i) ?? [], key]);
  return found;
}

const GRADIENT = gradientName("");
