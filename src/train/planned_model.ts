/** A `StepModel` over planned session calls: compiles a plan per batch shape and runs it. */
import { float32, int64, type Tensor, toNumbers } from "../graph/tensor.ts";
import { countCorrect, type Targets, type TokenBatch } from "../data/targets.ts";
import { type Arithmetic, changed, IN_FLOATS, numericOf, productsKey } from "../plan/arithmetic.ts";
import { DROPOUT_SEED } from "../plan/dropout.ts";
import { unknownInput } from "../plan/inputs.ts";
import { EXPECTED_ROWS, gradientName, LOGITS, LOSS } from "../plan/names.ts";
import { keyOf, type PlanOptions } from "../plan/options.ts";
import type { Schedule, TrainingPlan } from "../plan/plan.ts";
import { IndivisibleError } from "../plan/span.ts";
import type { DeviceTensor, Runner } from "../runtime/runner.ts";
import type { ActivationFile } from "./activation_file.ts";
import { divideBatch } from "./divide_batch.ts";
import { PlanCache, PLANS_KEPT } from "./plan_cache.ts";
import type { CompiledPlan } from "./compiled_plan.ts";
import { PlanFamilies } from "./plan_families.ts";
import {
  arithmeticOfGradients,
  ignoresPadding,
  packingRules,
  type PlannedModelOptions,
  planOptionsFor,
  type PlanUse,
} from "./planned_options.ts";
import { PrefixRows } from "./prefix_cache.ts";
import { type PartRun, runParts } from "./run_parts.ts";
import { runForward, runPipeline } from "./run_pipeline.ts";
import { type RunOptions, runSchedule, type ScheduleMeans } from "./run_schedule.ts";
import type {
  BatchLoss,
  Evaluation,
  Parameter,
  SeededBatch,
  StepModel,
  StepOptions,
  Upcoming,
} from "./step.ts";
import { batchInputs, partSeed, prepare, type Prepared, STEP_INPUTS } from "./step_inputs.ts";
import { StepSlab } from "./step_slab.ts";

/** Batches that a stage works on in turn, each with a plan of its own: fewer than are kept. */
const BATCHES_IN_TURN = PLANS_KEPT / 2;

export class PlannedModel implements StepModel<TokenBatch> {
  readonly parameters: readonly Parameter[];
  /** Parameters by the names of the sums of their gradients. */
  readonly #ofGradient: ReadonlyMap<string, Parameter>;
  readonly #gradientNames: ReadonlySet<string>;
  readonly #options: PlannedModelOptions;
  #arithmetic: Arithmetic;
  /** The products that weights were prepared for. */
  #preprocessedFor: string;
  readonly #runner: Runner;
  readonly #plans: PlanCache;
  readonly #families: PlanFamilies;
  readonly #slab: StepSlab;
  readonly #means: ScheduleMeans;
  readonly #zeros = new Map<string, DeviceTensor>();
  readonly #ignoresPadding: boolean;
  #dividesSequences: boolean;
  /**
   * Where results of the frozen layers below everything trained are kept, and read instead of being computed
   * again; if unset, they are not kept. The caller owns it.
   */
  activations: ActivationFile | undefined;

  constructor(options: PlannedModelOptions) {
    this.#options = options;
    this.#arithmetic = arithmeticOfGradients(options);
    this.#preprocessedFor = productsKey(this.#arithmetic);
    this.#runner = options.runner;
    this.#slab = new StepSlab(options.runner);
    this.#plans = new PlanCache(options.runner);
    this.#families = options.plans ?? new PlanFamilies(options.model);
    this.#means = { runner: this.#runner, plans: this.#plans, slab: this.#slab };
    this.#dividesSequences = options.dividesSequences ?? true;
    this.#ignoresPadding = ignoresPadding(options);
    if (options.pipeline !== undefined) {
      this.accumulateAll = (batches) => this.#accumulateAll(batches);
    }
    this.parameters = [...options.trainable].map((name) => {
      const value = options.model.graph.initializers.get(name);
      if (value === undefined) throw new ReferenceError(`No initializer is named "${name}"`);
      return { name, dims: value.dims, value: this.#placed(value), grad: undefined };
    });
    this.#ofGradient = new Map(
      this.parameters.map((parameter) => [gradientName(parameter.name), parameter]),
    );
    this.#gradientNames = new Set(this.#ofGradient.keys());
  }

