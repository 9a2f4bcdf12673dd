/**
 * Predicts how much memory training takes from the plan of a step, before anything runs.
 *
 * Tensors that pass between calls already have their offsets ({@linkcode placeTensors}). The arena's part is
 * simulated: every call of the step takes and releases what the runtime would ({@linkcode callMemory}), in an
 * arena that behaves like the runtime's ({@linkcode Arena}). The rest is counted: pages of the weights, the
 * optimiser's tensors, and the process itself ({@linkcode ProcessMemory}).
 */
import { Arena, type Block } from "./arena.ts";
import { BoundSizes } from "../graph/size.ts";
import type { Graph } from "../graph/types.ts";
import type { PlannedCall } from "./call.ts";
import { graphAt } from "./call_graph.ts";
import { type CallMemory, callMemory, type CallPeak, callPeak } from "./call_memory.ts";
import { gradientName } from "./names.ts";
import type { Schedule, TrainingPlan } from "./plan.ts";
import { replacedBytes } from "./replaced_bytes.ts";
import { leavesSpan, nameInOtherSpan } from "./schedule.ts";
import { linkBytes, type StageLinks } from "./stage.ts";

/** Memory of the process that does not follow from a plan, in bytes: measured, and provided by the caller. */
export interface ProcessMemory {
  /** The program and the runtime, including the young heap. */
  readonly programBytes: number;
  /** Additional memory of the compiled program. */
  readonly compiledBytes: number;
  /** Additional memory of a process that MPI has started with others. */
  readonly mpiBytes: number;
  /** The program with a tokenizer, before the runtime is opened. */
  readonly textBytes: number;
  /** A tokenizer's tables, per byte of its files. */
  readonly tokenizerFactor: number;
  /** A compiled session and its graph's objects, per node. */
  readonly sessionNodeBytes: number;
  /** A plan over the sizes of batches, for each node of its calls' graphs. */
  readonly planNodeBytes: number;
  /** A plan's part that belongs to one batch shape. */
  readonly boundPlanBytes: number;
  /** Garbage of one batch shape before it is collected, and the most that there is. */
  readonly boundPlanGarbageBytes: number;
  readonly mostGarbageBytes: number;
  /** One thread for a part of a batch. */
  readonly shardBytes: number;
}

/** The properties of a run that its memory depends on. */
export interface RunToPredict {
  readonly process: ProcessMemory;
  /**
   * The step that takes most memory, usually that of the longest batch: one plan for each part computed in
   * parallel, with spans of a sequence in order.
   */
  readonly plans: readonly TrainingPlan[];
  /** Comparisons, which run once before the first step, in order. */
  readonly before?: readonly PredictedStep[];
  /** Evaluations of batches of all shapes; default: none. */
  readonly evaluated?: ShapesToPredict;
  /** Steps of batches of all shapes; default: every batch is like the largest. */
  readonly others?: ShapesToPredict;
  /** Bytes of all trained tensors, float32. */
  readonly parameterBytes: number;
  /** Tensors that the optimiser keeps per trained tensor: 2 for AdamW. */
  readonly moments: number;
  /** Further copies of the trained tensors: that of the best evaluation. */
  readonly copies?: number;
  /** Whether a step sums the gradients of several micro-batches. */
  readonly accumulates: boolean;
  /** Bytes of the model's files, all of whose pages are read, and of their float weights after rounding. */
  readonly weightBytes: number;
  /** Bytes that weights take where the user's graph runs once for comparison: `comparedBytes`. */
  readonly comparedBytes: number;
  /** Bytes of the tokenizer's files; 0 where the data is already available. */
  readonly tokenizerBytes: number;
  /** Whether the compiled program runs; default false. */
  readonly compiled?: boolean;
  /** Batch shapes that plans and sessions are kept for; default 1. */
  readonly shapes?: number;
  /** Whether gradients are summed over several processes, which takes two more copies of them; default false. */
  readonly isRank?: boolean;
  /** Micro-batches whose activations a stage of a pipeline holds at the same time; default 1. */
  readonly inFlight?: number;
}

/** The calls of each part of a batch, which are computed in parallel, in the order of the parts. */
export type PredictedStep = readonly Schedule[];

/** Batches of all shapes, as far as memory depends on them. */
export interface ShapesToPredict {
  /** Steps of the smallest and the largest batch of each form. */
  readonly steps: readonly PredictedStep[];
  /** Number of nodes of the sessions that all of them need. */
  readonly sessionNodes: number;
}

