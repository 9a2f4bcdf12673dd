/**
 * Sums gradients over all ranks while the backward pass goes on. A bucket's sum begins once its gradients are
 * complete here and those of the buckets before it have begun: all ranks then begin the same sums in the same
 * order, as MPI demands, also where their rows differ in shape or a rank has none.
 *
 * Libraries go on with an operation only while they are called: this thread, which has nothing to do while
 * the runtime's threads compute, asks every millisecond.
 */
import type { Mpi, MpiRequest } from "../../ffi/mpi.ts";
import { float32 } from "../graph/tensor.ts";
import type { DeviceTensor } from "../runtime/runner.ts";
import type { GradientSums } from "../train/peers.ts";
import type { OnGradient, Parameter } from "../train/step.ts";
import { type Bucket, bucketsOf } from "./gradient_buckets.ts";

/** Milliseconds between questions. */
const ASK_EVERY_MS = 1;

/** A bucket in this process. */
interface HeldBucket extends Bucket {
  readonly own: Float32Array<ArrayBuffer>;
  readonly sums: Float32Array<ArrayBuffer>;
  /** Gradients that the step has not completed. */
  missing: Set<Parameter>;
}

/** What sums are given by the job. */
export interface SumsOf {
  /** Begins operations, and waits until all ranks have taken part in them. */
  readonly wait: (begin: () => readonly MpiRequest[]) => Promise<void>;
  /** Told of the milliseconds in which sums were on their way while this process computed. */
  readonly onOverlap: (milliseconds: number) => void;
}

/** The buckets of a model, for one step after the other. */
export class BucketSums implements GradientSums {
  readonly #mpi: Mpi;
  readonly #job: SumsOf;
  readonly #buckets: readonly HeldBucket[];
  readonly #bucketOf: ReadonlyMap<Parameter, HeldBucket>;
  #begun = 0;
  #requests: MpiRequest[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;
  #failure: unknown;
  #firstBegan: number | undefined;

  constructor(mpi: Mpi, readonly parameters: readonly Parameter[], job: SumsOf) {
    this.#mpi = mpi;
    this.#job = job;
    this.#buckets = bucketsOf(parameters).map((bucket) => ({
      ...bucket,
      own: new Float32Array(bucket.size),
      sums: new Float32Array(bucket.size),
      missing: membersOf(bucket),
    }));
    this.#bucketOf = new Map(
      this.#buckets.flatMap((bucket) => bucket.places.map(({ parameter }) => [parameter, bucket])),
    );
  }

  readonly onGradient: OnGradient = (parameter, grad) => {
    const bucket = this.#bucketOf.get(parameter)!;
    this.#copy(bucket, parameter, grad);
    try {
      while (this.#buckets[this.#begun]?.missing.size === 0) this.#beginNext();
      this.#ask();
    } catch (error) {
      this.#fail(error);
    }
  };

  async end(): Promise<void> {
    this.#stopAsking();
    if (this.#firstBegan !== undefined) this.#job.onOverlap(performance.now() - this.#firstBegan);
    try {
      await this.#job.wait(() => {
        if (this.#failure !== undefined) throw this.#failure;
        while (this.#begun < this.#buckets.length) this.#beginNext();
        return this.#requests;
      });
    } finally {
      this.#begun = 0;
      this.#requests = [];
      this.#firstBegan = undefined;
    }
    for (const bucket of this.#buckets) {
      bucket.missing = membersOf(bucket);
      for (const { parameter: { dims, grad }, start, size } of bucket.places) {
        grad!.write(float32(dims, bucket.sums.subarray(start, start + size)));
      }
    }
  }

  #beginNext(): void {
    const bucket = this.#buckets[this.#begun++];
    for (const parameter of bucket.missing) this.#copy(bucket, parameter, parameter.grad!);
    this.#requests.push(this.#mpi.sum(bucket.own, bucket.sums));
    this.#firstBegan ??= performance.now();
    this.#keepAsking();
  }

  #keepAsking(): void {
    if (this.#timer !== undefined) return;
    const timer = setInterval(() => {
      try {
        this.#ask();
      } catch (error) {
        this.#fail(error);
      }
    }, ASK_EVERY_MS);
    // A process whose backward pass fails must be able to end.
    Deno.unrefTimer(timer);
    this.#timer = timer;
  }

  /** Each must be asked: that is what lets the library go on with it. */
  #ask(): void {
    for (const request of this.#requests) request.test();
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#stopAsking();
  }

  #stopAsking(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #copy({ places, own, missing }: HeldBucket, parameter: Parameter, grad: DeviceTensor): void {
    const { start, size } = places.find((place) => place.parameter === parameter)!;
    new Uint8Array(own.buffer, 4 * start, 4 * size).set(grad.view().bytes);
    missing.delete(parameter);
  }
}

const membersOf = ({ places }: Bucket) => new Set(places.map(({ parameter }) => parameter));