  /** Present in a stage of a pipeline. */
  readonly accumulateAll?: StepModel<TokenBatch>["accumulateAll"];

  /** How gradients are computed; losses and logits without gradients are always in floats. */
  get arithmetic(): Arithmetic {
    return this.#arithmetic;
  }

  /**
   * The same model in another arithmetic, before the first step; this one is disposed of. The parameters have
   * the values that they had when it was made.
   */
  inArithmetic(arithmetic: Arithmetic): PlannedModel {
    this[Symbol.dispose]();
    return new PlannedModel({ ...this.#options, arithmetic });
  }

  /** @param options.arithmetic another than the model's own, for comparison */
  async accumulate(
    batch: TokenBatch,
    dropoutSeed: number,
    { arithmetic = this.#arithmetic, ...options }: StepOptions<TokenBatch> & {
      readonly arithmetic?: Arithmetic;
    } = {},
  ): Promise<BatchLoss> {
    const parts = await this.#trainedParts(batch, dropoutSeed, arithmetic);
    return await this.#accumulate(parts, options);
  }

  async #accumulateAll(batches: readonly SeededBatch<TokenBatch>[]): Promise<BatchLoss> {
    let [lossSum, targetCount] = [0, 0];
    for (let start = 0; start < batches.length; start += BATCHES_IN_TURN) {
      const parts: TrainedPart[] = [];
      for (const { batch, dropoutSeed } of batches.slice(start, start + BATCHES_IN_TURN)) {
        parts.push(...await this.#trainedParts(batch, dropoutSeed, this.#arithmetic));
      }
      await this.#compileAll(parts.map(({ schedule }) => schedule));
      const loss = await this.#accumulate(parts);
      lossSum += loss.lossSum;
      targetCount += loss.targetCount;
    }
    return { lossSum, targetCount };
  }

  /** The parts of a batch, ready to run. */
  async #trainedParts(
    batch: TokenBatch,
    dropoutSeed: number,
    arithmetic: Arithmetic,
  ): Promise<TrainedPart[]> {
    this.#releaseOthers(arithmetic);
    const { dropout = 0, teacher } = this.#options;
    const parts: TrainedPart[] = [];
    for (const [i, { part, compiled }] of this.#planned(batch, arithmetic).entries()) {
      const preprocessed = await this.#plans.preprocessed(compiled);
      const env = this.#environment(compiled, part);
      for (const [name, value] of preprocessed) env.set(name, value);
      if (dropout > 0) {
        env.set(DROPOUT_SEED, this.#runner.upload(int64([], [partSeed(dropoutSeed, i)])));
      }
      if (teacher !== undefined) {
        env.set(EXPECTED_ROWS, this.#runner.upload(await teacher.expectedRows(part)));
      }
      for (const parameter of this.parameters) {
        env.set(gradientName(parameter.name), parameter.grad ?? this.#zerosLike(parameter));
      }
      const kept = this.#keptRows(compiled, part, compiled.plan.options);
      const schedule = compiled.plan.training;
      parts.push({ compiled, schedule, env, kept, targets: part.targets });
    }
    return parts;
  }

  async #accumulate(
    parts: readonly TrainedPart[],
    options: StepOptions<TokenBatch> = {},
  ): Promise<BatchLoss> {
    this.#setGradients(await this.#run(parts, options));
    return parts.reduce((sum, { compiled, env, targets }) => {
      using loss = env.get(LOSS);
      this.#dropInputs(compiled, env);
      if (loss === undefined) return sum;
      return {
        lossSum: sum.lossSum + scalarOf(loss),
        targetCount: sum.targetCount + targets.count,
      };
    }, { lossSum: 0, targetCount: 0 });
  }

  async evaluate(batch: TokenBatch): Promise<Evaluation> {
    const use: PlanUse = { passes: ["evaluation"] };
    const prepared = prepare(batch, packingRules(this.#options, use));
    const { targets } = prepared;
    if (targets.count === 0) return { lossSum: 0, targetCount: 0 };
    const compiled = this.#planFor(prepared, use);
    const env = this.#environment(compiled, prepared);
    const kept = this.#keptRows(compiled, prepared, compiled.plan.options);
    // Steps that read what was made of the weights instead: two copies of all weights would be a peak.
    const derives = numericOf(this.#arithmetic) === "fast" || this.#arithmetic.readyWeights;
    const passing = derives ? compiled.plan.constants : undefined;
    await this.#runForward(compiled, "evaluation", env, { kept, passing });
    using loss = env.get(LOSS);
    using logits = env.get(LOGITS);
    this.#dropInputs(compiled, env);
    if (loss === undefined) return OF_ANOTHER_STAGE;
    const result = { lossSum: scalarOf(loss), targetCount: targets.count };
    if (this.#options.objective === "causal" || logits === undefined) return result;
    return { ...result, correct: countCorrect(logits.read(), targets) };
  }

  /** Runs without gradients: all layers, or those of a stage. */
  async #runForward(
    { plan }: CompiledPlan,
    kind: "evaluation" | "logits",
    env: Map<string, DeviceTensor>,
    options: RunOptions = {},
  ): Promise<void> {
    const { pipeline } = this.#options;
    const schedule = plan[kind];
    if (pipeline === undefined) return await runSchedule(schedule, env, this.#means, options);
    await this.#compileAll([schedule]);
    const { passing } = options;
    await runForward({ schedule, env, links: plan.links!, passing }, this.#means, pipeline);
  }

  /** Compiles what runs before other stages wait for it. */
  async #compileAll(schedules: readonly Schedule[]): Promise<void> {
    for (const { calls } of schedules) {
      for (const call of calls) await this.#plans.session(call, "pool");
    }
  }

  /**
   * What this model teaches of a part of a batch: `EXPECTED_ROWS`.
   *
   * @throws {UnsupportedError} if its head does not run in chunks
   */
  async expectedRows(prepared: Prepared): Promise<Tensor> {
    const compiled = this.#planFor(prepared, { passes: ["evaluation"] });
    const env = this.#environment(compiled, prepared);
    await runSchedule(compiled.plan.evaluation, env, this.#means);
    env.get(LOSS)![Symbol.dispose]();
    using rows = env.get(EXPECTED_ROWS)!;
    const value = rows.read();
    const copy = { ...value, bytes: value.bytes.slice() };
    this.#dropInputs(compiled, env);
    return copy;
  }

  /** Logits of the batch's real target rows, float32 [rows, classes]; without rows if another stage has them. */
  async logits(batch: TokenBatch): Promise<Tensor> {
    const use: PlanUse = { passes: ["logits"] };
    const prepared = prepare(batch, packingRules(this.#options, use));
    const compiled = this.#planFor(prepared, use);
    const env = this.#environment(compiled, prepared);
    await this.#runForward(compiled, "logits", env);
    const parts = compiled.plan.logitsParts.map((name) => {
      using part = env.get(name)!;
      return part.read();
    });
    env.get(LOSS)?.[Symbol.dispose]();
    this.#dropInputs(compiled, env);
    return joinColumns(parts, parts.length > 0 ? prepared.targets.count : 0);
  }

  /** Frees what only the comparisons before the first step needed. */
  forgetComparisons(): void {
    const own = productsKey(this.#arithmetic);
    const trains = ({ passes, arithmetic }: PlanOptions) =>
      arithmetic !== undefined && productsKey(arithmetic) === own && passes?.join() === "training";
    this.#families.keep(trains);
    this.#plans.keep(({ options }) => trains(options));
  }

  widen(): boolean {
    const { keepBytes = 0 } = this.#options;
    const { kept } = this.#arithmetic;
    const keepsStream = keepBytes === 0 && numericOf(this.#arithmetic) === "exact";
    if (kept === "whole" || keepsStream) return false;
    this.#arithmetic = changed(this.#arithmetic, { kept: "whole" });
    return true;
  }

  fillGrad(): void {
    for (const parameter of this.parameters) {
      parameter.grad ??= this.#runner.allocate("float32", parameter.dims);
    }
  }

  zeroGrad(): void {
    for (const parameter of this.parameters) {
      parameter.grad?.[Symbol.dispose]();
      parameter.grad = undefined;
    }
  }

  /**
   * A plan for a batch's shape: to look at, not to run.
   *
   * @param use what it is for; default all passes, in floats
   */
  planOf(batch: TokenBatch, use: PlanUse = {}): TrainingPlan {
    const prepared = prepare(batch, packingRules(this.#options, use));
    return this.#families.planOf(planOptionsFor(this.#options, prepared, use));
  }

  /** The plan with which a batch, or the first part of it that has targets, trains: to look at. */
  trainingPlanOf(batch: TokenBatch): TrainingPlan {
    const [first] = this.#planned(batch, this.#arithmetic);
    return first?.compiled.plan ??
      this.planOf(batch, { passes: ["training"], arithmetic: this.#arithmetic });
  }

  [Symbol.dispose](): void {
    this.zeroGrad();
    for (const parameter of this.parameters) parameter.value[Symbol.dispose]();
    for (const zeros of this.#zeros.values()) zeros[Symbol.dispose]();
    this.#slab[Symbol.dispose]();
    this.#plans[Symbol.dispose]();
  }

  /**
   * The initial tensor of a parameter: in the model's own bytes if that is allowed and kernels can read them.
   */
  #placed(value: Tensor): DeviceTensor {
    const { bytes } = value;
    const inPlace = this.#options.ownsInitialValues && this.#runner.inPlace &&
      bytes.byteOffset % Float32Array.BYTES_PER_ELEMENT === 0;
    return inPlace ? this.#runner.share(value) : this.#runner.upload(value);
  }

  /** The parts of a batch that have targets, with their plans. */
  #planned(
    batch: TokenBatch,
    arithmetic: Arithmetic,
  ): { readonly part: Prepared; readonly compiled: CompiledPlan }[] {
    // Rows of frozen layers are kept per sequence.
    const dividesSequences = this.#dividesSequences && this.activations === undefined;
    try {
      return this.#plannedParts(batch, arithmetic, dividesSequences);
    } catch (error) {
      if (!(error instanceof IndivisibleError)) throw error;
      this.#dividesSequences = false;
      return this.#plannedParts(batch, arithmetic, false);
    }
  }

  #plannedParts(batch: TokenBatch, arithmetic: Arithmetic, dividesSequences: boolean) {
    const { dropout } = this.#options;
    const options = { ...this.#options, dividesSequences };
    const { parts, use } = divideBatch(options, batch, { dropout, arithmetic });
    return parts.map((part) => ({ part, compiled: this.#planFor(part, use) }));
  }

  /** Runs the schedules of a batch's parts and returns the sums of gradients by name. */
  async #run(
    parts: readonly TrainedPart[],
    { upcoming, onGradient }: StepOptions<TokenBatch>,
  ): Promise<ReadonlyMap<string, DeviceTensor>> {
    const sums = this.#gradientNames;
    const onSum = onGradient &&
      ((name: string, grad: DeviceTensor) => onGradient(this.#ofGradient.get(name)!, grad));
    const { pipeline } = this.#options;
    if (pipeline !== undefined) {
      const own = parts.map((part) => ({ ...part, links: part.compiled.plan.links! }));
      return await runPipeline(own, sums, this.#means, pipeline);
    }
    if (parts.length > 1) {
      const meanwhile = upcoming && (() => this.#getReady(upcoming));
      return await runParts(parts, sums, this.#means, { meanwhile, onSum });
    }
    const [only] = parts;
    if (only === undefined) return new Map();
    await runSchedule(only.schedule, only.env, this.#means, { kept: only.kept, sums, onSum });
    return only.env;
  }

  /**
   * Plans a batch, compiles its sessions and places its tensors, so that it need not wait for them when its
   * turn comes.
   */
  async #getReady(upcoming: Upcoming<TokenBatch>): Promise<void> {
    try {
      const parts = this.#planned(await upcoming(), this.#arithmetic);
      const threads = parts.length > 1 ? "one" : "pool";
      for (const { compiled } of parts) {
        for (const call of compiled.plan.training.calls) await this.#plans.session(call, threads);
        await this.#plans.preprocessed(compiled);
      }
      this.#slab.tensorsOf(parts.map(({ compiled }) => compiled.plan.training));
    } catch {
      // A batch that cannot be planned reports that when its turn comes.
    }
  }

  #setGradients(sums: ReadonlyMap<string, DeviceTensor>): void {
    for (const parameter of this.parameters) {
      const grad = sums.get(gradientName(parameter.name));
      if (grad === undefined || grad === parameter.grad || grad === this.#zerosLike(parameter)) {
        continue;
      }
      parameter.grad?.[Symbol.dispose]();
      parameter.grad = grad;
    }
  }

  /** Frees what was made of weights for other products: two copies of all weights would be a peak. */
  #releaseOthers(arithmetic: Arithmetic): void {
    const key = productsKey(arithmetic);
    if (key !== this.#preprocessedFor) this.#plans.releasePreprocessed();
    this.#preprocessedFor = key;
  }

  #planFor(prepared: Prepared, use: PlanUse): CompiledPlan {
    const options = planOptionsFor(this.#options, prepared, use);
    return this.#plans.get(keyOf(options), () => this.#families.planOf(options));
  }

  #environment(
    { plan, constants }: CompiledPlan,
    prepared: Prepared,
  ): Map<string, DeviceTensor> {
    const env = new Map(constants);
    for (const parameter of this.parameters) env.set(parameter.name, parameter.value);
    for (const [name, value] of batchInputs(prepared, plan.inputs)) {
      if (plan.inputs.has(name) || STEP_INPUTS.has(name)) env.set(name, this.#runner.upload(value));
    }
    for (const name of plan.inputs.keys()) {
      if (!env.has(name) && name !== DROPOUT_SEED) {
        throw unknownInput(name);
      }
    }
    return env;
  }

  #dropInputs({ plan }: CompiledPlan, env: Map<string, DeviceTensor>): void {
    for (const name of new Set([...plan.inputs.keys(), ...STEP_INPUTS])) {
      env.get(name)?.[Symbol.dispose]();
    }
  }

  /** The batch's rows in the result of the frozen layers, if such results are kept. */
  #keptRows(
    { plan: { frozen } }: CompiledPlan,
    { batch, packing }: Prepared,
    { arithmetic = IN_FLOATS }: PlanOptions,
  ): PrefixRows | undefined {
    const file = this.activations;
    if (file === undefined || frozen === undefined || !this.#ignoresPadding) return undefined;
    return PrefixRows.of(file, { prefix: frozen, batch, packing, arithmetic });
  }

  #zerosLike(parameter: Parameter): DeviceTensor {
    const key = parameter.dims.join();
    const found = this.#zeros.get(key);
    if (found !== undefined) return found;
    const zeros = this.#runner.allocate("float32", parameter.dims);
    this.#zeros.set(key, zeros);
    return zeros;
  }
}

/** What a stage tells of an evaluation whose loss another one computes. */
const OF_ANOTHER_STAGE: Evaluation = { lossSum: 0, targetCount: 0, correct: 0 };

/** A part of a batch as a step computes it. */
interface TrainedPart extends PartRun {
  readonly compiled: CompiledPlan;
  readonly targets: Targets;
}

function scalarOf(value: DeviceTensor): number {
  const { bytes } = value.read();
  return new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
}

/** The first `rows` rows of float32 matrices, joined side by side. */
function joinColumns(parts: readonly Tensor[], rows: number): Tensor {
  const columns = parts.reduce((sum, part) => sum + part.dims[1], 0);
  const out = new Float32Array(rows * columns);
  let at = 0;
  for (const part of parts) {
    const values = toNumbers(part) as Float32Array;
    const width = part.dims[1];
    for (let row = 0; row < rows; row++) {
      out.set(values.subarray(row * width, (row + 1) * width), row * columns + at);
    }
    at += width;
  }
  return float32([rows, columns], out);
}