/** A peak of resident memory and its components, in bytes. */
export interface PredictedMemory {
  /**
   * Pages of the model's files, which the system can drop under pressure and read again, plus weights that
   * were rounded as the graph rounds them or for the `fast` setting, or unpacked for `exact`.
   */
  readonly weightBytes: number;
  /** Activations held from the forward pass for the backward pass. */
  readonly savedBytes: number;
  /** Memory that calls take in addition, including gaps between blocks. */
  readonly temporaryBytes: number;
  /** Trained tensors, their gradients, moments, spares and copies. */
  readonly adapterBytes: number;
  /** Deno, graft, ONNX Runtime and its sessions. */
  readonly baseBytes: number;
  /** Sum of these, or what the run takes before its first step where that is more. */
  readonly peakBytes: number;
}

/**
 * Plans over sizes for each step that stands for batches of other shapes. SmolLM2's attention runs in one to
 * eight blocks, and the steps with the fewest and the most stand for them.
 */
const PLANS_PER_STEP = 4;
/** The arena keeps 8 bytes for each of its granules of 256. */
const ARENA_BOOKKEEPING = 8 / 256;
/** Simulates the run's arena and adds up the rest. */
export function predictMemory(run: RunToPredict): PredictedMemory {
  const { plans, weightBytes, parameterBytes, evaluated, others } = run;
  const [plan] = plans;
  const shards = plans.length;
  const simulation = new Simulation();
  for (const step of run.before ?? []) simulation.once(step);
  const nodesBefore = simulation.nodeCount;
  for (const step of evaluated?.steps ?? []) simulation.once(step);
  const preprocessedBytes = simulation.preprocess(plan.preprocessing);
  for (const step of others?.steps ?? []) {
    simulation.train(step);
    simulation.zeroGradients();
  }
  const nodesOthers = simulation.nodeCount;
  const largest = plans.map(({ training }) => training);
  // The second step works in what the first one leaves.
  for (let step = 0; step < 2; step++) {
    simulation.train(largest);
    if (run.accumulates) simulation.train(largest);
    simulation.zeroGradients();
  }
  const { inFlight = 1 } = run;
  const stepBytes = inFlight * simulation.slabBytes + simulation.arena.touchedBytes +
    passedBytes(plan.links, inFlight);
  const gradientBytes = (run.accumulates ? 2 : 1) * parameterBytes;
  // The trained tensors, and a spare copy.
  const held = parameterBytes * (2 + run.moments + (run.copies ?? 0) + (run.isRank ? 2 : 0));
  const shapes = run.shapes ?? 1;
  const trained = others?.sessionNodes ?? simulation.nodeCount - nodesOthers;
  // Later sessions reuse what comparisons have left.
  const nodes = Math.max(nodesBefore, trained + (evaluated?.sessionNodes ?? 0));
  const saved = inFlight * plans.reduce((sum, { savedBytes }) => sum + savedBytes, 0);
  const savedBytes = Math.min(saved, stepBytes);
  // Weights that others are made from leave memory; an evaluation reads them again, call by call.
  const { process } = run;
  const program = process.programBytes + (run.compiled ? process.compiledBytes : 0) +
    (run.isRank ? process.mpiBytes : 0);
  const parts = {
    weightBytes: unchangedBytes(plan, weightBytes) + preprocessedBytes,
    savedBytes,
    temporaryBytes: Math.max(0, stepBytes - savedBytes - gradientBytes - preprocessedBytes),
    adapterBytes: held + gradientBytes,
    baseBytes: program + nodes * process.sessionNodeBytes +
      planBytes(shapes, others?.steps.length ?? 1, graphNodes(plan.training.calls), process) +
      (shards > 1 ? shards * process.shardBytes : 0) +
      simulation.arena.regionBytes * ARENA_BOOKKEEPING,
  };
  const training = Object.values(parts).reduce((sum, bytes) => sum + bytes, 0);
  const encoding = process.textBytes + process.tokenizerFactor * run.tokenizerBytes;
  const comparing = program + run.comparedBytes;
  return { ...parts, peakBytes: Math.ceil(Math.max(training, encoding, comparing)) };
}

/** Activations of the stage before, of all micro-batches, and what is on its way from and to both neighbours. */
function passedBytes(links: StageLinks | undefined, inFlight: number): number {
  if (links === undefined) return 0;
  const ways = 2;
  return (inFlight + ways) * linkBytes(links.input) + ways * linkBytes(links.output);
}

/**
 * @param steps that stand for the batches of all shapes
 * @param nodes of the graphs of a plan's calls
 */
function planBytes(shapes: number, steps: number, nodes: number, process: ProcessMemory): number {
  const plans = Math.min(shapes, PLANS_PER_STEP * steps);
  return plans * nodes * process.planNodeBytes + shapes * process.boundPlanBytes +
    Math.min(process.mostGarbageBytes, (shapes - 1) * process.boundPlanGarbageBytes);
}

/** Nodes of the calls' graphs, each graph once. */
export function graphNodes(calls: readonly PlannedCall[]): number {
  const graphs = new Set(calls.map(({ graph }) => graph));
  return [...graphs].reduce((sum, { nodes }) => sum + nodes.length, 0);
}

