/**
 * Runs a stage's calls for the micro-batches of a step, in the order known as 1F1B (Narayanan et al., 2021,
 * arXiv:2104.04473): forward passes until the next stage can return a cotangent, then one backward for each
 * forward pass, and the remaining backward passes. A stage thus holds the activations of as many
 * micro-batches as there are stages from it on, however many a step has.
 */
import { cotangentName } from "../plan/names.ts";
import { linkBytes, type StageLink, type StageLinks } from "../plan/stage.ts";
import type { DeviceTensor, Runner } from "../runtime/runner.ts";
import type { Incoming, Neighbour, Pipeline } from "./pipeline.ts";
import type { PartRun } from "./run_parts.ts";
import { type RunOptions, type ScheduleMeans, ScheduleRun } from "./run_schedule.ts";

/** A micro-batch in a stage. */
export interface StagePart extends PartRun, Pick<RunOptions, "passing"> {
  readonly links: StageLinks;
}

/** Micro-batches whose activations a stage holds at the same time. */
export const inFlight = ({ stage, stages }: Pipeline, parts = Infinity): number =>
  Math.min(parts, stages - stage);

/**
 * @param sums names of the sums of gradients
 * @returns the new sums by name, for those that the stage adds to; the caller owns them
 */
export async function runPipeline(
  parts: readonly StagePart[],
  sums: ReadonlySet<string>,
  means: ScheduleMeans,
  pipeline: Pipeline,
): Promise<ReadonlyMap<string, DeviceTensor>> {
  const most = inFlight(pipeline, parts.length);
  const schedules = parts.map(({ schedule }) => schedule);
  const placed = means.runner.inPlace ? means.slab.tensorsOf(schedules, most) : [];
  const runs = parts.map((part, i) => new StageRun(part, means, placed[i]));
  const activations = new Incomings(
    parts.map(({ links }) => links.input),
    "before",
    pipeline,
  );
  const cotangents = new Incomings(
    parts.map(({ links }) => links.awaitsCotangent ? links.output : undefined),
    "next",
    pipeline,
  );
  const latest = new Map<string, DeviceTensor>();
  let forward = 0;
  try {
    for (let backward = 0; backward < parts.length; backward++) {
      while (forward < Math.min(parts.length, backward + most)) {
        await runs[forward].forward(await activations.next(), pipeline);
        forward++;
      }
      const run = runs[backward];
      await run.backward(await cotangents.next(), latest, pipeline);
      run.takeSums(sums, latest);
    }
  } catch (error) {
    for (const run of runs) run.abandon();
    for (const sum of latest.values()) sum[Symbol.dispose]();
    throw error;
  }
  return latest;
}

/** Runs a stage's calls without a backward pass. */
export async function runForward(
  part: StagePart,
  means: ScheduleMeans,
  pipeline: Pipeline,
): Promise<void> {
  const links = { ...part.links, turn: part.schedule.calls.length };
  const run = new StageRun({ ...part, links }, means);
  try {
    await run.forward(await new Incomings([links.input], "before", pipeline).next(), pipeline);
    run.dropInput();
  } catch (error) {
    run.abandon();
    throw error;
  }
}

/** What a neighbour sends for one micro-batch after another; the next is on its way while one is used. */
class Incomings {
  readonly #links: readonly (StageLink | undefined)[];
  readonly #from: Neighbour;
  readonly #pipeline: Pipeline;
  #index = 0;
  #incoming: Incoming | undefined;

  /** @param links what is sent for each micro-batch, if anything */
  constructor(links: readonly (StageLink | undefined)[], from: Neighbour, pipeline: Pipeline) {
    this.#links = links;
    this.#from = from;
    this.#pipeline = pipeline;
    this.#incoming = this.#begin();
  }

  async next(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const bytes = await this.#incoming?.arrived();
    this.#index++;
    this.#incoming = this.#begin();
    return bytes;
  }

  #begin(): Incoming | undefined {
    const link = this.#links[this.#index];
    return link && this.#pipeline.receive(this.#from, linkBytes(link));
  }
}

/** A micro-batch on its way through a stage. */
class StageRun {
  readonly #part: StagePart;
  readonly #runner: Runner;
  readonly #run: ScheduleRun;

  constructor(
    part: StagePart,
    means: ScheduleMeans,
    placed?: ReadonlyMap<string, DeviceTensor>,
  ) {
    this.#part = part;
    this.#runner = means.runner;
    this.#run = new ScheduleRun(part.schedule, part.env, means, placed);
  }

  async forward(activation: Uint8Array<ArrayBuffer> | undefined, pipeline: Pipeline) {
    const { env, links: { input, output, turn }, passing } = this.#part;
    if (activation !== undefined) {
      env.set(input!.name, this.#runner.upload({ ...input!, bytes: activation }));
    }
    await this.#run.calls(0, turn, { passing });
    if (!this.#readsInputAgain()) this.dropInput();
    if (output !== undefined) await pipeline.send("next", this.#taken(output.name));
  }

  /** @param sums those of the micro-batches before, to which this one adds */
  async backward(
    cotangent: Uint8Array<ArrayBuffer> | undefined,
    sums: ReadonlyMap<string, DeviceTensor>,
    pipeline: Pipeline,
  ) {
    const { env, schedule, links: { input, output, turn, returnsCotangent } } = this.#part;
    if (cotangent !== undefined) {
      const { dtype, dims, name } = output!;
      env.set(cotangentName(name), this.#runner.upload({ dtype, dims, bytes: cotangent }));
    }
    for (const [name, sum] of sums) env.set(name, sum);
    await this.#run.calls(turn, schedule.calls.length);
    this.dropInput();
    if (cotangent !== undefined) this.#drop(cotangentName(output!.name));
    if (returnsCotangent) await pipeline.send("before", this.#taken(cotangentName(input!.name)));
  }

  /** Replaces the sums of gradients by those with this micro-batch's. */
  takeSums(names: ReadonlySet<string>, latest: Map<string, DeviceTensor>): void {
    const made = new Set(this.#part.schedule.calls.flatMap(({ fetches }) => [...fetches.values()]));
    for (const name of names) {
      if (!made.has(name)) continue;
      latest.get(name)?.[Symbol.dispose]();
      latest.set(name, this.#part.env.get(name)!);
    }
  }

  /** Frees the activation that came from the stage before. */
  dropInput(): void {
    const { input } = this.#part.links;
    if (input !== undefined) this.#drop(input.name);
  }

  /** Frees what a step that failed half-way leaves with the runtime. */
  abandon(): void {
    this.#run.abandon();
    this.dropInput();
  }

  #readsInputAgain(): boolean {
    const { schedule: { calls }, links: { input, turn } } = this.#part;
    return input !== undefined &&
      calls.slice(turn).some(({ feeds }) => [...feeds.values()].includes(input.name));
  }

  #drop(name: string): void {
    this.#part.env.get(name)?.[Symbol.dispose]();
    this.#part.env.delete(name);
  }

  /** The bytes of a result, which is freed. */
  #taken(name: string): Uint8Array<ArrayBuffer> {
    using tensor = this.#part.env.get(name)!;
    this.#part.env.delete(name);
    return tensor.read().bytes as Uint8Array<ArrayBuffer>;
  }
}
