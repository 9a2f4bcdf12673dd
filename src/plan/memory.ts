/**
 * Predicts how much memory training takes from the plan of a step, before anything runs.
 *
 * Tensors that pass between calls already have their offsets ({@linkcode placeTensors}). The arena's part is
 * simulated ({@linkcode StepSimulation}). The rest is counted: pages of the weights, the optimiser's tensors, and the
 * process itself ({@linkcode ProcessMemory}).
 */
import type { PlannedCall } from "./call.ts";
import type { TrainingPlan } from "./plan.ts";
import { replacedBytes } from "./replaced_bytes.ts";
import { type PredictedStep, StepSimulation } from "./step_simulation.ts";
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
  const simulation = new StepSimulation();
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