/** Bytes of the model's files without the weights that a plan replaced by others. */
function unchangedBytes(plan: TrainingPlan, weightBytes: number): number {
  return Math.max(0, weightBytes - replacedBytes(plan));
}

/** An arena with its blocks by name. */
class Simulation {
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
    const readLast = lastReads(parts);
    const count = Math.max(...parts.map(({ calls }) => calls.length));
    for (let i = 0; i < count; i++) {
      const running = parts.flatMap((
        { calls, sizes, memory: { placements } },
        shard,
      ): ShardCall[] =>
        calls[i] === undefined || calls[i].isShared && shard > 0
          ? []
          : [{ shard, call: calls[i], sizes, placements }]
      );
      this.#run(running);
      for (const { release } of parts) for (const name of release[i] ?? []) this.#free(name);
      for (const name of readLast.get(i) ?? []) this.#free(name);
    }
    if (readLast.size > 0) this.#meet(parts);
  }

  /**
   * Runs the largest call of each span up to its peak, all beside each other. Spans wait only for what they
   * read, so that over a step's many calls each call of one meets each call of another.
   */
  #meet(spans: PredictedStep): void {
    const held = spans.flatMap((span) => {
      const { memory, elsewhere, peak } = this.#largest(span);
      const blocks = new Map<number, Block>();
      const scratch: Block[] = [];
      for (const [i, { takes, scratchBytes, releases }] of memory.nodes.entries()) {
        if (i > peak.node) break;
        for (const { buffer, bytes } of takes) {
          if (!elsewhere.has(buffer)) blocks.set(buffer, this.arena.take(bytes));
        }
        if (i === peak.node) {
          scratch.push(...scratchBytes.map((bytes) => this.arena.take(bytes)));
          break;
        }
        for (const buffer of releases) {
          const block = blocks.get(buffer);
          if (block !== undefined) this.arena.release(block);
          blocks.delete(buffer);
        }
      }
      return [...blocks.values(), ...scratch];
    });
    for (const block of held) this.arena.release(block);
  }

  /** The call that takes most memory, of each graph the first. */
  #largest({ calls, sizes, memory: { placements } }: Schedule): LargestCall {
    const seen = new Set<Graph>();
    let largest: LargestCall | undefined;
    for (const call of calls) {
      if (seen.has(call.graph)) continue;
      seen.add(call.graph);
      const memory = this.#memoryOf(call, sizes);
      const elsewhere = placedBuffers(call, memory, placements);
      const peak = callPeak(memory, elsewhere);
      if (largest === undefined || peak.bytes > largest.peak.bytes) {
        largest = { memory, elsewhere, peak };
      }
    }
    return largest!;
  }

  /**
   * Runs the calls of several shards in step with each other, which gives the most memory they can take
   * together.
   */
  #run(running: readonly ShardCall[]): void {
    const shards = running.map(({ call, sizes, placements }) => {
      const memory = this.#memoryOf(call, sizes);
      const elsewhere = placedBuffers(call, memory, placements);
      return { memory, elsewhere, blocks: [] as Block[] };
    });
    const count = Math.max(0, ...shards.map(({ memory }) => memory.nodes.length));
    for (let node = 0; node < count; node++) {
      for (const { memory: { nodes }, elsewhere, blocks } of shards) {
        for (const { buffer, bytes } of nodes[node]?.takes ?? []) {
          if (!elsewhere.has(buffer)) blocks[buffer] = this.arena.take(bytes);
        }
      }
      const scratch = shards.flatMap(({ memory: { nodes } }) =>
        (nodes[node]?.scratchBytes ?? []).map((bytes) => this.arena.take(bytes))
      );
      for (const block of scratch) this.arena.release(block);
      for (const { memory: { nodes }, blocks } of shards) {
        for (const buffer of nodes[node]?.releases ?? []) this.arena.release(blocks[buffer]);
      }
    }
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
    for (const [name, block] of made) this.#held.set(name, block);
  }

  #memoryOf(call: PlannedCall, sizes: BoundSizes): CallMemory {
    let ofGraph = this.#calls.get(call.graph);
    if (ofGraph === undefined) this.#calls.set(call.graph, ofGraph = new Map());
    let memory = ofGraph.get(sizes);
    if (memory === undefined) ofGraph.set(sizes, memory = callMemory(graphAt(call, sizes)));
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

/** A call's memory, the buffers that lie elsewhere, and when it takes most. */
interface LargestCall {
  readonly memory: CallMemory;
  readonly elsewhere: ReadonlySet<number>;
  readonly peak: CallPeak;
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
function lastReads(parts: PredictedStep): ReadonlyMap<number, readonly string[]> {
  const last = new Map<string, number>();
  for (const [shard, { calls }] of parts.entries()) {
    for (const [i, { feeds, fetches }] of calls.entries()) {
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
