/** Collective operations among the processes of an MPI job, none of which waits for ever. */
import { createHash } from "node:crypto";
import { ignoreUserSignal } from "../../ffi/libc_process.ts";
import { Mpi, MpiError, type MpiRequest } from "../../ffi/mpi.ts";
import { EXIT, GraftError, type NameParameter, ParameterError, RuntimeFailure } from "../errors.ts";
import { elementCount, float32 } from "../graph/tensor.ts";
import type { DeviceTensor } from "../runtime/runner.ts";
import type { GradientSums, Peers } from "../train/peers.ts";
import type { Parameter } from "../train/step.ts";
import { BucketSums } from "./gradient_sums.ts";
import { Line } from "./line.ts";
import { type Launched, MPI_LIBRARY } from "./launcher.ts";
import { LostPeerError } from "../train/lost_peer_error.ts";
import { RollCall } from "./roll_call.ts";
import { StageLinks } from "./stage_links.ts";

/** Milliseconds of asking at once before others get their turn: most sums of a fast wire are done. */
const ASK_AT_ONCE_MS = 1;
/** Milliseconds between questions. */
const ASK_EVERY_MS = 1;
/** Seconds that other ranks wait longer than rank 0, which can name the lost one and saves the run. */
const OTHERS_WAIT = 10;
/** Least seconds to wait for all ranks to start: their boards read graft from slow disks. */
const JOIN_WAITS = 60;
/** Least seconds to wait at the first meeting, and at the end: slow boards plan a training for minutes. */
const FIRST_WAITS = 600;
/**
 * Milliseconds from an error's message to the end of all ranks. Launchers that hear of the end first pass nothing
 * on any more (MPICH's hydra polls both), so they get time to read the message.
 */
const MESSAGE_TAKES_MS = 500;

/** How a job's processes work together. */
export interface CommunicatorOptions {
  /** Seconds after which a process that does not answer counts as lost. */
  readonly timeout: number;
  /** Processes that compute the layers of the same rows, one after another; default 1. */
  readonly stages?: number;
  /** Asks all processes to end. */
  readonly signal?: AbortSignal;
  /** Whether `resume` goes on with the work of a job that has ended; default false. */
  readonly resumes?: boolean;
}

/** One process's place in a job. */
export class Communicator implements Peers {
  readonly #mpi: Mpi;
  readonly #timeout: number;
  readonly #signal: AbortSignal | undefined;
  readonly #resumes: boolean;
  readonly #ending = new AbortController();
  readonly #rollCall: RollCall;
  readonly share: Peers["share"];
  readonly pipeline?: StageLinks;
  #milliseconds = 0;
  #overlapped = 0;
  #gradients: BucketSums | undefined;
  #isPrepared = false;
  /** Operations that never ended, or may not have. */
  readonly #failed: MpiRequest[] = [];

  private constructor(
    mpi: Mpi,
    { timeout, signal, stages = 1, resumes = false }: CommunicatorOptions,
  ) {
    this.#mpi = mpi;
    this.#timeout = timeout;
    this.#signal = signal;
    this.#resumes = resumes;
    this.#rollCall = new RollCall(mpi, timeout);
    this.share = { index: Math.floor(mpi.rank / stages), of: mpi.size / stages };
    if (stages > 1) {
      const stage = mpi.rank % stages;
      const wait = (requests: readonly MpiRequest[]) => this.#done(() => requests);
      this.pipeline = new StageLinks(mpi, { stage, stages }, wait);
    }
  }

  /**
   * Joins the job that the launcher started.
   *
   * @returns `undefined` in a job of one process
   * @throws {RuntimeFailure} if no library can be opened, or it belongs to another launcher
   * @throws {ParameterError} if the processes do not divide into pipelines of so many stages
   * @throws {LostPeerError} if not all processes start in time
   */
  static async join(
    launched: Launched,
    options: CommunicatorOptions,
  ): Promise<Communicator | undefined> {
    const { stages = 1, timeout } = options;
    // Before the library starts: launchers fail where ranks end while others still begin.
    if (launched.size !== undefined) checkPipelines(launched.size, stages);
    const mpi = await within(Math.max(JOIN_WAITS, timeout), openFirst(launched), "started");
    if (launched.size === undefined && mpi.size === 1) {
      await mpi.finalize();
      return undefined;
    }
    if (mpi.size !== (launched.size ?? mpi.size)) {
      throw new RuntimeFailure(
        `The launcher started ${launched.size} processes, but the library (${mpi.version}) sees ` +
          `${mpi.size}: it belongs to another launcher; ${MPI_LIBRARY} names the right one`,
      );
    }
    try {
      checkPipelines(mpi.size, stages);
    } catch (error) {
      // All ranks leave: the launcher would kill those that are slower to find out.
      await within(Math.max(JOIN_WAITS, timeout), mpi.finalize(), "ended");
      throw error;
    }
    ignoreUserSignal();
    return new Communicator(mpi, options);
  }

  get rank(): number {
    return this.#mpi.rank;
  }

