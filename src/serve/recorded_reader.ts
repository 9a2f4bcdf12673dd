/**
 * Reads single tokens by a recording on the device (CUDA graphs): the device executes one list instead
 * of receiving some hundred kernel launches for every token. Prompts, whose lengths differ, are read
 * without a recording, into the same caches.
 *
 * A recording uses the memory at its recorded addresses: wrong ones give wrong text and no error. So the
 * first tokens of every recording are read both ways, and if logits differ the recording is not used any
 * more.
 */
import type { BoundRun, DeviceTensor } from "../runtime/runner.ts";
import { RunClock } from "../runtime/run_clock.ts";
import { fedNames, InPlaceReader } from "./in_place_reader.ts";
import { OneTokenInputs } from "./one_token_inputs.ts";
import type { Reader, ReaderParts } from "./reader.ts";

/** Tokens read both ways: the first is recorded, the next ones are played back. */
const CHECKED = 3;
/**
 * Largest difference of a logit, as a share of the largest logit: another order of summation gives 1e-5,
 * a token at the wrong position gives tenths.
 */
const TOLERANCE = 1e-2;

/** A recording that reads a token. */
interface Recording extends Disposable {
  readonly capacity: number;
  readonly inputs: OneTokenInputs;
  readonly bound: BoundRun;
  readonly logits: DeviceTensor;
  /** Tokens still to be read both ways. */
  unchecked: number;
}

export class RecordedReader implements Reader {
  readonly #parts: ReaderParts;
  readonly #longest: number;
  readonly #plain: InPlaceReader;
  readonly #logits: Float32Array<ArrayBuffer>;
  readonly #clock = new RunClock();
  /** Tokens read so far. */
  readonly #tokens: number[] = [];
  #recording: Recording | undefined;
  #isSound = true;

  /**
   * @param parts accepted by {@linkcode InPlaceReader.fits}, compiled for recording
   * @param longest largest total length that attention accepts in advance
   */
  constructor(parts: ReaderParts, longest: number) {
    this.#parts = parts;
    this.#longest = longest;
    this.#plain = new InPlaceReader(parts);
    this.#logits = new Float32Array(this.#plain.vocabulary);
  }

  async read(fresh: readonly number[], start: number): Promise<Float32Array> {
    this.#tokens.length = start;
    this.#tokens.push(...fresh);
    if (fresh.length > 1 || start === 0 || start >= this.#longest || !this.#isSound) {
      return await this.#plain.read(fresh, start);
    }
    this.#plain.reserve(start + 1, start);
    const recording = this.#recorded();
    recording.inputs.write(fresh[0], start);
    if (recording.unchecked === 0) return await this.#play(recording);
    recording.unchecked--;
    // Both write the same values to the same place in the caches.
    const played = await this.#play(recording).catch((error: Error) => error);
    const expected = await this.#plain.read(fresh, start);
    const fault = played instanceof Error ? played.message : differing(played, expected);
    if (fault === undefined) return expected;
    this.#isSound = false;
    this.#forget();
    this.#parts.runner.note(`Recorded runs are not played back: ${fault}`);
    // It may have written anywhere in the caches.
    return await this.#plain.read(this.#tokens, 0);
  }

  reset(): void {
    this.#plain.reset();
  }

  [Symbol.dispose](): void {
    this.#forget();
    this.#plain[Symbol.dispose]();
  }

  async #play({ bound, logits }: Recording): Promise<Float32Array> {
    await this.#clock.time(1, (brief) => bound.run({ brief, recorded: true }));
    logits.read(new Uint8Array(this.#logits.buffer));
    return this.#logits;
  }

  /** The recording for the current caches. */
  #recorded(): Recording {
    const { capacity } = this.#plain;
    if (this.#recording?.capacity === capacity) return this.#recording;
    this.#forget();
    return this.#recording = this.#bind(capacity);
  }

  #bind(capacity: number): Recording {
    const { runner, executable, graph } = this.#parts;
    using resources = new DisposableStack();
    const total = Math.min(capacity, this.#longest);
    const inputs = resources.use(new OneTokenInputs(runner, fedNames(graph), total));
    const logits = resources.use(runner.allocate("float32", [1, this.#logits.length]));
    const { feeds, outputs } = this.#plain.caches();
    const bound = resources.use(
      executable.bind(
        { ...feeds, ...Object.fromEntries(inputs.tensors) },
        { ...outputs, logits },
      ),
    );
    const owned = resources.move();
    return {
      capacity,
      inputs,
      bound,
      logits,
      unchecked: CHECKED,
      [Symbol.dispose]: () => owned.dispose(),
    };
  }

  #forget(): void {
    this.#recording?.[Symbol.dispose]();
    this.#recording = undefined;
  }
}

/** Describes the difference of logits that differ. */
function differing(logits: Float32Array, expected: Float32Array): string | undefined {
  let [largest, difference] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i]));
    difference = Math.max(difference, Math.abs(logits[i] - expected[i]));
  }
  const share = difference / largest;
  if (share <= TOLERANCE) return undefined; // comparisons with NaN are false
  return `logits differ by ${
    (100 * share).toPrecision(2)
  }% from those of runs that are not recorded`;
}