  get count(): number {
    return this.#mpi.size;
  }

  get ending(): AbortSignal {
    return this.#ending.signal;
  }

  /** Name and release of the library. */
  get library(): string {
    return this.#mpi.version;
  }

  get waited(): number {
    return this.#milliseconds / 1000;
  }

  /** Seconds so far in which sums of gradients were on their way while this rank computed. */
  get overlapped(): number {
    return this.#overlapped / 1000;
  }

  async sum(numbers: readonly number[]): Promise<readonly number[]> {
    const values = Float64Array.from([...numbers, this.#signal?.aborted ? 1 : 0]);
    const sums = new Float64Array(values.length);
    await this.#done(() => [this.#mpi.sum(values, sums)]);
    if (sums[numbers.length] > 0) this.#ending.abort();
    return [...sums.subarray(0, numbers.length)];
  }

  gradientSums(parameters: readonly Parameter[]): GradientSums {
    if (this.#gradients?.parameters !== parameters) {
      this.#gradients = new BucketSums(this.#mpi, parameters, {
        wait: (begin) => this.#done(begin),
        onOverlap: (milliseconds) => this.#overlapped += milliseconds,
      });
    }
    return this.#gradients;
  }

  async align(parameters: readonly Parameter[]): Promise<boolean> {
    const own = parameters.map(({ value }) => value);
    const values = joined(own);
    const digest = digestOf(new Uint8Array(values.buffer));
    const differ = await this.differing(digest);
    if (differ.length === 0) return false;
    await this.#done(() => [this.#mpi.broadcast(new Uint8Array(values.buffer))]);
    divide(values, own);
    return true;
  }

  /** The ranks whose digest is not rank 0's. */
  async differing(digest: string): Promise<readonly number[]> {
    const own = digestNumber(digest);
    const [first] = await this.sum([this.rank === 0 ? own : 0]);
    const flags = await this.sum(
      Array.from({ length: this.count }, (_, rank) => rank === this.rank && own !== first ? 1 : 0),
    );
    return flags.flatMap((flag, rank) => flag > 0 ? [rank] : []);
  }

  async broadcast(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    const [length] = await this.sum([this.rank === 0 ? bytes.length : 0]);
    const held = this.rank === 0 ? bytes : new Uint8Array(length);
    if (length > 0) await this.#done(() => [this.#mpi.broadcast(held)]);
    return held;
  }

  /** From now on ranks answer within the timeout: the long preparation is over. */
  endPreparation(): void {
    this.#isPrepared = true;
  }

  /** A line to another rank, which must make one to this rank. */
  line(rank: number): Line {
    const patience = Math.max(FIRST_WAITS, this.#timeout);
    const lost = (rank: number, seconds: number) =>
      this.#lostOf(`Rank ${rank}`, Math.round(seconds));
    return new Line({ mpi: this.#mpi, rank, patience, lost });
  }

  /** Seconds that a rank may be silent while it works, and while it prepares work. */
  get patience(): { readonly working: number; readonly preparing: number } {
    return { working: this.#timeout, preparing: Math.max(FIRST_WAITS, this.#timeout) };
  }

  /**
   * Leaves the job, once all ranks do.
   *
   * @throws {LostPeerError} if they do not in time
   */
  async leave(): Promise<void> {
    this.pipeline?.end();
    // Rank 0 may still write what all have done.
    await within(Math.max(FIRST_WAITS, this.#timeout), this.#mpi.finalize(), "ended");
  }

  /**
   * Ends the processes of all ranks when this one ends because of an error, with its exit code for the whole
   * job: others may wait for it in vain. The error's message comes first.
   */
  endAllAtExit(error: unknown): void {
    const exitCode = error instanceof GraftError ? error.exitCode : EXIT.internal;
    addEventListener("unload", () => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, MESSAGE_TAKES_MS);
      this.#mpi.abort(exitCode);
    });
  }

  /** Waits for requests, most of which all ranks take part in. */
  async #done(begin: () => readonly MpiRequest[]): Promise<void> {
    const start = performance.now();
    const seconds = this.#patience();
    const isOver = () => performance.now() - start > 1000 * seconds;
    let requests: readonly MpiRequest[] = [];
    this.#rollCall.begin();
    try {
      requests = begin();
      while (!await allDone(requests)) {
        this.#rollCall.goOn(performance.now() - start);
        if (!isOver()) continue;
        this.#failed.push(...requests);
        throw await this.#lost(seconds);
      }
    } catch (error) {
      if (!(error instanceof MpiError)) throw error;
      // The library may write to their memory for as long as it lives.
      this.#failed.push(...requests);
      throw await this.#broken(error);
    } finally {
      this.#milliseconds += performance.now() - start;
    }
  }

  /** Seconds to wait. In a pipeline, other stages may begin to wait a while before rank 0 does. */
  #patience(): number {
    const own = this.#isPrepared ? this.#timeout : Math.max(FIRST_WAITS, this.#timeout);
    if (this.rank === 0) return own;
    return own + (this.pipeline === undefined ? OTHERS_WAIT : Math.max(OTHERS_WAIT, own));
  }

  /** The error of a wait that was in vain. */
  async #lost(seconds: number): Promise<LostPeerError> {
    if (this.rank > 0) {
      return this.#lostOf("Rank 0, or another that it waits for,", seconds);
    }
    return this.#lostOf(namesOf(await this.#rollCall.missing()), seconds);
  }

  /** The error of an operation that the library says has failed: a connection is broken. */
  async #broken(cause: MpiError): Promise<LostPeerError> {
    if (this.rank === 0) {
      const who = namesOf(await this.#rollCall.missing());
      return new LostPeerError(
        (name) =>
          `${who} cannot be reached: start the job again${
            this.#goesOnWith(name)
          } (${cause.message})`,
        { cause },
      );
    }
    // Rank 0 can name the lost one and saves the run: this rank's end would end it before.
    const until = performance.now() + 1000 * this.#patience();
    while (performance.now() < until) {
      try {
        this.#rollCall.goOn(0);
      } catch {
        break; // rank 0 is the lost one
      }
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
    return new LostPeerError(
      (name) => `${cause.message}: start the job again${this.#goesOnWith(name)}`,
      { cause },
    );
  }

  #lostOf(who: string, seconds: number): LostPeerError {
    return new LostPeerError((name) =>
      `${who} did not answer within ${seconds} s (of ${this.count} ranks): start the job again` +
      `${this.#goesOnWith(name)} once all boards can be reached; ${
        name("collectiveTimeout")
      } waits longer`
    );
  }

  #goesOnWith(name: NameParameter): string {
    return this.#resumes ? ` with ${name("resume", true)}` : "";
  }
}

function checkPipelines(ranks: number, stages: number): void {
  if (ranks % stages === 0) return;
  throw new ParameterError(
    "pipeline",
    (name) =>
      `The number of ranks must be a multiple of ${name("pipeline", stages)}, the stages of one ` +
      `pipeline: the launcher started ${ranks}`,
  );
}

const namesOf = (ranks: readonly number[]): string =>
  ranks.length === 0 ? "A rank" : `${ranks.length === 1 ? "Rank" : "Ranks"} ${ranks.join(", ")}`;

/** Asks for a while whether requests are done, then lets others have their turn. */
async function allDone(requests: readonly MpiRequest[]): Promise<boolean> {
  const until = performance.now() + ASK_AT_ONCE_MS;
  do {
    // Each must be asked: that is what lets the library go on with it.
    if (requests.filter((request) => !request.test()).length === 0) return true;
  } while (performance.now() < until);
  await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  return false;
}

/**
 * Waits for what all ranks must do.
 *
 * @param done what that is, in the past
 */
async function within<T>(seconds: number, all: Promise<T>, done: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<never>((_, reject) => {
    const error = new LostPeerError((name) =>
      `Not all ranks ${done} within ${seconds} s: start the job again once all boards can be ` +
      `reached; ${name("collectiveTimeout")} waits longer`
    );
    timer = setTimeout(() => reject(error), 1000 * seconds);
  });
  try {
    return await Promise.race([all, over]);
  } finally {
    clearTimeout(timer);
  }
}

async function openFirst({ libraries }: Launched): Promise<Mpi> {
  const failures: string[] = [];
  for (const { path, kind } of libraries) {
    try {
      return await Mpi.open(path, kind);
    } catch (error) {
      if (!(error instanceof MpiError)) throw error;
      failures.push(error.message);
    }
  }
  throw new RuntimeFailure(
    `No MPI library can be used: ${
      failures.join("; ")
    }. Install MPICH or Open MPI, the one whose ` +
      `mpirun started this, or name its library in ${MPI_LIBRARY}`,
  );
}

/** All elements of tensors, one after another. */
function joined(tensors: readonly DeviceTensor[]): Float32Array<ArrayBuffer> {
  const sizes = tensors.map(({ dims }) => elementCount(dims));
  const values = new Float32Array(sizes.reduce((sum, size) => sum + size, 0));
  let offset = 0;
  for (const [i, tensor] of tensors.entries()) {
    new Uint8Array(values.buffer).set(tensor.view().bytes, 4 * offset);
    offset += sizes[i];
  }
  return values;
}

/** Writes them into the tensors again. */
function divide(values: Float32Array<ArrayBuffer>, tensors: readonly DeviceTensor[]): void {
  let offset = 0;
  for (const tensor of tensors) {
    const count = elementCount(tensor.dims);
    tensor.write(float32(tensor.dims, values.subarray(offset, offset + count)));
    offset += count;
  }
}

/** SHA-256 in hex. */
export const digestOf = (bytes: Uint8Array): string =>
  createHash("sha256").update(bytes).digest("hex");

/** A whole number of 52 bits, which a sum with zeros keeps exactly. */
const digestNumber = (digest: string): number => Number.parseInt(digest.slice(0, 13), 16);
